//! What each fuzz target does with its input, as plain functions, so that the corpora can be replayed without a fuzzer.

pub mod decode;
pub mod session;
pub mod topic;

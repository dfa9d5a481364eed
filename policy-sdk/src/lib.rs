//! Write Sluice policies in Rust.

//! Disks that fail, under the real binary: what the kernel was asked to do, and in which order; and what the broker does
//! when it says no.
//!
//! They need strace and root, and fail without. `.ci/faults` installs strace.

mod failing;
mod full;
mod order;
mod trace;
mod tracer;

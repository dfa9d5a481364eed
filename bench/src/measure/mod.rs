//! What is measured, and of whom.

mod disk;
mod figures;
mod latency;
mod process;

pub use disk::{bytes_written, flushes, log_rate};
pub use figures::{Figures, Measure, median};
pub use latency::Latencies;
pub use process::{CpuTime, Memory, cpu_time, forget_peak, memory};

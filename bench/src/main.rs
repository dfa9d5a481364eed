//! The program: `sluice-bench --help` explains it, `bench/README.md` says how and why.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluice_bench::cli::main()
}

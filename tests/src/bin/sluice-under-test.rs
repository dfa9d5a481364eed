//! The `sluice` binary, as the tests run it: under a name of this package, so that cargo builds it with them.

use std::io::Read;
use std::process::ExitCode;

fn main() -> ExitCode {
    // No broker outlives the test program that started it, however that ends: its end closes our standard input.
    if std::env::var_os("SLUICE_UNDER_TEST_ENDS_WITH_STDIN").is_some() {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(1);
        });
    }
    sluice::cli::main()
}

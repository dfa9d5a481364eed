//! The command line.

pub mod scaffold;

use crate::config::Config;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// An MQTT broker whose gate you program.
#[derive(Parser)]
enum Command {
    /// Run the broker.
    Run {
        /// The configuration.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Listen here instead.
        #[arg(long)]
        listen: Vec<String>,
    },
}

/// Runs the command that the arguments name.
#[must_use]
#[allow(clippy::print_stderr)] // Before there is a log.
pub fn main() -> ExitCode {
    let Command::Run { config, listen } = Command::parse();
    let read = move || {
        let mut read = config
            .as_deref()
            .map_or_else(|| Ok(Config::default()), Config::load)
            .map_err(text)?;
        read.listen_on(&listen).map_err(text)?;
        Ok(read)
    };
    let outcome = read().and_then(|config| {
        let _logging = crate::log::start(&config.log)?;
        let again = Box::new(read) as crate::ReadConfig;
        crate::run(&config, &again).map_err(|error| error.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn text(problems: Vec<crate::config::Problem>) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

//! The command line. What was asked for goes to standard output, progress and complaints to standard error.
//!
//! Exit codes: 0 done, 1 failed, 2 not understood.

mod list;
mod load;
mod plot;
mod run;

use crate::broker::{SUBCOMMAND, become_broker};
use crate::failure::Result;
use crate::wire::Version;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Measures Sluice beside other MQTT brokers: same machine, same run, same load.
#[derive(Parser)]
#[command(name = "sluice-bench", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start each broker, run the cases against all of them in turn, and compare.
    #[command(after_help = RUN_HELP)]
    Run(run::RunArguments),
    /// Put a load on a broker that runs already.
    #[command(after_help = LOAD_HELP)]
    Load(load::LoadArguments),
    /// List the cases, and the brokers that are installed.
    List(list::ListArguments),
    /// Become a broker that ends with its parent.
    #[command(hide = true, name = SUBCOMMAND)]
    Guard(GuardArguments),
    /// Make table and chart of earlier results anew.
    Plot(plot::PlotArguments),
}

#[derive(Args)]
struct GuardArguments {
    #[arg(long)]
    core: Option<usize>,
    #[arg(last = true)]
    words: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mqtt {
    #[value(name = "3.1.1")]
    V311,
    #[value(name = "5.0", alias = "5")]
    V5,
}

impl Mqtt {
    fn version(self) -> Version {
        match self {
            Self::V311 => Version::V311,
            Self::V5 => Version::V5,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Load(arguments) => load::load(&arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Guard(arguments) => become_broker(arguments.core, &arguments.words),
        Command::Plot(arguments) => plot::plot(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Puts a text on standard output. A pipe that nobody reads any more is no error.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{newline}").and_then(|()| out.flush());
}

fn say_json(value: &impl serde::Serialize) -> Result<()> {
    say(&json_text(value)?);
    Ok(())
}

fn json_text(value: &impl serde::Serialize) -> Result<String> {
    use crate::failure::During;
    serde_json::to_string_pretty(value).during("the results cannot be written as JSON")
}

/// Puts a line on standard error.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

const AFTER_HELP: &str = "\
Run it from the root of the repository:
  bench/peers/install                            the brokers to compare with
  cargo build --release -p sluice -p sluice-bench
  cargo build --release -p sluice-bench-policy --target wasm32-unknown-unknown
  target/release/sluice-bench run                all cases, all brokers; results in target/bench

Exit codes: 0 done, 1 failed, 2 the command line was not understood.";

const RUN_HELP: &str = "\
Writes results.json, results.md and results.svg into --out. A broker that is not installed is left out, and the results
say so. The repeats of a case go round the brokers, so that what else happens on the machine meets all of them.

Examples:
  sluice-bench run --quick                                 every case for a moment: does it work at all?
  sluice-bench run --case fanin-50-1 --case connect        all cases whose names begin so
  sluice-bench run --broker sluice --broker mosquitto --repeat 5 --seconds 10
  sluice-bench run --case subs-1m --case retained-1m       the two that run only when they are named
  sluice-bench run --sluice /usr/bin/sluice --json | jq .medians";

const LOAD_HELP: &str = "\
Without --rate it is a closed loop: each publisher has at most --window messages under way.

Examples:
  sluice-bench load --address 127.0.0.1:1883 --publishers 50 --subscribers 1
  sluice-bench load --address 127.0.0.1:1883 --publishers 1 --subscribers 100 --qos 1 --pid $(pidof mosquitto)
  sluice-bench load --address 127.0.0.1:1883 --pairs 1000 --rate 10000 --seconds 30 --json";

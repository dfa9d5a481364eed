//! The command line: `sluice --help` explains it.
//!
//! Exit codes: 0 done, 1 failed or refused, 2 not understood. What was asked for goes to standard output,
//! everything else to standard error.

mod account;
mod bans;
mod broker;
mod check;
mod client;
mod limits;
mod passwd;
mod policy;
mod retained;
pub mod scaffold;
mod session;
mod store;
mod terminal;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// An MQTT broker whose gate you program: policies are sandboxed WebAssembly, replaced while it runs.
#[derive(Parser)]
#[command(name = "sluice", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker until it is told to stop.
    #[command(after_help = RUN_HELP)]
    Run(broker::RunArguments),
    /// Say everything that is wrong with a configuration, policies included, without running it.
    #[command(after_help = CHECK_HELP)]
    Check(check::CheckArguments),
    /// Make the hash of a password for the configuration.
    #[command(after_help = PASSWD_HELP)]
    Passwd(passwd::PasswdArguments),
    /// Write, look at and replace policies.
    #[command(subcommand, after_help = POLICY_HELP)]
    Policy(policy::PolicyCommand),
    /// Show how the running broker fares.
    Status(broker::StatusArguments),
    /// Print all metrics of the running broker, as Prometheus text.
    Metrics(Reach),
    /// Have the running broker read its configuration and the files it names again, as SIGHUP does, and say what is
    /// wrong with them if it does not take them.
    Reload(Reach),
    /// Look at the limits of the running broker, and set others.
    #[command(subcommand, after_help = limits::LIMITS_HELP)]
    Limits(limits::LimitsCommand),
    /// Look at the clients of the running broker, limit them, end their connections, keep them out.
    #[command(subcommand, after_help = client::CLIENT_HELP)]
    Client(client::ClientCommand),
    /// Look at what is kept for clients, and end sessions whose clients never come back.
    #[command(subcommand, after_help = session::SESSION_HELP)]
    Session(session::SessionCommand),
    /// Check, repair and write out the store of a broker that does not run.
    #[command(subcommand, after_help = store::STORE_HELP)]
    Store(store::StoreCommand),
    /// Copy the store of the running broker.
    #[command(after_help = store::BACKUP_HELP)]
    Backup(store::BackupArguments),
    /// Put a copy of a store back, for a broker that does not run.
    #[command(override_usage = "sluice restore <FILE> <PATH|--config <FILE>>", after_help = store::RESTORE_HELP)]
    Restore(store::RestoreArguments),
    /// Look at retained messages, and remove them.
    #[command(subcommand, after_help = retained::RETAINED_HELP)]
    Retained(retained::RetainedCommand),
}

/// How to reach the running broker.
#[derive(Args)]
struct Reach {
    /// Its admin socket. Default: that of --config, else the environment's SLUICE_SOCKET, else the usual place.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The configuration it runs with, which says where its admin socket is.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
}

/// Why a command ends with exit code 1.
enum Failure {
    /// The command has said it already.
    Told,
    /// To be said on standard error.
    Because(String),
}

impl Failure {
    fn because(reason: impl std::fmt::Display) -> Self {
        Self::Because(reason.to_string())
    }
}

type Outcome = Result<(), Failure>;

/// Runs the command that the arguments of this process name.
#[must_use]
pub fn main() -> ExitCode {
    // Says what is wrong and ends with exit code 2, or shows the help and ends with 0.
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => broker::run(arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Passwd(arguments) => passwd::passwd(&arguments),
        Command::Policy(command) => policy::policy(command),
        Command::Status(arguments) => broker::status(&arguments),
        Command::Metrics(reach) => broker::metrics(&reach),
        Command::Reload(reach) => broker::reload(&reach),
        Command::Limits(command) => limits::limits(command),
        Command::Client(command) => client::client(command),
        Command::Session(command) => session::session(command),
        Command::Retained(command) => retained::retained(command),
        Command::Store(command) => store::store(command),
        Command::Backup(arguments) => store::backup(&arguments),
        Command::Restore(arguments) => store::restore(&arguments),
    };
    match outcome {
        Ok(()) if terminal::is_unsaid() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Failure::Because(reason) = failure {
                terminal::complain(&reason);
            }
            ExitCode::FAILURE
        }
    }
}

const AFTER_HELP: &str = "\
Examples:
  sluice run                                     a broker on 127.0.0.1:1883, for this machine only
  sluice run --config sluice.toml                a broker as configured
  sluice check --config sluice.toml              what is wrong with the configuration
  sluice passwd --user ada                       a user for the configuration
  sluice policy new gate                         a policy to begin with, in ./gate
  sluice policy load gate target/gate.wasm       put it in force; clients stay connected

Exit codes: 0 done, 1 failed or refused, 2 the command line was not understood.";

const RUN_HELP: &str = "\
Signals: SIGTERM and SIGINT end the broker, clients are told; SIGHUP reads the configuration and the policies again.
Environment: SLUICE_LOG is a log level (error, warn, info, debug, trace) that goes before the configured one.
It does not run as root unless told to: a broker needs no privileges.

Examples:
  sluice run
  sluice run --listen 127.0.0.1:1883 --listen [::1]:1883
  sluice run --config /etc/sluice/sluice.toml";

const CHECK_HELP: &str = "\
Every problem is reported with its file, line, key and remedy. The policies are compiled, configured and made to test
themselves, as at a start; nothing listens and nothing is written.

Exit codes: 0 no problems (there may be warnings), 1 problems.

Examples:
  sluice check --config sluice.toml
  sluice check --config sluice.toml --json | jq .problems";

const PASSWD_HELP: &str = "\
Asks for the password twice on a terminal; otherwise it is the first line of standard input.

Examples:
  sluice passwd
  sluice passwd --user ada >> sluice.toml && kill -HUP $(pidof sluice)
  echo \"$PASSWORD\" | sluice passwd";

const POLICY_HELP: &str = "\
Examples:
  sluice policy new gate && cd gate && cargo test
  cargo build --release --target wasm32-unknown-unknown
  sluice policy inspect target/wasm32-unknown-unknown/release/gate.wasm
  sluice policy load gate target/wasm32-unknown-unknown/release/gate.wasm
  sluice policy rollback gate";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn is_understood(line: &str) -> bool {
        let words = ["sluice"].into_iter().chain(line.split(' '));
        Arguments::try_parse_from(words).is_ok()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_about_budgets_are_understood() {
        for line in [
            "limits show --json",
            "limits set limits.qos_max=1 total.bytes_in_per_second=unlimited",
            "client show meter-17 --json",
            "client limits meter-17 over_limit=drop inflight_max=5",
            "client limits meter-17 --reset --json",
            "client ban meter-17",
            "client ban --user ada --for 1h --reason why",
            "client ban --address 203.0.113.0/24 --for 90s --json",
            "client unban --address 2001:db8::1",
            "client bans --json",
            "session list --prefix meter-",
            "session show meter-17 --json",
            "session drop meter-17",
            "retained list site/# --json",
            "retained get site/config",
            "retained clear site/#",
            "store check /var/lib/sluice --json",
            "store repair --config sluice.toml",
            "store export /var/lib/sluice",
            "backup copy --json",
            "restore copy /var/lib/sluice",
        ] {
            assert!(is_understood(line), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_sent_to_the_broker() {
        for line in [
            "limits",
            "limits set",
            "client show",
            "client limits meter-17",
            "client limits meter-17 inflight_max=5 --reset",
            "client ban",
            "client ban meter-17 --user ada",
            "client ban --user ada --address 203.0.113.7",
            "client ban --address 203.0.113.7/24",
            "client ban --address example.org",
            "client ban meter-17 --for 1",
            "client ban meter-17 --for 0s",
            "client unban",
            "client unban meter-17 --for 1h",
            "session show",
            "session drop",
            "retained get",
            "retained clear",
            "store check",
            "store check /var/lib/sluice --config sluice.toml",
            "backup",
            "restore copy",
        ] {
            assert!(!is_understood(line), "{line}");
        }
    }
}

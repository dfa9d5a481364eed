//! `sluice run`, and what asks a running broker: `status` and `metrics`.

use super::terminal::{self, harmless, say, say_json};
use super::{Failure, Outcome, Reach};
use crate::admin::{Client, Request, socket};
use crate::config::{Config, Problem, quantity};
use crate::confinement;
use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Args)]
pub(super) struct RunArguments {
    /// The configuration. Without one: 127.0.0.1:1883, for clients of this machine.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// IP address and port to listen on instead of the configured ones; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Run as root all the same.
    #[arg(long, env = "SLUICE_ALLOW_ROOT", value_parser = FalseyValueParser::new())]
    allow_root: bool,
}

#[derive(Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: RunArguments) -> Outcome {
    let RunArguments {
        config,
        listen,
        allow_root,
    } = arguments;
    if !allow_root && rustix::process::geteuid().is_root() {
        return Err(Failure::because(ROOT));
    }
    let read = move || read_config(config.as_deref(), &listen);
    let config = read().map_err(|problems| refuse(&problems))?;
    // The log has a thread of its own: it must be confined as well.
    let confinement = Arc::new(confinement::confine(&config).map_err(Failure::because)?);
    let _logging =
        crate::log::start(config.log.level, config.log.format.is_json()).map_err(Failure::because)?;
    let confined_to = Arc::clone(&confinement);
    let read_again: crate::ReadConfig = Box::new(move || {
        let told = |problems: Vec<Problem>| {
            problems
                .iter()
                .map(Problem::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        let config = read().map_err(told)?;
        let outside = confined_to.outside(&config);
        if outside.is_empty() {
            Ok(config)
        } else {
            Err(told(outside))
        }
    });
    crate::run(&config, &read_again, &confinement).map_err(Failure::because)
}

const ROOT: &str = "\
refusing to run as root: a broker needs none of its privileges, and a mistake in it would have all of them.
Run it as a user of its own: `runuser -u sluice -- sluice run ...`, `User=` in a systemd unit, `USER` in a container.
A port below 1024 needs only CAP_NET_BIND_SERVICE (`AmbientCapabilities=` in the unit).
If it must be root, say so: --allow-root, or SLUICE_ALLOW_ROOT=1 in its environment.";

pub(super) fn read_config(file: Option<&Path>, listen: &[String]) -> Result<Config, Vec<Problem>> {
    let mut config = file.map_or_else(|| Ok(Config::default()), Config::load)?;
    config.listen_on(listen)?;
    Ok(config)
}

/// Says all problems.
pub(super) fn refuse(problems: &[Problem]) -> Failure {
    for problem in problems {
        terminal::complain(&problem.to_string());
    }
    Failure::Told
}

impl Reach {
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        let path = match (&self.socket, &self.config) {
            (Some(socket), _) => socket.clone(),
            (None, Some(file)) => {
                let config = Config::load(file).map_err(|problems| refuse(&problems))?;
                let configured = socket::path_of(&config.admin.socket);
                configured
                    .ok_or_else(|| Failure::because(format!("{}: admin.socket is \"off\"", file.display())))?
            }
            (None, None) => match std::env::var_os("SLUICE_SOCKET") {
                Some(path) if !path.is_empty() => PathBuf::from(path),
                _ => socket::usual_path(),
            },
        };
        Client::connect(&path).map_err(Failure::because)
    }

    /// One command without a module.
    pub(super) fn ask(&self, request: &Request) -> Result<Value, Failure> {
        self.connect()?.call(request, &[]).map_err(Failure::because)
    }
}

pub(super) fn status(arguments: &StatusArguments) -> Outcome {
    let status = arguments.reach.ask(&Request::Status)?;
    if arguments.json {
        say_json(&status);
        return Ok(());
    }
    let mut rows = Vec::new();
    for (key, value) in status.as_object().into_iter().flatten() {
        let shown = match (key.as_str(), value.as_u64()) {
            ("uptime_seconds", Some(seconds)) => quantity::duration_text(Duration::from_secs(seconds)),
            (_, Some(number)) => number.to_string(),
            (_, None) => harmless(value.as_str().unwrap_or_default()),
        };
        rows.push(vec![key.trim_end_matches("_seconds").replace('_', " "), shown]);
    }
    say(&terminal::table(&rows));
    Ok(())
}

pub(super) fn metrics(reach: &Reach) -> Outcome {
    let metrics = reach.ask(&Request::Metrics)?;
    say(metrics.as_str().unwrap_or_default());
    Ok(())
}

pub(super) fn reload(reach: &Reach) -> Outcome {
    reach.ask(&Request::Reload)?;
    say("the configuration is in force; the log says what waits for a restart");
    Ok(())
}

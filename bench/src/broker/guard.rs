//! What a broker's process does before it is the broker: it goes to its processor, and makes sure that it ends when
//! the benchmark does, however that ends.

use super::cores::pin;
use crate::failure::{During, Failure, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The hidden subcommand of this program that calls [`become_broker`].
pub const SUBCOMMAND: &str = "guard";

/// The command to start `broker` with: this program, which becomes it.
pub(super) fn guarded(broker: &Command, core: Option<usize>) -> Result<Command> {
    let own = std::env::current_exe().during("this program cannot be found")?;
    let mut command = Command::new(own);
    command.arg(SUBCOMMAND);
    if let Some(core) = core {
        command.arg("--core").arg(core.to_string());
    }
    command
        .arg("--")
        .arg(broker.get_program())
        .args(broker.get_args());
    for (name, value) in broker.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(command)
}

/// Turns this process into the broker.
///
/// # Errors
/// When that cannot be done; otherwise it does not return.
pub fn become_broker(core: Option<usize>, words: &[OsString]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    pin(core)?;
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Failure::new("no program is named"))?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).during(program.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_keeps_its_arguments_and_environment() {
        let mut broker = Command::new("broker");
        broker.args(["--config", "a file"]).env("NAME", "value");
        let command = guarded(&broker, Some(3)).unwrap();
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(
            words,
            ["guard", "--core", "3", "--", "broker", "--config", "a file"]
        );
        assert!(command.get_envs().eq(broker.get_envs()));
    }
}

//! What the process gives up before it meets a client, so that a mistake in it is worth little to whoever finds one.
//!
//! Landlock, where the kernel has it: of the files of this machine it keeps those that the configuration names, of the
//! network the ports of its listeners and its health endpoint, and those of the services that policies ask; it runs no
//! program. Beside that it never gets more privileges than it has (`no_new_privs`), and leaves no core that would hold keys and passwords. None of it can be taken back: what a later
//! configuration names elsewhere needs a restart, and [`Confinement::outside`] says so.
//!
//! The kernel confines the calling thread and those it starts from then on: [`confine`] comes before any other thread.

mod places;

use crate::config::{Address, Config, Problem};
use crate::event::{Event, Events};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags, path_beneath_rules,
};
use places::Places;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// The newest interface of Landlock that this code was tried with. An older kernel enforces what it knows.
const TRIED: ABI = ABI::V7;

/// The port of the name service.
const DNS: u16 = 53;

/// What this process has given up.
#[derive(Debug)]
pub struct Confinement {
    by: By,
    /// Directories whose files it may read, without symbolic links.
    readable: Vec<PathBuf>,
    /// TCP ports it may connect to.
    reachable: BTreeSet<u16>,
}

#[derive(Debug)]
enum By {
    /// This version of Landlock's interface.
    Landlock(i32),
    /// The kernel has none.
    Nothing,
    /// The operator wants none.
    SwitchedOff,
}

/// The process could not give up what it should.
#[derive(Debug)]
pub struct ConfineError(String);

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the process cannot be confined: {}; `confine = false` runs it without",
            self.0
        )
    }
}

impl std::error::Error for ConfineError {}

/// Gives up what a broker with this configuration does not need. To be called before any thread is started, once.
///
/// # Errors
/// When the kernel refuses to take a right away. That it cannot take it is no error: [`Confinement::report`] tells.
pub fn confine(config: &Config) -> Result<Confinement, ConfineError> {
    if !config.confine {
        return Ok(Confinement {
            by: By::SwitchedOff,
            readable: Vec::new(),
            reachable: BTreeSet::new(),
        });
    }
    let failed = |error: &dyn fmt::Display| ConfineError(error.to_string());
    set_no_new_privs(true).map_err(|error| failed(&error))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| failed(&error))?;
    places::make(config);
    let places = Places::of(config);
    let status = restrict(config, &places).map_err(|error| failed(&error))?;
    Ok(Confinement {
        by: by(&status),
        readable: places.read.into_keys().collect(),
        reachable: service_ports(config),
    })
}

impl Confinement {
    /// Says in the log what holds.
    pub fn report(&self, events: &Events) {
        match self.by {
            By::Landlock(abi) => events.emit(Event::Confined {
                text: &format!("landlock ABI {abi}"),
            }),
            By::Nothing => events.emit(Event::NotConfined {
                text: "kernel has no Landlock",
            }),
            By::SwitchedOff => events.emit(Event::NotConfined {
                text: "confine = false",
            }),
        }
    }

    /// What a configuration names that this process can no longer open: one problem for each.
    #[must_use]
    pub fn outside(&self, config: &Config) -> Vec<Problem> {
        if !matches!(self.by, By::Landlock(_)) {
            return Vec::new();
        }
        let files = places::files(config).into_iter();
        let outside = files.filter(|(_, path)| {
            // What is not there at all is for its reader to report.
            let real = path.canonicalize().ok();
            real.is_some_and(|real| !self.readable.iter().any(|dir| real.starts_with(dir)))
        });
        let problem = |(key, path): (String, PathBuf)| Problem {
            file: config.file.clone(),
            line: config.lines.of(&key),
            key,
            what: format!(
                "{} is in no directory that was named when the broker started, and it is confined to those",
                path.display()
            ),
            remedy: "restart the broker, or put the file beside one that it reads already".to_owned(),
        };
        let services = config.services.iter();
        let unreachable = services.filter(|service| !self.reachable.contains(&service.url.port()));
        let unreachable = unreachable.map(|service| Problem {
            file: config.file.clone(),
            line: None,
            key: format!("service.{}.url", service.name),
            what: format!(
                "the broker could connect to no port {} when it started, and it is confined to what it could",
                service.url.port()
            ),
            remedy: "restart the broker".to_owned(),
        });
        outside.map(problem).chain(unreachable).collect()
    }
}

/// Ports of the services that policies ask, and that of the name service, which may answer over TCP.
fn service_ports(config: &Config) -> BTreeSet<u16> {
    let mut ports: BTreeSet<u16> = config.services.iter().map(|service| service.url.port()).collect();
    if !ports.is_empty() {
        ports.insert(DNS);
    }
    ports
}

fn by(status: &RestrictionStatus) -> By {
    match (&status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => By::Nothing,
        (_, LandlockStatus::Available { effective_abi, .. }) => {
            By::Landlock((effective_abi as i32).min(TRIED as i32))
        }
        _ => By::Nothing,
    }
}

/// Confines this thread and those it will start.
fn restrict(config: &Config, places: &Places) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::from_all(TRIED))?
        .scope(scopes())?
        .create()?;
    // A directory that is missing is left out: then it is not allowed.
    for (dir, rights) in &places.read {
        ruleset = ruleset.add_rules(path_beneath_rules([dir], *rights))?;
    }
    for (dir, rights) in &places.write {
        ruleset = ruleset.add_rules(path_beneath_rules([dir], *rights))?;
    }
    let listeners = config
        .listeners
        .iter()
        .filter_map(|listener| match listener.address {
            Address::Ip(address) => Some(address),
            Address::Unix(_) => None,
        });
    for address in listeners.chain(config.health) {
        ruleset = ruleset.add_rule(NetPort::new(address.port(), AccessNet::BindTcp))?;
    }
    // Clients come to the broker; it goes nowhere but to the services that policies may ask.
    for port in service_ports(config) {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    ruleset.restrict_self()
}

/// Whom it may not reach: processes by a signal, and other programs' abstract sockets. A service manager may be behind
/// such a socket.
fn scopes() -> BitFlags<Scope> {
    let manager =
        std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| path.as_encoded_bytes().starts_with(b"@"));
    if manager {
        Scope::Signal.into()
    } else {
        make_bitflags!(Scope::{Signal | AbstractUnixSocket})
    }
}

#[cfg(test)]
mod tests;

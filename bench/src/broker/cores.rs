//! Which processor runs what: the broker has one for itself, the load another.

use crate::failure::{During, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Processors by number; `None`: whatever the kernel chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The broker's.
    pub broker: Option<usize>,
    /// The load's.
    pub load: Option<usize>,
}

impl Cores {
    /// The first two processors this process may use; no pinning when there is only one.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn first_two() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (broker, load) = (cores.next(), cores.next());
        Ok(match load {
            Some(_) => Self { broker, load },
            None => Self::anywhere(),
        })
    }

    /// No pinning.
    pub fn anywhere() -> Self {
        Self {
            broker: None,
            load: None,
        }
    }

    /// Keeps this thread on the load's processor.
    ///
    /// # Errors
    /// When there is no such processor.
    pub fn pin_load(self) -> Result<()> {
        pin(self.load)
    }
}

/// Keeps this thread, and what it turns into, on one processor.
pub(super) fn pin(core: Option<usize>) -> Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    if core < CpuSet::MAX_CPU {
        set.set(core);
    }
    sched_setaffinity(None, &set).during(format_args!("processor {core} cannot be used"))
}

/// Lets this process and those it starts have as many open files as they may. Returns how many.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // What is missing then is seen when a connection fails.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

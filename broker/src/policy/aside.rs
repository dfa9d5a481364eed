//! Long work that must not be felt by clients: compiling a module takes a processor for a fifth of a second.

#[cfg(target_os = "linux")]
use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use std::panic::resume_unwind;
use std::thread;

/// How much such work stands back from the rest of the process. At 10 it gets a tenth of a processor that clients want all of, and a thread that
/// wakes for a client runs at once. `SCHED_IDLE` would leave it nothing, and a policy that is to be replaced because it
/// does harm would stay; `SCHED_BATCH` changes nothing for a thread that never sleeps.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
#[cfg(target_os = "linux")]
const NICENESS_MAX: i32 = 19;

/// Does the work on a thread of its own that stands back behind those of the clients, and waits for it. Only a thread of
/// its own will do: standing back cannot be taken back without privileges.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn stand_back<R: Send>(work: impl FnOnce() -> R + Send) -> io::Result<R> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("policy-load".into())
            .spawn_scoped(scope, || {
                be_nice();
                work()
            })?;
        Ok(worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Without this, the work is merely felt.
fn be_nice() {
    // On Linux this is about the thread; elsewhere it would be about the process.
    #[cfg(target_os = "linux")]
    if let Ok(usual) = getpriority_process(None) {
        let _ = setpriority_process(None, (usual + NICENESS).min(NICENESS_MAX));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_work_stands_back() {
        let before = getpriority_process(None).unwrap();
        let during = stand_back(|| getpriority_process(None).unwrap()).unwrap();
        assert_eq!(during, (before + NICENESS).min(NICENESS_MAX));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}

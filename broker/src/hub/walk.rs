//! A walk through all sessions that lets clients come and go meanwhile.

use super::Hub;
use super::cell::SessionCell;
use super::registry::Registry;
use parking_lot::Mutex;
use std::sync::Arc;
use std::vec;

/// Sessions that are taken from the registry at a time. Ten thousand at once took 4 ms, and for as long nobody could
/// connect or leave.
const PORTION: usize = 64;

/// Sessions in the order of their numbers: each that is there from the beginning of the walk to its end, once. Of those
/// that come or end meanwhile some.
pub(super) struct Walk<'a> {
    registry: &'a Mutex<Registry>,
    portion: vec::IntoIter<Arc<SessionCell>>,
    /// The lowest number that has not been taken; `None`: all have.
    next: Option<u64>,
}

impl Iterator for Walk<'_> {
    type Item = Arc<SessionCell>;

    fn next(&mut self) -> Option<Arc<SessionCell>> {
        if self.portion.as_slice().is_empty() {
            let portion = self.registry.lock().portion(self.next?, PORTION);
            self.next = portion.last().and_then(|cell| cell.number.checked_add(1));
            self.portion = portion.into_iter();
        }
        self.portion.next()
    }
}

impl Hub {
    /// All sessions, connected or not; whoever asks may take its time.
    pub(super) fn walk(&self) -> Walk<'_> {
        Walk {
            registry: &self.inner.registry,
            portion: Vec::new().into_iter(),
            next: Some(0),
        }
    }

    /// Those of a client identifier, one in each mount point.
    pub(super) fn walk_client<'a>(
        &'a self,
        client_id: &'a str,
    ) -> impl Iterator<Item = Arc<SessionCell>> + 'a {
        self.walk().filter(move |cell| &*cell.key.client_id == client_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::testing::{attach, hub};
    use std::collections::HashSet;

    #[test]
    fn a_walk_meets_each_session_that_stays_once_while_others_come_and_go() {
        const SESSIONS: u64 = 5 * PORTION as u64;
        let hub = hub();
        for number in 0..SESSIONS {
            attach(&hub, number);
        }
        let mut met = HashSet::new();
        for (step, cell) in hub.walk().enumerate() {
            assert!(met.insert(cell.number), "{} twice", cell.number);
            // The last of the portion that is being walked through, then those far ahead.
            if step == 0 {
                for number in (PORTION as u64 - 1)..SESSIONS - 1 {
                    let gone = hub.inner.registry.lock().by_number(number).unwrap();
                    hub.end(&gone, None, std::time::Instant::now());
                }
                attach(&hub, SESSIONS);
            }
        }
        let stayed = (0..PORTION as u64 - 1).chain([SESSIONS - 1]);
        let missed: Vec<u64> = stayed.filter(|number| !met.contains(number)).collect();
        assert!(missed.is_empty(), "{missed:?}");
        assert_eq!(hub.walk_client("3").count(), 1);
        assert_eq!(hub.walk_client("nobody").count(), 0);
    }
}

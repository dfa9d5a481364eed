//! How many log lines of one kind one peer may cause per second.
//!
//! Bounded: at most [`ENTRIES_MAX`] subjects are followed. When the table is full, further subjects share one entry
//! per kind, so that their lines become fewer, never more.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whom the lines of one rate are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Nobody in particular, or one of those that found the table full.
    Everyone,
    /// A client's address; of IPv6 the network, because a client has 2^64 addresses to choose from.
    Address(IpAddr),
    /// A policy, or a service that policies ask.
    Policy(Arc<str>),
}

impl Subject {
    pub(super) fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Lines that were kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub(super) kind: &'static str,
    pub(super) subject: Subject,
    /// How many subjects, this one included, the count is of.
    pub(super) subjects: u64,
    pub(super) lines: u64,
}

#[derive(Debug)]
pub(super) struct Limiter {
    entries: HashMap<(&'static str, Subject), Entry>,
    swept: Instant,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    written: u32,
    suppressed: u64,
}

impl Limiter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            entries: HashMap::new(),
            swept: now,
        }
    }

    /// Whether one more line may be written; otherwise it is counted.
    pub(super) fn admit(
        &mut self,
        kind: &'static str,
        subject: Subject,
        lines_per_window: u32,
        now: Instant,
    ) -> bool {
        let mut key = (kind, subject);
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            key.1 = Subject::Everyone;
        }
        let entry = self.entries.entry(key).or_insert(Entry {
            since: now,
            written: 0,
            suppressed: 0,
        });
        if now.saturating_duration_since(entry.since) >= WINDOW {
            entry.since = now;
            entry.written = 0;
        }
        if entry.written < lines_per_window {
            entry.written += 1;
            return true;
        }
        entry.suppressed += 1;
        false
    }

    /// [`Self::sweep`], at most once per window.
    pub(super) fn sweep_if_due(&mut self, now: Instant) -> Vec<Suppressed> {
        if now.saturating_duration_since(self.swept) < WINDOW {
            return Vec::new();
        }
        self.sweep(now)
    }

    /// Takes the counts of what was kept back, and forgets subjects that were quiet. At most [`REPORTS_MAX`] counts
    /// of single subjects and one more per kind for all others.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<Suppressed> {
        self.swept = now;
        let mut counts: Vec<Suppressed> = Vec::new();
        self.entries.retain(|(kind, subject), entry| {
            let lines = std::mem::take(&mut entry.suppressed);
            if lines > 0 {
                counts.push(Suppressed {
                    kind,
                    subject: subject.clone(),
                    subjects: 1,
                    lines,
                });
            }
            now.saturating_duration_since(entry.since) < WINDOW
        });
        counts.sort_by_key(|count| std::cmp::Reverse(count.lines));
        let rest = counts.split_off(counts.len().min(REPORTS_MAX));
        let mut summed: HashMap<&'static str, (u64, u64)> = HashMap::new();
        for count in rest {
            let (subjects, lines) = summed.entry(count.kind).or_default();
            *subjects += 1;
            *lines += count.lines;
        }
        counts.extend(summed.into_iter().map(|(kind, (subjects, lines))| Suppressed {
            kind,
            subject: Subject::Everyone,
            subjects,
            lines,
        }));
        counts
    }
}

const WINDOW: Duration = Duration::from_secs(1);
/// With the shared entries of each kind the table holds a few dozen more: about 100 KiB in all.
const ENTRIES_MAX: usize = 1_024;
const REPORTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> Subject {
        Subject::of_address(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn a_loud_peer_does_not_silence_another() {
        let now = Instant::now();
        let mut limiter = Limiter::new(now);
        let loud = (0..100).filter(|_| limiter.admit("x", peer(1), 10, now)).count();
        assert_eq!(loud, 10);
        assert!(limiter.admit("x", peer(2), 10, now), "another peer");
        assert!(limiter.admit("y", peer(1), 10, now), "another kind");
        assert!(limiter.admit("x", peer(1), 10, now + WINDOW), "the next second");
    }

    #[test]
    fn what_was_kept_back_is_reported_once() {
        let now = Instant::now();
        let mut limiter = Limiter::new(now);
        assert_eq!(
            (0..15).filter(|_| limiter.admit("x", peer(1), 10, now)).count(),
            10
        );
        assert!(
            limiter.sweep_if_due(now).is_empty(),
            "not before the window is over"
        );
        let due = limiter.sweep_if_due(now + WINDOW);
        assert_eq!(
            due,
            [Suppressed {
                kind: "x",
                subject: peer(1),
                subjects: 1,
                lines: 5
            }]
        );
        assert!(limiter.sweep(now + WINDOW).is_empty());
        assert!(limiter.entries.is_empty(), "a quiet peer is forgotten");
    }

    #[test]
    fn a_million_addresses_share_what_is_left_when_the_table_is_full() {
        let now = Instant::now();
        let mut limiter = Limiter::new(now);
        let written = (0..1_000_000)
            .filter(|n| limiter.admit("x", peer(*n), 10, now))
            .count();
        assert_eq!(written, ENTRIES_MAX + 10);
        assert!(limiter.entries.len() <= ENTRIES_MAX + 1);
        let many_loud = (0..100).flat_map(|n| std::iter::repeat_n(n, 20));
        assert_eq!(
            many_loud
                .filter(|n| limiter.admit("x", peer(*n), 10, now))
                .count(),
            100 * 9
        );
        let due = limiter.sweep(now + WINDOW);
        assert!(due.len() <= REPORTS_MAX + 1, "{}", due.len());
        let lines: u64 = due.iter().map(|count| count.lines).sum();
        assert_eq!(lines, 1_000_000 - written as u64 + 100 * (20 - 9));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_peer() {
        let of = |text: &str| Subject::of_address(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}

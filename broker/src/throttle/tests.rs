//! Limits in virtual time: what passes, when, and who gets which part.

use super::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// What a client that always has more to send is checked over.
const TEN_SECONDS: Duration = Duration::from_secs(10);

fn rate(per_second: u64, burst: u64) -> Rate {
    Rate { per_second, burst }
}

fn governor(own: Rates, action: OverLimit, now: Instant) -> Governor {
    let mut governor = Governor::new(Arc::default(), Arc::default());
    governor.apply(&own, action, now);
    governor
}

/// A client of a test: reads whenever it may and has something to read.
struct Reader {
    governor: Governor,
    /// Bytes it offers a second; `None`: as many as it is let.
    offers: Option<f64>,
    began: Instant,
    moved: f64,
    /// When it is looked at next.
    at: Instant,
    longest_wait: Duration,
}

impl Reader {
    fn new(governor: Governor, offers: Option<f64>, began: Instant) -> Self {
        Self {
            governor,
            offers,
            began,
            moved: 0.0,
            at: began,
            longest_wait: Duration::ZERO,
        }
    }

    fn turn(&mut self, now: Instant) {
        const PIECE: usize = 100;
        let ready = match self.governor.may_read(now) {
            Ok(bytes) => bytes.min(64 * 1024),
            Err(at) => {
                assert!(at > now, "a wait must lead somewhere");
                if self.offers.is_some() {
                    self.longest_wait = self.longest_wait.max(now - self.due());
                }
                self.at = at;
                return;
            }
        };
        let bytes = if self.offers.is_some() {
            ready.min(PIECE)
        } else {
            ready
        };
        self.governor.received(bytes, now);
        self.moved += bytes as f64;
        // A greedy one comes back at once, another when it has the next piece.
        self.at = if self.offers.is_some() {
            self.due().max(now)
        } else {
            now
        };
    }

    /// When the next piece is offered.
    fn due(&self) -> Instant {
        self.began + Duration::from_secs_f64(self.moved / self.offers.unwrap_or(f64::MAX))
    }
}

/// Lets all of them read for so long.
fn run(readers: &mut [Reader], from: Instant, until: Instant) {
    let mut turns = BinaryHeap::new();
    for (index, reader) in readers.iter_mut().enumerate() {
        reader.at = reader.at.max(from);
        turns.push(Reverse((reader.at, index)));
    }
    while let Some(Reverse((now, index))) = turns.pop().filter(|Reverse((now, _))| *now < until) {
        readers[index].turn(now);
        turns.push(Reverse((readers[index].at, index)));
    }
}

fn within(value: f64, expected: f64, part: f64, what: &str) {
    assert!(
        (value - expected).abs() <= expected * part,
        "{what}: {value} instead of {expected}"
    );
}

#[test]
fn a_rate_holds_within_5_percent_over_ten_seconds() {
    for (per_second, burst) in [
        (1_000, 1_000),
        (100_000, 1),
        (64 << 20, 1 << 20),
        (10 << 20, 100 << 20),
    ] {
        let began = Instant::now();
        let own = Rates {
            bytes_in: Some(rate(per_second, burst)),
            ..Rates::default()
        };
        let mut readers = [Reader::new(governor(own, OverLimit::Delay, began), None, began)];
        // The burst is spent first; then the rate holds.
        run(&mut readers, began, began + TEN_SECONDS);
        let spent = readers[0].moved;
        run(&mut readers, began + TEN_SECONDS, began + 2 * TEN_SECONDS);
        within(spent, (per_second * 10 + burst) as f64, 0.06, "with the burst");
        within(
            readers[0].moved - spent,
            (per_second * 10) as f64,
            0.05,
            "without",
        );
    }
}

#[test]
fn outwards_the_same_holds() {
    let began = Instant::now();
    let own = Rates {
        bytes_out: Some(rate(50_000, 50_000)),
        messages_out: Some(rate(100, 10)),
        ..Rates::default()
    };
    let mut governor = governor(own, OverLimit::Disconnect, began);
    let (mut now, mut bytes) = (began, 0);
    while now < began + TEN_SECONDS {
        match governor.may_write(now) {
            Ok(allowed) => {
                governor.sent(allowed, now);
                bytes += allowed;
            }
            Err(at) => now = at,
        }
    }
    within(bytes as f64, 550_000.0, 0.05, "bytes");
    let (mut now, mut messages) = (began, 0);
    let mut governor = super::tests::governor(own, OverLimit::Delay, began);
    while now < began + TEN_SECONDS {
        match governor.may_deliver(now) {
            Ok(allowed) => {
                governor.delivered(allowed, now);
                messages += allowed;
            }
            Err(at) => now = at,
        }
    }
    within(f64::from(messages), 1_010.0, 0.01, "messages");
}

#[test]
fn after_a_pause_the_burst_is_there_at_once_and_not_more() {
    let now = Instant::now();
    let mut bucket = Bucket::new(rate(10, 5), now);
    let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(1.0, now)).count();
    assert_eq!(taken(&mut bucket, now), 5);
    assert_eq!(taken(&mut bucket, now), 0);
    assert_eq!(taken(&mut bucket, now + SECOND / 5), 2);
    assert_eq!(taken(&mut bucket, now + 100 * SECOND), 5);
}

#[test]
fn what_is_larger_than_the_burst_passes_a_full_bucket_and_is_paid_for() {
    let now = Instant::now();
    let mut bucket = Bucket::new(rate(100, 50), now);
    assert!(bucket.take(200.0, now));
    assert!(!bucket.take(1.0, now + SECOND));
    assert!(bucket.take(1.0, now + SECOND * 2));
    assert!(!bucket.take(200.0, now + SECOND * 2));
    assert!(bucket.take(200.0, now + SECOND * 3));
}

#[test]
fn a_rate_of_nothing_lets_the_burst_pass_and_then_nothing() {
    let now = Instant::now();
    let mut bucket = Bucket::new(rate(0, 3), now);
    assert!(bucket.take(3.0, now));
    assert!(!bucket.take(1.0, now + 100 * TEN_SECONDS));
    assert_eq!(bucket.ready_at(1.0, now), Some(now + WAIT_MAX));
}

#[test]
fn a_time_that_goes_back_gives_no_tokens() {
    let now = Instant::now() + TEN_SECONDS;
    let mut bucket = Bucket::new(rate(1, 1), now);
    assert!(bucket.take(1.0, now));
    assert!(!bucket.take(1.0, now - SECOND));
    assert!(!bucket.take(1.0, now + SECOND / 2));
    assert!(bucket.take(1.0, now + SECOND));
}

#[test]
fn messages_wait_when_the_action_is_delay_and_are_over_otherwise() {
    let now = Instant::now();
    let own = Rates {
        messages_in: Some(rate(10, 2)),
        ..Rates::default()
    };
    let mut delayed = governor(own, OverLimit::Delay, now);
    for _ in 0..2 {
        assert_eq!(delayed.next_packet_at(now), None);
        assert_eq!(delayed.publish(100, now), Take::Pass);
    }
    let at = delayed.next_packet_at(now).expect("the burst is spent");
    assert!(at - now <= SECOND / 10 + Duration::from_millis(1) && at - now > SECOND / 20);
    assert_eq!(delayed.next_packet_at(at), None);

    let mut policed = governor(own, OverLimit::Refuse, now);
    for expected in [Take::Pass, Take::Pass, Take::Over(Over::MessagesIn)] {
        assert_eq!(policed.next_packet_at(now), None, "nobody waits");
        assert_eq!(policed.publish(100, now), expected);
    }
    assert_eq!(policed.publish(100, now + SECOND / 10), Take::Pass);
}

#[test]
fn bytes_wait_when_the_action_is_delay_and_are_over_otherwise() {
    let now = Instant::now();
    let own = Rates {
        bytes_in: Some(rate(1_000, 1_000)),
        ..Rates::default()
    };
    let mut delayed = governor(own, OverLimit::Delay, now);
    delayed.received(1_500, now);
    assert!(delayed.may_read(now).is_err());
    assert_eq!(
        delayed.publish(1_500, now),
        Take::Pass,
        "it was made to wait for it"
    );
    assert!(delayed.may_read(now + SECOND).is_ok());

    let mut policed = governor(own, OverLimit::Drop, now);
    policed.received(3_000, now);
    assert!(policed.may_read(now).is_ok(), "nobody waits");
    assert_eq!(policed.publish(900, now), Take::Pass);
    assert_eq!(policed.publish(900, now), Take::Over(Over::BytesIn));
    policed.packets(600, now);
    assert_eq!(
        policed.publish(100, now + SECOND / 2),
        Take::Over(Over::BytesIn),
        "a debt"
    );
    assert_eq!(policed.publish(100, now + SECOND), Take::Pass);
}

#[test]
fn filters_have_a_rate_of_their_own() {
    let now = Instant::now();
    let own = Rates {
        subscribes: Some(rate(2, 4)),
        ..Rates::default()
    };
    let mut delayed = governor(own, OverLimit::Delay, now);
    assert_eq!(delayed.subscribe(6, 50, now), Take::Pass);
    let at = delayed.next_packet_at(now).expect("in debt");
    assert!(at > now + SECOND && at < now + 2 * SECOND);
    let mut policed = governor(own, OverLimit::Refuse, now);
    assert_eq!(policed.subscribe(3, 50, now), Take::Pass);
    assert_eq!(policed.subscribe(3, 50, now), Take::Over(Over::Subscribes));
    assert_eq!(
        policed.publish(50, now),
        Take::Pass,
        "messages are another matter"
    );
}

#[test]
fn a_client_without_limits_is_not_held_up_and_holds_nothing() {
    let now = Instant::now();
    let mut free = governor(Rates::default(), OverLimit::Delay, now);
    for _ in 0..1_000 {
        assert_eq!(free.may_read(now), Ok(usize::MAX));
        free.received(64 * 1024, now);
        assert_eq!(free.next_packet_at(now), None);
        assert_eq!(free.publish(1 << 20, now), Take::Pass);
        assert_eq!(free.may_write(now), Ok(usize::MAX));
        assert_eq!(free.may_deliver(now), Ok(u32::MAX));
    }
    assert!(free.is_free());
}

#[test]
fn a_limit_that_changes_holds_at_once_and_a_debt_stays() {
    let now = Instant::now();
    let mut governor = governor(Rates::default(), OverLimit::Delay, now);
    governor.received(1 << 20, now);
    assert!(governor.may_read(now).is_ok());
    let slow = Rates {
        bytes_in: Some(rate(1_000, 1_000)),
        ..Rates::default()
    };
    governor.apply(&slow, OverLimit::Delay, now);
    assert!(
        governor.may_read(now).is_ok(),
        "what was free is not charged later"
    );
    governor.received(11_000, now);
    let at = governor.may_read(now).expect_err("ten seconds' worth of debt");
    assert!(at > now + 9 * SECOND);
    let fast = Rates {
        bytes_in: Some(rate(10_000, 1_000)),
        ..Rates::default()
    };
    governor.apply(&fast, OverLimit::Delay, now);
    let at = governor.may_read(now).expect_err("still in debt");
    assert!(
        at > now + SECOND / 2 && at < now + 2 * SECOND,
        "but it is repaid faster"
    );
    governor.apply(&Rates::default(), OverLimit::Delay, now);
    assert!(governor.may_read(now).is_ok());
}

fn shared(bytes_in: Option<Rate>, now: Instant) -> Arc<SharedRates> {
    let level = SharedRates::default();
    level.set(
        &Rates {
            bytes_in,
            ..Rates::default()
        },
        now,
    );
    Arc::new(level)
}

fn member(
    listener: &Arc<SharedRates>,
    broker: &Arc<SharedRates>,
    own: Option<Rate>,
    now: Instant,
) -> Governor {
    let mut governor = Governor::new(Arc::clone(listener), Arc::clone(broker));
    let own = Rates {
        bytes_in: own,
        ..Rates::default()
    };
    governor.apply(&own, OverLimit::Delay, now);
    governor
}

fn total(readers: &[Reader]) -> f64 {
    readers.iter().map(|reader| reader.moved).sum()
}

#[test]
fn a_shared_rate_holds_and_greedy_clients_get_the_same_part() {
    let began = Instant::now();
    for clients in [1_usize, 3, 50, 1_000] {
        let broker = shared(Some(rate(10_000_000, 1_000_000)), began);
        let mut readers: Vec<_> = (0..clients)
            .map(|_| Reader::new(member(&Arc::default(), &broker, None, began), None, began))
            .collect();
        run(&mut readers, began, began + TEN_SECONDS);
        let before: Vec<f64> = readers.iter().map(|reader| reader.moved).collect();
        run(&mut readers, began + TEN_SECONDS, began + 2 * TEN_SECONDS);
        within(
            total(&readers) - before.iter().sum::<f64>(),
            100_000_000.0,
            0.05,
            "all",
        );
        for (reader, before) in readers.iter().zip(before) {
            // One piece more or less than the others counts where the part is small.
            within(
                reader.moved - before,
                100_000_000.0 / clients as f64,
                0.10,
                "each",
            );
        }
    }
}

#[test]
fn one_loud_client_does_not_starve_the_quiet_ones() {
    let began = Instant::now();
    let broker = shared(Some(rate(1_000_000, 100_000)), began);
    let mut readers = vec![Reader::new(
        member(&Arc::default(), &broker, None, began),
        None,
        began,
    )];
    // Fifty that want 1 % each of what there is: less than their part.
    readers.extend((0..50).map(|_| {
        Reader::new(
            member(&Arc::default(), &broker, None, began),
            Some(10_000.0),
            began,
        )
    }));
    run(&mut readers, began, began + TEN_SECONDS);
    for quiet in &readers[1..] {
        within(quiet.moved, 100_000.0, 0.02, "a quiet one");
        assert!(quiet.longest_wait < SECOND / 20, "{:?}", quiet.longest_wait);
    }
    within(
        readers[0].moved,
        10.0 * 500_000.0 + 100_000.0,
        0.05,
        "the loud one gets the rest",
    );
}

#[test]
fn all_levels_apply_at_once() {
    let began = Instant::now();
    let broker = shared(Some(rate(1_000_000, 1_000)), began);
    let busy = shared(Some(rate(100_000, 1_000)), began);
    let free = shared(None, began);
    let mut readers: Vec<_> = (0..4)
        .map(|_| Reader::new(member(&busy, &broker, None, began), None, began))
        .collect();
    readers.push(Reader::new(
        member(&free, &broker, Some(rate(50_000, 1_000)), began),
        None,
        began,
    ));
    readers.extend((0..2).map(|_| Reader::new(member(&free, &broker, None, began), None, began)));
    run(&mut readers, began, began + TEN_SECONDS);
    within(total(&readers), 10_000_000.0, 0.05, "the broker's");
    within(total(&readers[..4]), 1_000_000.0, 0.05, "the listener's");
    within(readers[4].moved, 500_000.0, 0.05, "the client's own");
    within(
        readers[5].moved,
        readers[6].moved,
        0.05,
        "the rest in equal parts",
    );
}

#[test]
fn clients_that_come_and_go_cannot_outrun_a_shared_rate() {
    let began = Instant::now();
    let broker = shared(Some(rate(1_000_000, 10_000)), began);
    let (mut now, mut moved) = (began, 0);
    while now < began + TEN_SECONDS {
        // Each moves one piece and leaves without paying.
        let mut governor = member(&Arc::default(), &broker, None, now);
        if let Ok(bytes) = governor.may_read(now) {
            governor.received(bytes, now);
            moved += bytes;
        }
        now += Duration::from_micros(100);
    }
    // Once the deepest debt of a second is reached, what comes in is what is repaid.
    within(
        f64::from(u32::try_from(moved).unwrap()),
        11_010_000.0,
        0.05,
        "all",
    );
}

#[test]
fn those_who_have_left_do_not_count() {
    let began = Instant::now();
    let broker = shared(Some(rate(1_000_000, 1_000)), began);
    let mut readers: Vec<_> = (0..100)
        .map(|_| Reader::new(member(&Arc::default(), &broker, None, began), None, began))
        .collect();
    run(&mut readers, began, began + SECOND);
    readers.truncate(1);
    let before = readers[0].moved;
    run(&mut readers, began + 2 * SECOND, began + 2 * SECOND + TEN_SECONDS);
    within(
        readers[0].moved - before,
        10_000_000.0,
        0.05,
        "the one that is left",
    );
}

#[test]
fn a_shared_limit_is_set_changed_and_lifted_while_clients_wait() {
    let began = Instant::now();
    let broker = shared(None, began);
    let mut readers: Vec<_> = (0..2)
        .map(|_| Reader::new(member(&Arc::default(), &broker, None, began), None, began))
        .collect();
    let set = |readers: &mut [Reader], bytes_in, now| {
        let rates = Rates {
            bytes_in,
            ..Rates::default()
        };
        broker.set(&rates, now);
        for reader in readers {
            reader.governor.apply(&Rates::default(), OverLimit::Delay, now);
            reader.at = now;
        }
    };
    for (second, per_second) in [(0, 100_000), (20, 1_000_000), (40, 10_000)] {
        let from = began + second * SECOND;
        set(&mut readers, Some(rate(per_second, 1_000)), from);
        // A debt from before is repaid first.
        run(&mut readers, from, from + SECOND);
        let before = total(&readers);
        run(&mut readers, from + SECOND, from + SECOND + TEN_SECONDS);
        within(
            total(&readers) - before,
            10.0 * per_second as f64,
            0.05,
            "the new rate",
        );
    }
    let now = began + 60 * SECOND;
    set(&mut readers, None, now);
    for reader in &mut readers {
        assert!(reader.governor.may_read(now).is_ok());
    }
}

#[test]
fn shared_messages_are_counted_in_batches_and_not_lost() {
    let now = Instant::now();
    let broker = SharedRates::default();
    let rates = Rates {
        messages_in: Some(rate(100, 100)),
        ..Rates::default()
    };
    broker.set(&rates, now);
    let mut governor = Governor::new(Arc::default(), Arc::new(broker));
    governor.apply(&Rates::default(), OverLimit::Refuse, now);
    let mut passed = 0;
    while governor.next_packet_at(now).is_none() {
        assert_eq!(
            governor.publish(10, now),
            Take::Pass,
            "a shared limit makes wait, it does not refuse"
        );
        passed += 1;
    }
    assert!((100..=116).contains(&passed), "{passed}");
    let at = governor.next_packet_at(now + SECOND);
    assert!(at.is_none(), "{passed} are repaid after a second");
}

#[test]
fn the_time_spent_waiting_is_accounted_for() {
    let now = Instant::now();
    let mut governor = governor(Rates::default(), OverLimit::Delay, now);
    governor.note(true, false, now);
    governor.note(true, true, now + SECOND);
    governor.note(false, true, now + 2 * SECOND);
    governor.note(false, false, now + 5 * SECOND);
    governor.note(false, false, now + 9 * SECOND);
    let throttled = governor.throttled();
    assert_eq!((throttled.inward, throttled.outward), (2 * SECOND, 4 * SECOND));
}

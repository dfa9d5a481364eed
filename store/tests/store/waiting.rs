//! When what is written, and who waits for it.

use crate::scene::{
    NEVER, Told, durable, message, next_commit, on_plate, opened, options, payload, publish, reopen, sent, to,
};
use sluice_store::testing::block_on;
use sluice_store::{Change, Durability, MessageRecord, Options, Store, Ticket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn waker() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn is_pending(store: &Store, ticket: Ticket) -> bool {
    store.poll_durable(ticket, Waker::noop()).is_pending()
}

#[test]
fn what_is_waited_for_is_written_at_once() {
    let (plate, store, _told) = on_plate(options());
    let ticket = store.submit(Change::Retained(message("kept")));
    durable(&store, ticket);
    plate.cut_power();
    plate.restore_power();
    let (_store, recovered, _) = reopen(&plate, options());
    assert_eq!(recovered.retained.len(), 1);
}

#[test]
fn what_nobody_waits_for_is_written_all_the_same() {
    let (_plate, store, told) = on_plate(Options {
        commit_interval: Duration::from_millis(5),
        ..options()
    });
    store.submit(Change::Retained(message("kept")));
    next_commit(&told);
    store.submit(Change::Retained(message("other")));
    next_commit(&told);
}

#[test]
fn a_batch_that_is_large_does_not_wait() {
    let (_plate, store, told) = on_plate(Options {
        commit_delay: NEVER,
        commit_bytes: 10_000,
        ..options()
    });
    let ticket = store.submit(opened(1));
    assert!(is_pending(&store, ticket), "it waits for company");
    for position in 0..100 {
        publish(&store, 1, position, &"p".repeat(200));
    }
    assert!(next_commit(&told).bytes > 5_000);
}

#[test]
fn a_batch_waits_for_company_as_long_as_it_may_and_no_longer() {
    const DELAY: Duration = Duration::from_millis(80);
    let (_plate, store, told) = on_plate(Options {
        commit_delay: DELAY,
        ..options()
    });
    durable(&store, store.submit(opened(1)));
    next_commit(&told);
    let began = Instant::now();
    let (_, ticket) = publish(&store, 1, 0, "first");
    assert!(is_pending(&store, ticket));
    let (_, company) = publish(&store, 1, 1, "second");
    assert_eq!(company, ticket);
    durable(&store, ticket);
    assert!(began.elapsed() >= DELAY);
    assert_eq!(next_commit(&told).messages, 2);
}

#[test]
fn all_that_wait_while_a_batch_is_written_share_the_next() {
    let (plate, store, told) = on_plate(options());
    durable(&store, store.submit(opened(1)));
    next_commit(&told);
    let brake = plate.brake();
    let (_, first) = publish(&store, 1, 0, "first");
    assert!(is_pending(&store, first));
    // The next batch is another one as soon as the first is on its way.
    let mut tickets = Vec::new();
    let mut position = 1;
    while tickets.len() < 100 {
        let (_, ticket) = publish(&store, 1, position, "more");
        position += 1;
        if ticket > first {
            assert!(is_pending(&store, ticket));
            tickets.push(ticket);
        }
    }
    assert_eq!(tickets.first(), tickets.last());
    drop(brake);
    for ticket in tickets {
        durable(&store, ticket);
    }
    let messages = next_commit(&told).messages + next_commit(&told).messages;
    assert_eq!(messages, position);
    assert!(told.try_recv().is_err(), "two commits for all of them");
}

#[test]
fn no_batch_is_written_while_a_submission_is_open() {
    let (_plate, store, told) = on_plate(options());
    let submission = store.begin();
    let ticket = store.submit(opened(1));
    assert!(is_pending(&store, ticket));
    let (_, later) = publish(&store, 1, 0, "later");
    assert_eq!(later, ticket, "what comes meanwhile is in the same batch");
    assert!(is_pending(&store, ticket));
    drop(submission);
    durable(&store, ticket);
    assert_eq!(next_commit(&told).messages, 1, "all of it");
}

#[test]
fn a_submission_that_says_nothing_has_no_ticket() {
    let (_plate, store, _told) = on_plate(options());
    assert!(store.begin().end().is_none());
    let mut submission = store.begin();
    submission.change(opened(1));
    assert!(!submission.end().is_none());
}

#[test]
fn a_waker_is_woken_once_when_its_batch_is_durable() {
    let (plate, store, _told) = on_plate(options());
    let brake = plate.brake();
    let ticket = store.submit(opened(1));
    let (count, waker) = waker();
    for _ in 0..1_000 {
        assert!(store.poll_durable(ticket, &waker).is_pending());
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    drop(brake);
    durable(&store, ticket);
    // All of a batch are woken before the next is begun.
    durable(&store, store.submit(opened(2)));
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(store.poll_durable(ticket, &waker), Poll::Ready(Ok(())));
}

#[test]
fn a_message_can_be_read_before_it_is_on_disk() {
    let (plate, store, _told) = on_plate(options());
    durable(&store, store.submit(opened(1)));
    let brake = plate.brake();
    let (first, ticket) = publish(&store, 1, 0, "first");
    assert_eq!(
        payload(&store, first, 1).as_deref(),
        Some("first"),
        "in the current batch"
    );
    assert!(is_pending(&store, ticket));
    let mut position = 1;
    let second = loop {
        let (seq, later) = publish(&store, 1, position, "second");
        position += 1;
        if later > ticket {
            break seq;
        }
    };
    assert_eq!(
        payload(&store, first, 1).as_deref(),
        Some("first"),
        "in the one that is written"
    );
    assert_eq!(payload(&store, second, 1).as_deref(), Some("second"));
    drop(brake);
    durable(&store, ticket);
    assert_eq!(payload(&store, first, 1).as_deref(), Some("first"), "on disk");
}

#[test]
fn who_reads_a_message_that_was_announced_waits_until_it_is_there() {
    let (_plate, store, _told) = on_plate(options());
    durable(&store, store.submit(opened(1)));
    for position in 0..50 {
        let (mut submission, seq) = store.begin_message();
        let (started, starts) = mpsc::channel();
        let reader = {
            let store = store.clone();
            thread::spawn(move || {
                started.send(()).unwrap();
                payload(&store, seq, 1)
            })
        };
        starts.recv().unwrap();
        thread::yield_now();
        submission.message(MessageRecord {
            seq,
            message: &message("p"),
            recipients: vec![to(1, position)],
        });
        assert_eq!(submission.end(), store.latest());
        assert_eq!(reader.join().unwrap().as_deref(), Some("p"));
    }
    let (submission, seq) = store.begin_message();
    drop(submission);
    assert_eq!(
        payload(&store, seq, 1),
        None,
        "nobody waits for what was never said"
    );
}

#[test]
fn with_an_interval_nobody_waits() {
    let (_plate, store, told) = on_plate(Options {
        durability: Durability::Interval,
        commit_interval: Duration::from_millis(20),
        ..options()
    });
    let ticket = store.submit(opened(1));
    assert_eq!(store.poll_durable(ticket, Waker::noop()), Poll::Ready(Ok(())));
    next_commit(&told);
}

#[test]
fn a_store_that_cannot_keep_up_says_so() {
    let (plate, store, _told) = on_plate(Options {
        backlog_bytes_max: 10_000,
        ..options()
    });
    let brake = plate.brake();
    assert!(!store.is_congested());
    let mut ticket = store.submit(opened(1));
    for position in 0..100 {
        (_, ticket) = publish(&store, 1, position, &"p".repeat(200));
    }
    assert!(store.is_congested());
    drop(brake);
    durable(&store, ticket);
    assert!(!store.is_congested());
    assert_eq!(store.backlog_bytes(), 0);
}

#[test]
fn a_message_that_is_acknowledged_within_its_batch_is_not_written() {
    let (_plate, store, told) = on_plate(options());
    durable(&store, store.submit(opened(1)));
    next_commit(&told);
    let (seq, _) = publish(&store, 1, 0, "p");
    store.submit(sent(1, 0, seq, 1));
    let ticket = store.submit(Change::Acknowledged {
        session: 1,
        packet_id: 1,
    });
    durable(&store, ticket);
    assert_eq!(next_commit(&told).messages, 0);
    assert_eq!(payload(&store, seq, 1), None);
}

#[test]
fn many_threads_publish_at_once_and_lose_nothing() {
    const THREADS: u64 = 8;
    const EACH: u64 = 60;
    let (plate, store, told) = on_plate(options());
    thread::scope(|scope| {
        for session in 1..=THREADS {
            let store = &store;
            scope.spawn(move || {
                store.submit(opened(session));
                for position in 0..EACH {
                    let (_, ticket) = publish(store, session, position, &format!("{session} {position}"));
                    assert_eq!(block_on(store.wait(ticket)), Ok(()));
                }
            });
        }
    });
    store.close();
    let commits = told
        .try_iter()
        .filter(|told| matches!(told, Told::Committed(_)))
        .count() as u64;
    assert!(commits <= THREADS * EACH, "{commits}");
    plate.cut_power();
    plate.restore_power();
    let (store, recovered, _) = reopen(&plate, options());
    assert_eq!(recovered.sessions.len() as u64, THREADS);
    for session in &recovered.sessions {
        let number = session.record.number;
        assert_eq!(session.queue.len() as u64, EACH);
        for stored in &session.queue {
            let expected = format!("{number} {}", stored.position);
            assert_eq!(payload(&store, stored.seq, number), Some(expected));
        }
    }
}

//! A disk that fails, and one that was damaged.

use crate::scene::{Told, durable, message, next, on_plate, opened, options, payload, publish, reopen};
use sluice_store::care::CareError;
use sluice_store::testing::{Plate, Trouble, block_on, lose_root};
use sluice_store::{Change, Durability, Health, InDoubt, Options, ReadError, Store};
use std::ops::RangeInclusive;
use std::task::{Poll, Waker};

fn fail(plate: &Plate, more: u64) {
    plate.expect(Some(Trouble::FailedSync { after: 0, more }));
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_it_is_on_disk() {
    let (plate, store, told) = on_plate(options());
    durable(&store, store.submit(opened(1)));
    fail(&plate, 1_000_000);
    let (seq, ticket) = publish(&store, 1, 0, "p");
    assert_eq!(block_on(store.wait(ticket)), Err(InDoubt));
    assert!(matches!(next(&told), Told::Failing(_)));
    assert_eq!(store.health(), Health::Failing);
    let (_, later) = publish(&store, 1, 1, "later");
    assert_eq!(
        block_on(store.wait(later)),
        Err(InDoubt),
        "nor what comes meanwhile"
    );
    assert_eq!(block_on(store.wait(ticket)), Err(InDoubt));
    assert_eq!(
        payload(&store, seq, 1).as_deref(),
        Some("p"),
        "it can be delivered"
    );

    plate.expect(None);
    assert_eq!(next(&told), Told::Recovered);
    assert_eq!(store.health(), Health::Open);
    durable(&store, ticket);
    durable(&store, later);
    plate.cut_power();
    plate.restore_power();
    let (_store, recovered, _) = reopen(&plate, options());
    assert_eq!(recovered.sessions[0].queue.len(), 2);
}

#[test]
fn a_failure_is_told_once_however_long_it_lasts() {
    let (plate, store, told) = on_plate(options());
    fail(&plate, 20);
    let ticket = store.submit(opened(1));
    assert_eq!(block_on(store.wait(ticket)), Err(InDoubt));
    assert!(matches!(next(&told), Told::Failing(_)));
    assert_eq!(next(&told), Told::Recovered, "and no second failure between");
}

#[test]
fn all_that_wait_are_told_that_nobody_knows() {
    let (plate, store, _told) = on_plate(options());
    let brake = plate.brake();
    let ticket = store.submit(opened(1));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || block_on(store.wait(ticket)))
        })
        .collect();
    fail(&plate, 1_000_000);
    drop(brake);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Err(InDoubt));
    }
}

#[test]
fn what_is_much_while_the_disk_fails_joins_what_is_to_be_written() {
    let (plate, store, told) = on_plate(Options {
        commit_bytes: 1_000,
        ..options()
    });
    durable(&store, store.submit(opened(1)));
    fail(&plate, 1_000_000);
    let (_, first) = publish(&store, 1, 0, "first");
    assert_eq!(block_on(store.wait(first)), Err(InDoubt));
    let mut last = first;
    let mut position = 1;
    // Batches are closed meanwhile, as their tickets show.
    while last.max(first) == first || position < 50 {
        (_, last) = publish(&store, 1, position, &"p".repeat(100));
        position += 1;
    }
    plate.expect(None);
    assert!(matches!(next(&told), Told::Failing(_)));
    assert_eq!(next(&told), Told::Recovered);
    durable(&store, last);
    store.close();
    let (_store, recovered, _) = reopen(&plate, options());
    assert_eq!(recovered.sessions[0].queue.len() as u64, position);
}

#[test]
fn closing_a_store_whose_disk_fails_ends_and_leaves_what_is_on_disk() {
    let (plate, store, _told) = on_plate(options());
    durable(&store, store.submit(opened(1)));
    fail(&plate, 1_000_000);
    let ticket = store.submit(Change::Retained(message("kept")));
    assert_eq!(block_on(store.wait(ticket)), Err(InDoubt));
    store.close();
    assert_eq!(block_on(store.wait(ticket)), Err(InDoubt));
    plate.expect(None);
    plate.cut_power();
    plate.restore_power();
    let (_store, recovered, _) = reopen(&plate, options());
    assert_eq!(recovered.sessions.len(), 1);
}

#[test]
fn a_store_that_lost_a_table_while_its_disk_failed_is_not_written_to() {
    let (plate, store, _told) = on_plate(options());
    durable(&store, store.submit(opened(1)));
    fail(&plate, 1_000_000);
    let ticket = store.submit(Change::Retained(message("kept")));
    assert_eq!(block_on(store.wait(ticket)), Err(InDoubt));
    plate.alter(|image| assert!(lose_root(image, "facts") > 0));
    plate.expect(None);
    // It tries once more before it ends.
    store.close();
    assert_eq!(block_on(store.wait(ticket)), Err(InDoubt));
}

#[test]
fn a_store_whose_disk_fails_is_not_copied() {
    let (plate, store, _told) = on_plate(options());
    fail(&plate, 1_000_000);
    store.submit(opened(1));
    let dir = tempfile::tempdir().unwrap();
    let error = store.backup(&dir.path().join("copy")).unwrap_err();
    assert!(matches!(error, CareError::InDoubt), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn with_an_interval_a_failure_puts_all_in_doubt_as_well() {
    let (plate, store, told) = on_plate(Options {
        durability: Durability::Interval,
        commit_interval: std::time::Duration::from_millis(1),
        ..options()
    });
    fail(&plate, 1_000_000);
    let ticket = store.submit(opened(1));
    assert!(matches!(next(&told), Told::Failing(_)));
    assert_eq!(
        store.poll_durable(ticket, Waker::noop()),
        Poll::Ready(Err(InDoubt))
    );
    plate.expect(None);
    assert_eq!(next(&told), Told::Recovered);
    assert_eq!(store.poll_durable(ticket, Waker::noop()), Poll::Ready(Ok(())));
}

#[test]
fn a_message_that_is_damaged_is_never_delivered_and_the_others_are() {
    let (plate, store, _told) = on_plate(options());
    store.submit(opened(1));
    let (damaged, _) = publish(&store, 1, 0, "this one is to be damaged");
    let (sound, ticket) = publish(&store, 1, 1, "this one is sound");
    durable(&store, ticket);
    store.close();
    let mut image = plate.image();
    let mark = b"to be damaged";
    let at = image.windows(mark.len()).position(|window| window == mark);
    // It may stand there more than once: pages are copied when they are changed.
    let mut next_at = at;
    while let Some(at) = next_at {
        image[at] ^= 1;
        next_at = image.windows(mark.len()).position(|window| window == mark);
    }
    assert!(at.is_some());
    let (store, recovered, told) = reopen(&Plate::with_image(1, image), options());
    assert_eq!(recovered.sessions[0].queue.len(), 2);
    let error = store.read(damaged, 1).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
    assert_eq!(next(&told), Told::Unreadable(damaged));
    assert_eq!(payload(&store, sound, 1).as_deref(), Some("this one is sound"));
    durable(&store, skip(&store, damaged));
}

/// Changes pages of redb that lead to a few others by the numbers of messages: what they are, then how many keys they
/// have, at 2, and the keys, behind 24 bytes for each page that they lead to.
fn mislead(page: &mut [u8], messages: &RangeInclusive<u64>) -> bool {
    let keys = usize::from(u16::from_le_bytes([page[2], page[3]]));
    if page[0] != 2 || !(1..8).contains(&keys) {
        return false;
    }
    let key = &mut page[8 + 24 * (keys + 1)..][..8];
    let leads = messages.contains(&u64::from_le_bytes(key.try_into().unwrap()));
    if leads {
        // A message beside the border is looked for on the wrong side.
        key[0] ^= 1;
    }
    leads
}

#[test]
fn a_message_that_a_search_does_not_find_is_damaged_and_not_gone() {
    let (plate, store, _told) = on_plate(options());
    store.submit(opened(1));
    // Many pages of messages, and few of what is known of their recipients.
    let (first, _) = publish(&store, 1, 0, "first");
    for position in 1..399 {
        publish(&store, 1, position, &"p".repeat(900));
    }
    let (last, ticket) = publish(&store, 1, 399, "last");
    durable(&store, ticket);
    store.close();
    plate.alter(|image| {
        let pages = image.chunks_exact_mut(4096);
        let misled = pages.filter_map(|page| mislead(page, &(first..=last)).then_some(()));
        assert!(misled.count() > 0);
    });
    let (store, recovered, told) = reopen(&plate, options());
    let queue = &recovered.sessions[0].queue;
    assert_eq!(queue.len(), 400, "all of them are there");
    let mut damaged = 0;
    for stored in queue {
        match store.read_at(stored.seq, 1, stored.position) {
            Ok(found) => assert!(found.is_some(), "{stored:?}"),
            Err(ReadError::Corrupt(_)) => {
                damaged += 1;
                assert_eq!(next(&told), Told::Unreadable(stored.seq));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(damaged > 0);
}

/// What the broker does about a message that it cannot deliver.
fn skip(store: &Store, seq: u64) -> sluice_store::Ticket {
    store.submit(Change::Skipped {
        session: 1,
        position: 0,
        seq,
    })
}

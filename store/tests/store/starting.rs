//! How a store comes up, and what it has then.

use crate::scene::{durable, message, opened, options, payload, publish, record, sent};
use sluice_mqtt::message::{Message, MessageParts};
use sluice_mqtt::packet::QoS;
use sluice_store::care;
use sluice_store::testing::{block_on, lose_root};
use sluice_store::{
    Awaits, Change, InDoubt, OpenError, Options, Phase, Recovered, SessionRecord, Store, Ticket, Unobserved,
    WillRecord,
};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

fn open(dir: &Path) -> (Store, Recovered) {
    try_open(dir).unwrap()
}

fn try_open(dir: &Path) -> Result<(Store, Recovered), OpenError> {
    let options = Options {
        data_dir: dir.to_owned(),
        ..options()
    };
    Store::open(options, Arc::new(Unobserved))
}

/// A session without a connection, whose will is due.
fn with_will(number: u64) -> SessionRecord {
    let mut told = record(number);
    let due_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
    told.phase = Phase::Offline {
        expires_at: Some(due_at),
    };
    told.will = Some(WillRecord {
        topic: "w".to_owned(),
        payload: vec![0, 255],
        qos: 2,
        retain: true,
        delay_seconds: 7,
        expiry_seconds: Some(9),
        forwarded: vec![1, 0],
        due_at: Some(due_at),
    });
    told
}

#[test]
fn a_store_gives_back_what_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovered) = open(dir.path());
    let session = recovered.first_number;
    let told = with_will(session);
    store.submit(Change::SessionOpened(Box::new(told.clone())));
    store.submit(Change::Subscribed {
        session,
        filter: "$share/g/a/+".to_owned(),
        options: 0x25,
        id: 268_435_455,
    });
    let (first, _) = publish(&store, session, 0, "first");
    let (second, _) = publish(&store, session, 1, "second");
    let (third, _) = publish(&store, session, 5, "third");
    store.submit(sent(session, 0, first, 65_535));
    store.submit(Change::InboundReceived {
        session,
        packet_id: 3,
    });
    store.submit(Change::Retained(message("kept")));
    let ticket = store.submit(Change::Fact {
        kind: 2,
        key: vec![0],
        value: Some(vec![]),
    });
    durable(&store, ticket);
    drop(store);

    let (store, recovered) = open(dir.path());
    assert_eq!(recovered.sessions.len(), 1);
    let found = &recovered.sessions[0];
    assert_eq!(found.record, told);
    assert_eq!(
        found.subscriptions,
        [("$share/g/a/+".to_owned(), 0x25, 268_435_455)]
    );
    let queue: Vec<_> = found
        .queue
        .iter()
        .map(|stored| (stored.seq, stored.position))
        .collect();
    assert_eq!(queue, [(second, 1), (third, 5)]);
    assert_eq!(found.queue[0].bytes as usize, message("second").wire_bytes());
    assert_eq!((found.inflight.len(), found.inflight[0].packet_id), (1, 65_535));
    assert_eq!(found.inflight[0].awaits, Awaits::Ack);
    assert_eq!(found.inflight[0].stored.unwrap().seq, first);
    assert_eq!((found.received.as_slice(), found.next_position), (&[3][..], 6));
    assert_eq!(recovered.retained[0].payload(), b"kept");
    assert_eq!(recovered.facts, [(2, vec![0], vec![])]);
    assert_eq!(payload(&store, first, session).as_deref(), Some("first"));
    assert_eq!(payload(&store, third, session).as_deref(), Some("third"));
    let read = store.read_at(third, session, 5).unwrap().unwrap();
    assert_eq!(
        (read.qos, read.retain, read.subscription_ids),
        (1, false, vec![4])
    );
    assert!(store.read_at(third, session, 4).unwrap().is_none());
    assert!(store.read(third, session + 1).unwrap().is_none());
    assert!(store.read(third + 1, session).unwrap().is_none());
}

#[test]
fn what_was_undone_is_not_there_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovered) = open(dir.path());
    let (ends, stays) = (recovered.first_number, recovered.first_number + 1);
    store.submit(opened(ends));
    store.submit(opened(stays));
    for (session, filter) in [(ends, "a"), (ends, "b"), (stays, "a"), (stays, "b")] {
        store.submit(Change::Subscribed {
            session,
            filter: filter.to_owned(),
            options: 1,
            id: 0,
        });
    }
    let fact = |value| Change::Fact {
        kind: 1,
        key: vec![9],
        value,
    };
    store.submit(fact(Some(vec![1])));
    durable(&store, store.submit(Change::Retained(message("kept"))));
    store.submit(fact(None));
    store.submit(Change::RetainedCleared("a/b".to_owned()));
    store.submit(Change::SessionEnded { session: ends });
    let filter = "a".to_owned();
    let ticket = store.submit(Change::Unsubscribed {
        session: stays,
        filter,
    });
    durable(&store, ticket);
    store.close();
    let report = care::check(dir.path()).unwrap();
    assert!(report.is_sound(), "no row of it is left: {report:?}");
    let (_store, recovered) = open(dir.path());
    assert!(recovered.facts.is_empty() && recovered.retained.is_empty());
    assert_eq!(recovered.sessions.len(), 1);
    assert_eq!(recovered.sessions[0].record.number, stays);
    assert_eq!(recovered.sessions[0].subscriptions, [("b".to_owned(), 1, 0)]);
}

#[test]
fn expiry_goes_on_while_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let retained = |topic: &str, expires_at| {
        Change::Retained(Message::new(MessageParts {
            mountpoint: "",
            topic,
            payload: b"p",
            forwarded: b"",
            qos: QoS::AtMostOnce,
            retain: true,
            publisher: 0,
            expires_at,
        }))
    };
    let now = Instant::now();
    store.submit(retained("gone", Some(now)));
    store.submit(retained("later", Some(now + Duration::from_secs(3_600))));
    durable(&store, store.submit(retained("never", None)));
    store.close();
    let (_store, recovered) = open(dir.path());
    let found: Vec<_> = recovered.retained.iter().map(|message| message.topic()).collect();
    assert_eq!(found, ["gone", "later", "never"]);
    assert!(recovered.retained[0].is_expired(Instant::now()));
    let expires_at = recovered.retained[1].expires_at().unwrap();
    assert!(expires_at > now + Duration::from_secs(3_000) && expires_at < now + Duration::from_secs(3_700));
    assert_eq!(recovered.retained[2].expires_at(), None);
}

#[test]
fn numbers_rise_over_all_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut number, mut seq) = (0, 0);
    for _ in 0..3 {
        let (store, recovered) = open(dir.path());
        assert!(recovered.first_number > number);
        number = recovered.first_number + 1_000_000;
        for _ in 0..10 {
            let next = store.next_seq();
            assert!(next > seq);
            seq = next;
        }
    }
}

#[test]
fn everything_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("new").join("data");
    let (_store, _) = open(&data_dir);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&data_dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["lock", "store.redb"]);
}

#[test]
fn a_directory_is_used_by_one_process_and_says_by_which() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let error = try_open(dir.path()).unwrap_err();
    let expected = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    store.close();
    let (_store, _) = open(dir.path());
    assert!(try_open(dir.path()).is_err());
}

#[test]
fn the_last_handle_that_is_dropped_writes_all_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.submit(Change::Retained(message("kept")));
    let other = store.clone();
    drop(store);
    assert!(try_open(dir.path()).is_err());
    let submission = other.begin();
    drop(other);
    drop(submission);
    let (_store, recovered) = open(dir.path());
    assert_eq!(recovered.retained.len(), 1);
}

#[test]
fn what_comes_after_the_close_is_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let before = store.submit(Change::Retained(message("kept")));
    store.close();
    let after = store.submit(Change::RetainedCleared("a/b".to_owned()));
    assert_eq!(block_on(store.wait(before)), Ok(()));
    assert_eq!(block_on(store.wait(after)), Err(InDoubt));
    assert_eq!(block_on(store.wait(Ticket::NONE)), Ok(()));
    store.close();
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    std::fs::write(&path, "not a store\n").unwrap();
    let error = try_open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("`sluice store check`"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a store\n");
}

#[test]
fn a_store_that_was_half_made_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("store.redb.new"), "half").unwrap();
    let (_store, recovered) = open(dir.path());
    assert!(recovered.sessions.is_empty());
    assert!(!dir.path().join("store.redb.new").exists());
}

#[test]
fn what_was_left_unfinished_beside_a_store_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.close();
    let unfinished = dir.path().join("store.redb.new");
    std::fs::write(&unfinished, "half").unwrap();
    let (_store, _) = open(dir.path());
    assert!(!unfinished.exists());
}

#[test]
fn a_store_opens_after_a_start_that_ended_in_the_middle_and_after_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    durable(&store, store.submit(Change::Retained(message("kept"))));
    store.close();
    for stage in ["opening", "failing"] {
        std::fs::write(dir.path().join("lock"), format!("{:<10} {stage:<8}\n", 1)).unwrap();
        let (store, recovered) = open(dir.path());
        assert_eq!(recovered.retained.len(), 1);
        let lock = std::fs::read_to_string(dir.path().join("lock")).unwrap();
        assert_eq!(lock.split_whitespace().nth(1), Some("using"), "{lock}");
        store.close();
    }
}

#[test]
fn a_memory_store_keeps_nothing_and_makes_nobody_wait() {
    let store = Store::memory();
    assert!(!store.is_durable());
    assert!(store.submit(opened(1)).is_none());
    let (seq, ticket) = publish(&store, 1, 0, "p");
    assert_eq!(ticket, Ticket::NONE);
    assert!(store.next_seq() > seq);
    assert!(store.read(seq, 1).unwrap().is_none());
    assert_eq!(block_on(store.wait(ticket)), Ok(()));
    store.close();
}

/// Each was made by a version that wrote this format, as `a_store_gives_back_what_it_was_told` makes one, and never
/// again: what it was told then it has to give back for ever.
const FORMATS: [&[u8]; 2] = [
    include_bytes!("../formats/1.redb"),
    include_bytes!("../formats/2.redb"),
];

#[test]
fn a_store_of_any_format_gives_back_what_it_was_told() {
    for image in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("store.redb"), image).unwrap();
        assert!(care::check(dir.path()).unwrap().is_sound());
        // As it is, and as a copy is put back; then once more, when it is of this version's format.
        let copy = dir.path().join("copy");
        std::fs::write(&copy, image).unwrap();
        let restored = dir.path().join("restored");
        care::restore(&copy, &restored).unwrap();
        for dir in [dir.path(), dir.path(), &restored] {
            has_what_it_was_told(dir);
            assert!(care::check(dir).unwrap().is_sound());
        }
    }
}

fn has_what_it_was_told(dir: &Path) {
    let (store, recovered) = open(dir);
    let found = &recovered.sessions[0];
    let session = found.record.number;
    assert_eq!(found.record, with_will(session));
    assert_eq!(
        found.subscriptions,
        [("$share/g/a/+".to_owned(), 0x25, 268_435_455)]
    );
    let queue: Vec<_> = found.queue.iter().map(|stored| stored.position).collect();
    assert_eq!(queue, [1, 5]);
    assert_eq!((found.inflight.len(), found.inflight[0].packet_id), (1, 65_535));
    assert_eq!((found.received.as_slice(), found.next_position), (&[3][..], 6));
    assert_eq!(recovered.retained[0].payload(), b"kept");
    assert_eq!(recovered.facts, [(2, vec![0], vec![])]);
    let third = found.queue[1].seq;
    assert_eq!(payload(&store, third, session).as_deref(), Some("third"));
    store.close();
}

#[test]
fn a_store_from_before_there_were_witnesses_is_checked_before_it_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut image = FORMATS[0].to_vec();
    assert!(lose_root(&mut image, "facts") > 0);
    std::fs::write(dir.path().join("store.redb"), image).unwrap();
    let error = try_open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt(_)), "{error}");
}

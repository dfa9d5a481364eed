//! Bans over time.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const START: SystemTime = SystemTime::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    START + Duration::from_secs(seconds)
}

fn ban(subject: Subject, until: Option<u64>) -> Ban {
    Ban {
        subject,
        reason: "it floods".to_owned(),
        by: BannedBy::Operator,
        since: START,
        until: until.map(at),
    }
}

/// The same, not said by the operator.
fn unasked(by: BannedBy, subject: Subject, until: u64) -> Ban {
    Ban {
        by,
        ..ban(subject, Some(until))
    }
}

fn policy(name: &str) -> BannedBy {
    BannedBy::Policy(name.into())
}

fn client(id: &str) -> Subject {
    Subject::Client(id.to_owned())
}

fn user(name: &str) -> Subject {
    Subject::User(name.to_owned())
}

fn address(network: &str) -> Subject {
    Subject::Address(network.parse().expect("a network"))
}

fn caller(username: &str, from: &str) -> Caller {
    Caller {
        username: Some(username.into()),
        principal: None,
        address: Some(from.parse().expect("an address")),
    }
}

fn bans(all: impl IntoIterator<Item = Ban>) -> Bans {
    let mut bans = Bans::default();
    for ban in all {
        bans.insert(ban, START).expect("room");
    }
    bans
}

#[test]
fn a_client_is_kept_out_by_its_id_its_names_or_its_address() {
    let subjects = [
        client("c"),
        user("u"),
        user("p"),
        address("192.0.2.0/24"),
        address("2001:db8::1"),
    ];
    let others = caller("other", "198.51.100.1");
    for subject in subjects {
        let bans = bans([ban(subject.clone(), None)]);
        let banned = |id: &str, caller: &Caller| {
            let found = bans.find(id, caller, START).is_some();
            assert_eq!(found, subject.concerns(id, caller), "{subject}");
            found
        };
        assert!(!banned("d", &others));
        let principal = Caller {
            principal: Some("p".into()),
            ..others.clone()
        };
        let hits = [
            banned("c", &others),
            banned("d", &caller("u", "198.51.100.1")),
            banned("d", &principal),
            banned("d", &caller("other", "::ffff:192.0.2.77")),
            banned("d", &caller("other", "2001:db8::1")),
        ];
        assert_eq!(hits.iter().filter(|hit| **hit).count(), 1, "{subject}: {hits:?}");
    }
}

#[test]
fn a_ban_says_why() {
    let mut bans = bans([ban(client("c"), None)]);
    let why = |bans: &Bans| bans.find("c", &Caller::default(), START);
    assert_eq!(why(&bans).as_deref(), Some("banned by the operator: it floods"));
    let silent = Ban {
        reason: String::new(),
        ..ban(client("c"), None)
    };
    bans.insert(silent, START).expect("room");
    assert_eq!(why(&bans).as_deref(), Some("banned by the operator"));
    for by in [BannedBy::Broker, policy("gate")] {
        bans.remove(&client("c"), START);
        let unasked = unasked(by, client("c"), 10);
        bans.insert(unasked.clone(), START).expect("room");
        assert_eq!(why(&bans).as_deref(), Some("banned for a while: it floods"));
        assert_eq!(bans.list(START), [unasked]);
    }
}

#[test]
fn nobody_but_the_operator_shortens_or_replaces_what_was_said() {
    let operators = |until| ban(client("c"), until);
    let gates = |until| unasked(policy("gate"), client("c"), until);
    let others = |until| unasked(policy("other"), client("c"), until);
    let automatic = |until| unasked(BannedBy::Broker, client("c"), until);
    let cases = [
        // The operator's stays, however short, and is the last word.
        (operators(Some(5)), gates(9), Placed::Kept),
        (operators(None), automatic(9), Placed::Kept),
        (gates(9), operators(Some(5)), Placed::Begun),
        // Among others the longer one.
        (gates(9), gates(8), Placed::Kept),
        (gates(9), gates(9), Placed::Kept),
        (gates(9), others(8), Placed::Kept),
        (gates(9), others(10), Placed::Begun),
        (automatic(9), gates(8), Placed::Kept),
        (automatic(9), gates(10), Placed::Begun),
        (gates(9), automatic(10), Placed::Begun),
    ];
    for (first, second, placed) in cases {
        let mut bans = bans([first.clone()]);
        bans.take_changes();
        assert_eq!(
            bans.insert(second.clone(), at(1)),
            Ok(placed),
            "{first:?}, {second:?}"
        );
        let (left, told) = match placed {
            Placed::Begun => (second.clone(), vec![BanChange::Begun(second)]),
            Placed::Kept => (first, Vec::new()),
        };
        assert_eq!(bans.list(at(1)), [left]);
        assert_eq!(bans.take_changes(), told);
    }
    // What has ended is in nobody's way.
    let mut bans = bans([operators(Some(5))]);
    assert_eq!(bans.insert(gates(9), at(5)), Ok(Placed::Begun));
}

#[test]
fn bans_of_one_policy_are_bounded_and_those_that_are_gone_make_room() {
    let gate = policy("gate");
    let of_gate = |n: usize, until| unasked(gate.clone(), client(&n.to_string()), until);
    let mut bans = Bans::default();
    let mut place = |ban: Ban, now| bans.insert_unasked(ban, at(now));
    for n in 0..POLICY_BANS_MAX {
        assert_eq!(
            place(of_gate(n, if n == 0 { 5 } else { 9 }), 0),
            Ok(Placed::Begun)
        );
    }
    let full = Err(BanError::TooManyOfPolicy);
    assert_eq!(place(of_gate(POLICY_BANS_MAX, 9), 4), full);
    assert_eq!(
        place(of_gate(1, 10), 4),
        Ok(Placed::Begun),
        "it is banned for longer"
    );
    let other = unasked(policy("other"), client("x"), 9);
    assert_eq!(place(other, 4), Ok(Placed::Begun), "another policy has its own");
    assert_eq!(
        place(unasked(BannedBy::Broker, client("y"), 9), 4),
        Ok(Placed::Begun)
    );
    // One has ended; then one is taken back; then the operator says something else about one.
    assert_eq!(place(of_gate(POLICY_BANS_MAX, 9), 5), Ok(Placed::Begun));
    assert_eq!(place(of_gate(POLICY_BANS_MAX + 1, 9), 5), full);
    assert!(bans.remove(&client("2"), at(5)));
    let mut place = |ban: Ban, now| bans.insert_unasked(ban, at(now));
    assert_eq!(place(of_gate(POLICY_BANS_MAX + 1, 9), 5), Ok(Placed::Begun));
    assert_eq!(place(of_gate(POLICY_BANS_MAX + 2, 9), 5), full);
    bans.insert(ban(client("3"), None), at(5)).expect("room");
    let mut place = |ban: Ban, now| bans.insert_unasked(ban, at(now));
    assert_eq!(place(of_gate(POLICY_BANS_MAX + 2, 9), 5), Ok(Placed::Begun));
    bans.expire(at(10));
    assert_eq!(bans.list(at(5)).len(), 1);
    assert!(bans.of_policies.is_empty(), "{:?}", bans.of_policies);
}

#[test]
fn half_of_the_list_is_the_operators() {
    let broker = |n: usize, until| unasked(BannedBy::Broker, client(&n.to_string()), until);
    let mut bans = Bans::default();
    for n in 0..AUTOMATIC_BANS_MAX {
        bans.insert_unasked(broker(n, if n == 0 { 5 } else { 9 }), START)
            .expect("room");
    }
    let gates = unasked(policy("gate"), client("new"), 9);
    assert_eq!(bans.insert_unasked(gates.clone(), at(4)), Err(BanError::TooMany));
    assert_eq!(
        bans.insert(ban(client("operator's"), Some(5)), at(4)),
        Ok(Placed::Begun)
    );
    assert_eq!(
        bans.insert_unasked(gates, at(5)),
        Ok(Placed::Begun),
        "two have ended"
    );
}

#[test]
fn a_ban_ends_by_itself_and_a_longer_one_beside_it_does_not() {
    let mut bans = bans([
        ban(address("10.0.0.0/8"), Some(10)),
        ban(address("10.1.0.0/16"), Some(20)),
        ban(client("c"), Some(10)),
    ]);
    let from = caller("u", "10.1.2.3");
    assert!(bans.find("c", &from, at(9)).is_some());
    assert!(bans.find("c", &caller("u", "10.2.0.1"), at(10)).is_none());
    assert!(bans.find("c", &from, at(19)).is_some());
    assert_eq!(bans.list(at(19)).len(), 1);
    bans.expire(at(19));
    assert_eq!((bans.len(), bans.lengths.len()), (1, 1));
    assert!(bans.find("c", &from, at(19)).is_some());
    assert!(!bans.remove(&address("10.1.0.0/16"), at(20)), "it has ended");
    assert!(bans.is_empty() && bans.lengths.is_empty());
}

#[test]
fn a_ban_can_be_taken_back() {
    let subjects = [client("c"), user("u"), address("10.0.0.0/8")];
    let mut bans = bans(subjects.clone().map(|subject| ban(subject, None)));
    for subject in &subjects {
        assert!(bans.remove(subject, START));
        assert!(!bans.remove(subject, START));
    }
    assert!(bans.is_empty() && bans.lengths.is_empty());
    assert!(bans.find("c", &caller("u", "10.0.0.1"), START).is_none());
}

#[test]
fn their_number_is_bounded_and_those_that_have_ended_make_room() {
    let mut bans = bans((0..BANS_MAX).map(|n| ban(client(&n.to_string()), Some(if n == 0 { 1 } else { 9 }))));
    assert_eq!(
        bans.insert(ban(client("one more"), None), START),
        Err(BanError::TooMany)
    );
    assert_eq!(
        bans.insert(ban(client("7"), None), START),
        Ok(Placed::Begun),
        "it was banned before"
    );
    assert_eq!(
        bans.insert(ban(client("one more"), None), at(1)),
        Ok(Placed::Begun)
    );
    assert_eq!(bans.len(), BANS_MAX);
}

#[test]
fn a_ban_of_nobody_is_none() {
    let mut bans = Bans::default();
    assert_eq!(bans.insert(ban(client(""), None), START), Err(BanError::Empty));
    assert_eq!(
        bans.insert(ban(client("c"), Some(5)), at(5)),
        Err(BanError::Empty)
    );
    let wordy = Ban {
        reason: "x".repeat(REASON_BYTES_MAX + 1),
        ..ban(client("c"), None)
    };
    assert_eq!(bans.insert(wordy, START), Err(BanError::ReasonTooLong));
    assert!(bans.is_empty());
}

#[test]
fn bans_can_be_written_down_and_read_again() {
    let before = bans([
        ban(client("c"), Some(5)),
        ban(user("u"), None),
        unasked(policy("gate"), address("10.0.0.0/8"), 5),
    ]);
    let listed = before.list(START);
    let text = serde_json::to_string(&listed).expect("JSON");
    let read: Vec<Ban> = serde_json::from_str(&text).expect("bans");
    assert_eq!(read, listed);
    assert_eq!(bans(read).list(START), listed);
}

#[test]
fn every_change_is_told_once_and_in_order() {
    let mut bans = Bans::default();
    let first = ban(client("c"), Some(5));
    let other = ban(client("c"), Some(6));
    let net = ban(address("10.0.0.0/8"), Some(5));
    for ban in [&first, &other, &net] {
        bans.insert(ban.clone(), START).expect("room");
    }
    let begun = [first, other, net].map(BanChange::Begun);
    assert_eq!(bans.take_changes(), begun);
    bans.remove(&user("nobody"), START);
    assert_eq!(bans.insert(ban(client(""), None), START), Err(BanError::Empty));
    assert_eq!(bans.take_changes(), []);
    bans.expire(at(5));
    assert_eq!(bans.take_changes(), [BanChange::Ended(address("10.0.0.0/8"))]);
    // It has ended by itself; that nobody had noticed yet makes no difference to whoever keeps it.
    assert!(!bans.remove(&client("c"), at(6)));
    assert_eq!(bans.take_changes(), [BanChange::Ended(client("c"))]);
}

#[test]
fn those_that_make_room_at_the_limit_are_told_to_have_ended() {
    let mut bans = bans((0..BANS_MAX).map(|n| ban(client(&n.to_string()), Some(if n == 0 { 1 } else { 9 }))));
    bans.take_changes();
    let new = ban(client("new"), None);
    bans.insert(new.clone(), at(1)).expect("room");
    assert_eq!(
        bans.take_changes(),
        [BanChange::Ended(client("0")), BanChange::Begun(new)]
    );
}

fn any_author() -> impl Strategy<Value = BannedBy> {
    prop_oneof![
        Just(BannedBy::Operator),
        Just(BannedBy::Broker),
        "\\PC{0,20}".prop_map(|name| BannedBy::Policy(name.into())),
    ]
}

fn any_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        "\\PC{1,20}".prop_map(Subject::Client),
        "\\PC{1,20}".prop_map(Subject::User),
        (any::<IpAddr>(), any::<u8>())
            .prop_map(|(address, prefix)| Subject::Address(Network::around(address, prefix))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_ban_is_read_as_it_was_written(
        subject in any_subject(),
        reason in "\\PC{0,30}",
        since in 0..u64::MAX / 2,
        until in proptest::option::of(0..u64::MAX / 2),
        by in any_author(),
    ) {
        let time = |milliseconds| START + Duration::from_millis(milliseconds);
        let ban = Ban { subject, reason, by, since: time(since), until: until.map(time) };
        let (key, value) = to_fact(&ban);
        prop_assert_eq!(&fact::key(&ban.subject), &key);
        prop_assert_eq!(from_fact(&key, &value), Ok(ban));
        for len in 0..value.len() {
            prop_assert!(from_fact(&key, &value[..len]).is_err());
        }
        for len in 0..key.len() {
            prop_assert!(from_fact(&key[..len], &value).is_err());
        }
        prop_assert!(from_fact(&[&key[..], b"x"].concat(), &value).is_err());
    }

    #[test]
    fn bytes_that_are_no_ban_are_an_error_or_a_ban(key: Vec<u8>, mut value: Vec<u8>, format in 1..=3_u8) {
        value.insert(0, format);
        let _ = from_fact(&key, &value);
    }
}

#[test]
fn the_written_form_is_the_one_that_has_this_number() {
    let (key, value) = to_fact(&ban(address("10.0.0.0/8"), Some(1)));
    assert_eq!(key, b"\x02\x0a10.0.0.0/8");
    assert_eq!(value, b"\x02\x09it floods\x00\x01\xe8\x07\x00");
    let (_, value) = to_fact(&unasked(BannedBy::Broker, client("c"), 1));
    assert_eq!(value, b"\x02\x09it floods\x00\x01\xe8\x07\x01");
    let (_, value) = to_fact(&unasked(policy("gate"), client("c"), 1));
    assert_eq!(value, b"\x03\x09it floods\x00\x01\xe8\x07\x02\x04gate");
    assert_eq!(fact::key(&client("c")), b"\x00\x01c");
    assert_eq!(fact::key(&user("u")), b"\x01\x01u");
    assert_eq!(from_fact(&key, b"\x04"), Err(BadBan::Format(4)));
    assert_eq!(from_fact(&key, b""), Err(BadBan::Damaged));
}

#[test]
fn the_forms_before_are_still_read() {
    let operators = ban(address("10.0.0.0/8"), Some(1));
    let (key, _) = to_fact(&operators);
    let value = b"\x01\x09it floods\x00\x01\xe8\x07";
    assert_eq!(from_fact(&key, value), Ok(operators.clone()));
    let with = |format: u8, by: &[u8]| [&[format], &value[1..], by].concat();
    assert_eq!(from_fact(&key, &with(1, b"\x00")), Err(BadBan::Damaged));
    assert_eq!(from_fact(&key, &with(2, b"\x00")), Ok(operators.clone()));
    let automatic = Ban {
        by: BannedBy::Broker,
        ..operators
    };
    assert_eq!(from_fact(&key, &with(2, b"\x01")), Ok(automatic.clone()));
    assert_eq!(from_fact(&key, &with(3, b"\x01")), Ok(automatic));
    for (format, by) in [
        (2, &b"\x02\x04gate"[..]),
        (2, b"\x02"),
        (2, b""),
        (3, b""),
        (3, b"\x03"),
    ] {
        assert_eq!(
            from_fact(&key, &with(format, by)),
            Err(BadBan::Damaged),
            "{format}"
        );
    }
}

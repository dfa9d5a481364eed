//! Sessions before a restart and after it.

use super::*;
use crate::policy::gate::Seat;
use crate::policy::gate::tests::Silent;
use crate::policy::terms::combine;
use crate::policy::verdict::{
    Admission, Budget, Certificate, Grant, GrantAction, GrantVerdict, OverLimitAction, PublishVerdict, Rate,
    RefreshCause, RefreshVerdict, SubscribeVerdict, TlsPeer,
};
use crate::policy::{Policies, PoliciesConfig, PolicyObserver, PolicySource, PolicySpec};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const NAMES: [&str; 2] = ["first", "second"];
const SESSION: u64 = 77;

fn start(observer: Arc<dyn PolicyObserver>, names: &[&str]) -> Policies {
    let config = PoliciesConfig {
        policies: names
            .iter()
            .map(|name| PolicySpec::new(*name, PolicySource::Embedded))
            .collect(),
        default_chain: names.iter().map(ToString::to_string).collect(),
        ..PoliciesConfig::default()
    };
    Policies::start(config, observer).unwrap()
}

/// Before and after the restart.
static BROKERS: LazyLock<[Policies; 2]> =
    LazyLock::new(|| [start(Arc::new(Silent), &NAMES), start(Arc::new(Silent), &NAMES)]);

fn subject(client_id: &str) -> Subject {
    Subject {
        session: 7,
        client_id: client_id.into(),
        username: None,
        peer: Arc::default(),
    }
}

/// The gate of a client that each policy of the chain admits, or not, on these terms.
fn gate(policies: &Policies, subject: Subject, admissions: &[Option<Admission>]) -> Gate {
    let (host, set) = (&policies.host, policies.host.current.load_full());
    let mut seats = Vec::new();
    for (index, admission) in admissions.iter().enumerate() {
        let mut seat = Seat::new(&set, index).unwrap();
        seat.judged_by = set.policies[index].id;
        let compile = |admission: &Admission| {
            Terms::compile(admission.clone(), &subject, &host.shared)
                .unwrap()
                .0
        };
        seat.terms = admission.as_ref().map(compile);
        seats.push(seat);
    }
    let combined = combine(seats.iter().filter_map(|seat| seat.terms.as_ref()), &host.shared).unwrap();
    Gate::new(Arc::clone(host), &set, Arc::new(subject), seats, combined)
}

/// Judges again, as if each policy had been asked and had said "keep".
fn keep(gate: &mut Gate) -> RefreshVerdict {
    let set = gate.host.current.load_full();
    for seat in &mut gate.sitting.seats {
        seat.judged_by = set.policies[seat.index()].id;
    }
    gate.refresh(RefreshCause::Swap)
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[abc]",
        1 => Just("+".to_owned()),
        1 => Just("%c".to_owned()),
        1 => Just("x%u%%".to_owned()),
        1 => Just("%a{k}".to_owned()),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    (vec(level(), 1..4), any::<bool>()).prop_map(|(mut levels, deep)| {
        if deep {
            levels.push("#".to_owned());
        }
        levels.join("/")
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    let action = prop_oneof![
        Just(GrantAction::Publish),
        Just(GrantAction::Subscribe),
        Just(GrantAction::PublishAndSubscribe)
    ];
    let verdict = prop_oneof![
        1 => Just(GrantVerdict::Deny),
        3 => Just(GrantVerdict::Allow),
        1 => Just(GrantVerdict::Consult)
    ];
    (filter(), action, 0..3u8, any::<bool>(), verdict).prop_map(
        |(filter, action, qos_max, retain, verdict)| Grant {
            filter,
            action,
            qos_max,
            retain,
            verdict,
        },
    )
}

fn budget() -> impl Strategy<Value = Budget> {
    let rate = option::of((any::<u64>(), any::<u64>()));
    let rate = rate.prop_map(|rate| rate.map(|(per_second, burst)| Rate { per_second, burst }));
    (
        rate,
        option::of(any::<u16>()),
        option::of(any::<u64>()),
        any::<bool>(),
    )
        .prop_map(
            |(bytes_in_per_second, inflight_max, queue_bytes_max, harsh)| Budget {
                bytes_in_per_second,
                inflight_max,
                queue_bytes_max,
                over_limit: harsh.then_some(OverLimitAction::Disconnect),
                ..Budget::default()
            },
        )
}

fn admission() -> impl Strategy<Value = Admission> {
    let attributes = vec((Just("k".to_owned()), "[ab/]{0,2}"), 0..2);
    let names = (option::of("\\PC{0,8}"), option::of(Just("tenant/".to_owned())));
    let grants = option::weighted(0.9, vec(grant(), 0..6));
    let rest = (any::<u64>(), budget(), option::of(1..9u32));
    (names, attributes, grants, rest).prop_map(
        |((principal, mountpoint), attributes, grants, (tag, budget, refresh_seconds))| Admission {
            principal,
            mountpoint,
            attributes,
            tag,
            grants,
            budget,
            refresh_seconds,
            ..Admission::default()
        },
    )
}

fn admissions() -> impl Strategy<Value = [Option<Admission>; 2]> {
    prop_oneof![
        admission().prop_map(|only| [Some(only), None]),
        admission().prop_map(|only| [None, Some(only)]),
        (admission(), admission()).prop_map(|(first, second)| [Some(first), Some(second)]),
    ]
}

fn any_subject() -> impl Strategy<Value = Subject> {
    let peer = (any::<bool>(), any::<u16>(), option::of("[a-c]")).prop_map(|(secure, port, cn)| Peer {
        address: "192.0.2.1".to_owned(),
        port,
        listener: "main".to_owned(),
        tls: secure.then(|| {
            Box::new(TlsPeer {
                version: "TLSv1.3".to_owned(),
                certificate: cn.map(|cn| Certificate {
                    subject_cn: Some(cn),
                    ..Certificate::default()
                }),
                ..TlsPeer::default()
            })
        }),
        unique_id: None,
        proxied_by: None,
    });
    ("[abc$/]{1,2}", option::of("[ab+]{0,2}"), peer).prop_map(|(client_id, username, peer)| Subject {
        session: 7,
        client_id: client_id.into(),
        username: username.map(Into::into),
        peer: Arc::new(peer),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_session_may_after_a_restart_what_it_could_before(
        subject in any_subject(),
        admissions in admissions(),
        topics in vec("[abc]{1}(/[abcx%]{1,2}){0,3}", 20),
        filters in vec(filter(), 20),
    ) {
        let [before, after] = &*BROKERS;
        let (client_id, username, peer) =
            (subject.client_id.clone(), subject.username.clone(), Arc::clone(&subject.peer));
        let mut gate = gate(before, subject, &admissions);
        let mut recalled = after.recall(&gate.remember(), SESSION).unwrap();
        prop_assert!(!recalled.is_current());
        let of = &recalled.sitting.subject;
        prop_assert_eq!((of.session, &of.client_id, &of.username, &of.peer), (SESSION, &client_id, &username, &peer));
        prop_assert_eq!(&recalled.sitting.combined.admission(), &gate.sitting.combined.admission());
        for (new, old) in recalled.sitting.seats.iter().zip(&gate.sitting.seats) {
            prop_assert_eq!((&new.policy, &new.terms), (&old.policy, &old.terms));
        }

        let is_denied = matches!(recalled.publish("a", 0, false, 1), PublishVerdict::Deny(_));
        prop_assert!(is_denied, "nobody has judged it yet");
        let is_denied = matches!(recalled.subscribe("a", 0), SubscribeVerdict::Deny(_));
        prop_assert!(is_denied, "nobody has judged it yet");

        prop_assert_eq!(keep(&mut recalled), RefreshVerdict::Keep);
        prop_assert!(recalled.is_current());
        for topic in &topics {
            for (qos, retain) in [(0, false), (2, true)] {
                prop_assert_eq!(recalled.publish(topic, qos, retain, 1), gate.publish(topic, qos, retain, 1));
            }
        }
        for filter in &filters {
            prop_assert_eq!(recalled.subscribe(filter, 2), gate.subscribe(filter, 2));
        }
    }

    #[test]
    fn damaged_bytes_are_told_from_what_was_written(
        subject in any_subject(),
        admissions in admissions(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        more in vec(any::<u8>(), 1..9),
    ) {
        let [before, after] = &*BROKERS;
        let sound = gate(before, subject, &admissions).remember();
        let at = at.index(sound.len());
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(after.recall(&flipped, SESSION).is_err());
        prop_assert!(after.recall(&sound[..at], SESSION).is_err());
        prop_assert!(after.recall(&[&sound[..], &more].concat(), SESSION).is_err());
        prop_assert!(after.recall(&more, SESSION).is_err());
    }

    #[test]
    fn what_a_digest_vouches_for_is_checked_all_the_same(
        subject in any_subject(),
        admissions in admissions(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let [before, after] = &*BROKERS;
        let mut bytes = gate(before, subject, &admissions).remember();
        let (head, body) = bytes.split_at_mut(1 + DIGEST_BYTES);
        for (at, byte) in changes {
            body[at.index(body.len())] = byte;
        }
        head[1..].copy_from_slice(&digest(body));
        // Whatever it has become: it is no gate, or one that can be asked.
        if let Ok(mut gate) = after.recall(&bytes, SESSION) {
            keep(&mut gate);
            gate.publish("a/b", 1, false, 1);
            gate.subscribe("a/#", 1);
        }
    }
}

fn grants(grants: Vec<Grant>) -> Admission {
    Admission {
        grants: Some(grants),
        ..Admission::default()
    }
}

fn allow(filter: &str) -> Grant {
    Grant {
        filter: filter.to_owned(),
        action: GrantAction::PublishAndSubscribe,
        qos_max: 2,
        retain: true,
        verdict: GrantVerdict::Allow,
    }
}

#[test]
fn sessions_on_the_same_terms_share_them_again_after_a_restart() {
    let [before, after] = &*BROKERS;
    let admission = grants(vec![allow("shared/#")]);
    let recall = |n: usize| {
        let gate = gate(before, subject(&n.to_string()), &[Some(admission.clone())]);
        after.recall(&gate.remember(), SESSION).unwrap()
    };
    let gates: Vec<_> = (0..100).map(recall).collect();
    let first = gates[0].sitting.seats[0].terms.as_ref().unwrap();
    for gate in &gates {
        let sitting = &gate.sitting;
        assert!(Arc::ptr_eq(sitting.seats[0].terms.as_ref().unwrap(), first));
        assert!(Arc::ptr_eq(&sitting.combined, first));
    }
}

#[test]
fn the_written_form_is_the_one_that_has_this_number() {
    let peer = Peer {
        address: "192.0.2.1".to_owned(),
        port: 4711,
        listener: "main".to_owned(),
        proxied_by: Some("192.0.2.2".to_owned()),
        unique_id: None,
        tls: Some(Box::new(TlsPeer {
            certificate: Some(Certificate::default()),
            ..TlsPeer::default()
        })),
    };
    let subject = Subject {
        username: Some("u".into()),
        peer: Arc::new(peer),
        ..subject("c")
    };
    let rate = Some(Rate {
        per_second: 1,
        burst: 2,
    });
    let admission = Admission {
        principal: Some("p".to_owned()),
        mountpoint: Some("m/".to_owned()),
        attributes: vec![("k".to_owned(), "v".to_owned())],
        tag: 300,
        budget: Budget {
            bytes_in_per_second: rate,
            over_limit: Some(OverLimitAction::Drop),
            ..Budget::default()
        },
        refresh_seconds: Some(9),
        ..grants(vec![allow("a/%c")])
    };
    let gate = gate(
        &BROKERS[0],
        subject,
        &[Some(admission), Some(Admission::default())],
    );
    let hex: String = gate.remember().iter().map(|byte| format!("{byte:02x}")).collect();
    // A broker of this version must go on reading what an earlier one wrote: give the new form a new `FORMAT`, and read
    // this one, too.
    let expected = "010953805361feaeda0163010175093139322e302e322e31e724046d61696e01093139322e302e322e320001000000010000\
                    00000000000000000205666972737401017001026d2f01016b0176ac02010103612f63020201010101020000000000000000\
                    000000000001020109067365636f6e640000000000000000000000000000000000000000000101017001026d2f0000000101\
                    020000000000000000000000000001020109";
    assert_eq!((hex.as_str(), FORMAT), (expected, 1));
}

/// Counts the sessions that are forgotten.
#[derive(Default)]
struct Forgetting(AtomicUsize);

impl PolicyObserver for Forgetting {
    fn observe(&self, notice: &PolicyNotice) {
        if matches!(notice, PolicyNotice::Forgotten { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn too_much_to_remember_is_forgotten_and_the_policies_are_asked_anew() {
    let forgetting = Arc::new(Forgetting::default());
    let before = start(Arc::clone(&forgetting) as _, &NAMES[..1]);
    let mountpoint = Some("m/".to_owned());
    let long = "x".repeat(300);
    let admission = Admission {
        mountpoint,
        ..grants((0..255).map(|n| allow(&format!("{n}/%c"))).collect())
    };
    let gate = gate(&before, subject(&long), &[Some(admission)]);
    let bytes = gate.remember();
    assert!(bytes.len() <= BYTES_MAX);
    assert_eq!(forgetting.0.load(Ordering::Relaxed), 1);
    let mut recalled = BROKERS[1].recall(&bytes, SESSION).unwrap();
    assert_eq!(&*recalled.sitting.subject.client_id, long);
    assert_eq!(recalled.mountpoint(), Some("m/"), "it names the session");
    assert!(recalled.sitting.terms().next().is_none());
    // Nobody vouches for it: none of the policies admits.
    assert!(matches!(keep(&mut recalled), RefreshVerdict::Deny(_)));
}

#[test]
fn names_too_long_to_remember_are_said_to_be() {
    let gate = gate(
        &BROKERS[0],
        subject(&"x".repeat(BYTES_MAX)),
        &[Some(Admission::default())],
    );
    let bytes = gate.remember();
    assert_eq!(
        BROKERS[1].recall(&bytes, SESSION).err(),
        Some(RecallError::TooLarge)
    );
}

#[test]
fn terms_that_no_policy_could_give_are_not_recalled() {
    let admission = Admission {
        mountpoint: Some("m/".to_owned()),
        ..Admission::default()
    };
    let mut bytes = gate(&BROKERS[0], subject("c"), &[Some(admission)]).remember();
    let (head, body) = bytes.split_at_mut(1 + DIGEST_BYTES);
    let slash = body.windows(2).position(|pair| pair == b"m/").unwrap() + 1;
    body[slash] = b'+';
    head[1..].copy_from_slice(&digest(body));
    let error = BROKERS[1].recall(&bytes, SESSION).unwrap_err();
    assert!(
        matches!(&error, RecallError::Invalid(why) if why.contains("`m+` is no mount point")),
        "{error}"
    );
}

#[test]
fn a_later_format_is_named() {
    let mut bytes = gate(&BROKERS[0], subject("c"), &[Some(Admission::default())]).remember();
    bytes[0] = FORMAT + 1;
    let error = BROKERS[1].recall(&bytes, SESSION).unwrap_err();
    assert_eq!(error, RecallError::Format(FORMAT + 1));
    assert!(error.to_string().contains("format 2; this broker knows format 1"));
}

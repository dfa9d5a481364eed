//! Sessions without connections: what is sent, in which order, and what becomes of the rest.

use super::*;
use crate::message::{Message, MessageParts};
use crate::testing::start;
use proptest::prelude::*;
use std::time::Duration;

mod durable;

const LIMITS: SessionLimits = SessionLimits {
    queue_messages_max: 100,
    queue_bytes_max: 1 << 20,
    overflow: Overflow::DropNew,
    inflight_max: 20,
};

fn delivery(text: &str, qos: u8, expires_at: Option<Instant>) -> Delivery {
    let qos = QoS::new(qos).unwrap();
    let message = Message::new(MessageParts {
        mountpoint: "",
        topic: "t",
        payload: text.as_bytes(),
        forwarded: &[],
        qos,
        retain: false,
        publisher: 1,
        expires_at,
    });
    Delivery {
        message,
        qos,
        retain: false,
        subscription_ids: SubscriptionIds::None,
        place: None,
    }
}

fn session(limits: SessionLimits) -> Session {
    let mut session = Session::new(limits);
    session.attach(u16::MAX, start());
    session
}

fn enqueue(session: &mut Session, text: &str, qos: u8) {
    assert_eq!(session.enqueue(delivery(text, qos, None)), Enqueued::Queued);
}

/// All that may be sent now: `text`, `#id` if it has one, `!` for DUP; `rel#id` for PUBREL.
fn sent(session: &mut Session) -> Vec<String> {
    let said = |outgoing: Outgoing<'_>| match outgoing {
        Outgoing::PubRel(id) => format!("rel#{}", id.get()),
        Outgoing::Publish {
            delivery,
            packet_id,
            dup,
        } => {
            let text = std::str::from_utf8(delivery.message.payload()).unwrap();
            let id = packet_id.map_or(String::new(), |id| format!("#{}", id.get()));
            format!("{text}{id}{}", if dup { "!" } else { "" })
        }
    };
    std::iter::from_fn(|| session.next(start()).map(said)).collect()
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

#[test]
fn messages_leave_in_the_order_they_came_whatever_their_qos() {
    let mut session = session(LIMITS);
    for (text, qos) in [("a", 1), ("b", 0), ("c", 2), ("d", 0)] {
        enqueue(&mut session, text, qos);
    }
    assert_eq!(sent(&mut session), ["a#1", "b", "c#2", "d"]);
    assert!(session.puback(id(1), ReasonCode::SUCCESS));
    assert_eq!(
        session.pubrec(id(2), ReasonCode::SUCCESS),
        PubRecOutcome::SendPubRel
    );
    assert!(session.pubcomp(id(2)));
    assert!(session.is_empty());
    assert_eq!(
        session.counters(),
        Counters {
            completed: 4,
            ..Counters::default()
        }
    );
}

#[test]
fn the_window_is_the_smaller_of_receive_maximum_and_our_own() {
    for (receive_max, inflight_max, window) in [(2, 20, 2), (20, 3, 3), (u16::MAX, 0, 1), (1, 1, 1)] {
        let mut session = Session::new(SessionLimits {
            inflight_max,
            ..LIMITS
        });
        session.attach(receive_max, start());
        for text in ["a", "b", "c", "d", "e"] {
            enqueue(&mut session, text, 1);
        }
        assert_eq!(sent(&mut session).len(), window);
        assert_eq!(session.inflight_len(), window);
        assert!(session.puback(id(1), ReasonCode::SUCCESS));
        assert_eq!(sent(&mut session).len(), 1);
    }
}

#[test]
fn a_qos_2_message_holds_its_place_in_the_window_until_pubcomp() {
    let mut session = session(SessionLimits {
        inflight_max: 1,
        ..LIMITS
    });
    enqueue(&mut session, "a", 2);
    enqueue(&mut session, "b", 2);
    assert_eq!(sent(&mut session), ["a#1"]);
    assert_eq!(
        session.pubrec(id(1), ReasonCode::SUCCESS),
        PubRecOutcome::SendPubRel
    );
    assert!(sent(&mut session).is_empty());
    assert!(session.pubcomp(id(1)));
    assert_eq!(sent(&mut session), ["b#2"]);
    // [MQTT-4.4.0-2]: a refusal ends it as well.
    assert_eq!(
        session.pubrec(id(2), ReasonCode::QUOTA_EXCEEDED),
        PubRecOutcome::Ended
    );
    assert_eq!(session.inflight_len(), 0);
    assert_eq!(session.counters().refused, 1);
}

#[test]
fn a_refusing_puback_frees_the_window() {
    let mut session = session(SessionLimits {
        inflight_max: 1,
        ..LIMITS
    });
    enqueue(&mut session, "a", 1);
    enqueue(&mut session, "b", 1);
    assert_eq!(sent(&mut session), ["a#1"]);
    assert!(session.puback(id(1), ReasonCode::NOT_AUTHORIZED));
    assert_eq!(sent(&mut session), ["b#2"]);
    assert_eq!(session.counters().refused, 1);
}

#[test]
fn acknowledgements_that_do_not_fit_change_nothing() {
    let mut session = session(LIMITS);
    enqueue(&mut session, "a", 1);
    enqueue(&mut session, "b", 2);
    assert_eq!(sent(&mut session), ["a#1", "b#2"]);
    assert!(!session.puback(id(2), ReasonCode::SUCCESS));
    assert!(!session.puback(id(9), ReasonCode::SUCCESS));
    assert!(!session.pubcomp(id(2)), "PUBCOMP without PUBREC");
    assert_eq!(session.pubrec(id(1), ReasonCode::SUCCESS), PubRecOutcome::Unknown);
    assert_eq!(session.pubrec(id(9), ReasonCode::SUCCESS), PubRecOutcome::Unknown);
    assert_eq!(session.inflight_len(), 2);
    assert_eq!(
        session.pubrec(id(2), ReasonCode::SUCCESS),
        PubRecOutcome::SendPubRel
    );
    assert_eq!(
        session.pubrec(id(2), ReasonCode::SUCCESS),
        PubRecOutcome::SendPubRel
    );
    assert_eq!(session.inflight_len(), 2);
}

#[test]
fn a_resumed_session_sends_again_in_the_original_order_before_anything_new() {
    let mut session = session(SessionLimits {
        inflight_max: 4,
        ..LIMITS
    });
    for (text, qos) in [("a", 1), ("b", 2), ("c", 2), ("d", 1), ("e", 1), ("f", 0)] {
        enqueue(&mut session, text, qos);
    }
    assert_eq!(sent(&mut session), ["a#1", "b#2", "c#3", "d#4"]);
    assert_eq!(
        session.pubrec(id(2), ReasonCode::SUCCESS),
        PubRecOutcome::SendPubRel
    );
    assert!(session.puback(id(4), ReasonCode::SUCCESS));
    session.detach();
    assert!(session.next(start()).is_none(), "nothing is sent to nobody");
    enqueue(&mut session, "g", 1);
    session.attach(10, start());
    // "f" had QoS 0 and nobody was there.
    assert_eq!(sent(&mut session), ["a#1!", "rel#2", "c#3!", "e#5"]);
    assert_eq!(session.counters().undeliverable, 1);
    assert!(session.puback(id(1), ReasonCode::SUCCESS));
    assert_eq!(sent(&mut session), ["g#6"]);
}

#[test]
fn nothing_is_sent_again_on_the_same_connection() {
    let mut session = session(LIMITS);
    enqueue(&mut session, "a", 1);
    assert_eq!(sent(&mut session), ["a#1"]);
    assert!(sent(&mut session).is_empty());
}

#[test]
fn a_client_that_comes_back_with_a_smaller_window_gets_it() {
    let mut session = session(LIMITS);
    for (text, qos) in [("a", 1), ("b", 1), ("c", 2), ("d", 1)] {
        enqueue(&mut session, text, qos);
    }
    assert_eq!(sent(&mut session).len(), 4);
    assert_eq!(
        session.pubrec(id(3), ReasonCode::SUCCESS),
        PubRecOutcome::SendPubRel
    );
    session.detach();
    session.attach(1, start());
    // [MQTT-4.9.0-3]: PUBREL does not wait for the window.
    assert_eq!(sent(&mut session), ["a#1!", "rel#3"]);
    assert!(session.puback(id(1), ReasonCode::SUCCESS));
    assert!(sent(&mut session).is_empty());
    assert!(session.pubcomp(id(3)));
    assert_eq!(sent(&mut session), ["b#2!"]);
    // An acknowledgement of what was not even sent again is as good as any.
    assert!(session.puback(id(4), ReasonCode::SUCCESS));
    enqueue(&mut session, "e", 1);
    assert!(sent(&mut session).is_empty());
    assert!(session.puback(id(2), ReasonCode::SUCCESS));
    assert_eq!(sent(&mut session), ["e#5"]);
}

#[test]
fn identifiers_wrap_past_zero_and_skip_those_in_use() {
    let mut session = session(LIMITS);
    enqueue(&mut session, "stuck", 1);
    assert_eq!(sent(&mut session), ["stuck#1"]);
    for n in 2..=u16::MAX {
        enqueue(&mut session, "x", 1);
        assert_eq!(sent(&mut session), [format!("x#{n}")]);
        assert!(session.puback(id(n), ReasonCode::SUCCESS));
    }
    for text in ["y", "z"] {
        enqueue(&mut session, text, 1);
    }
    assert_eq!(sent(&mut session), ["y#2", "z#3"]);
    assert!(session.puback(id(3), ReasonCode::SUCCESS));
    assert!(session.puback(id(1), ReasonCode::SUCCESS));
    assert!(session.puback(id(2), ReasonCode::SUCCESS));
    assert!(session.is_empty());
}

#[test]
fn every_identifier_can_be_in_flight() {
    let limits = SessionLimits {
        queue_messages_max: 70_000,
        queue_bytes_max: u64::MAX,
        inflight_max: u16::MAX,
        ..LIMITS
    };
    let mut session = session(limits);
    for _ in 0..=u16::MAX {
        enqueue(&mut session, "x", 1);
    }
    assert_eq!(sent(&mut session).len(), 65_535);
    assert_eq!(session.queue_len(), 1);
    // One is free again, and all others are in use.
    assert!(session.puback(id(777), ReasonCode::SUCCESS));
    assert_eq!(sent(&mut session), ["x#777"]);
    assert!(session.puback(id(777), ReasonCode::SUCCESS));
    assert!(session.puback(id(65_535), ReasonCode::SUCCESS));
}

#[test]
fn an_expired_message_is_dropped_before_its_first_sending_and_never_after() {
    let soon = Some(start() + Duration::from_secs(5));
    let late = start() + Duration::from_secs(5);
    let mut session = session(SessionLimits {
        inflight_max: 1,
        ..LIMITS
    });
    for text in ["sent in time", "too late"] {
        assert_eq!(session.enqueue(delivery(text, 2, soon)), Enqueued::Queued);
    }
    enqueue(&mut session, "for ever", 1);
    assert_eq!(sent(&mut session), ["sent in time#1"]);
    session.detach();
    session.attach(10, late);
    assert!(matches!(
        session.next(late),
        Some(Outgoing::Publish { dup: true, .. })
    )); // [MQTT-4.3.3-7]
    assert_eq!(
        session.pubrec(id(1), ReasonCode::SUCCESS),
        PubRecOutcome::SendPubRel
    );
    assert!(session.pubcomp(id(1))); // [MQTT-4.3.3-13]
    assert_eq!(sent(&mut session), ["for ever#2"]); // [MQTT-3.3.2-5]
    assert_eq!(session.counters().expired, 1);
}

#[test]
fn a_message_too_large_for_the_client_counts_as_delivered() {
    let mut session = session(SessionLimits {
        inflight_max: 1,
        ..LIMITS
    });
    enqueue(&mut session, "large", 1);
    enqueue(&mut session, "small", 1);
    assert_eq!(sent(&mut session), ["large#1"]);
    session.oversized(id(1));
    assert_eq!(sent(&mut session), ["small#2"]);
    assert_eq!(session.counters().oversized, 1);
}

#[test]
fn a_full_queue_does_what_it_was_told() {
    let limits = SessionLimits {
        queue_messages_max: 2,
        ..LIMITS
    };
    let check = |overflow, expected, left: &[&str]| {
        let mut session = session(SessionLimits { overflow, ..limits });
        enqueue(&mut session, "a", 1);
        enqueue(&mut session, "b", 1);
        assert_eq!(session.enqueue(delivery("c", 1, None)), expected, "{overflow:?}");
        assert_eq!(session.counters().dropped, 1);
        assert_eq!(sent(&mut session), left);
    };
    check(Overflow::DropNew, Enqueued::DroppedNew, &["a#1", "b#2"]);
    check(Overflow::DropOldest, Enqueued::DroppedOldest(1), &["b#1", "c#2"]);
    check(Overflow::Disconnect, Enqueued::Overflow, &["a#1", "b#2"]);
}

#[test]
fn a_client_is_not_disconnected_for_qos_0_nor_while_it_is_away() {
    let limits = SessionLimits {
        queue_messages_max: 1,
        overflow: Overflow::Disconnect,
        ..LIMITS
    };
    let mut session = session(limits);
    enqueue(&mut session, "a", 1);
    assert_eq!(session.enqueue(delivery("b", 0, None)), Enqueued::DroppedNew);
    session.detach();
    assert_eq!(session.enqueue(delivery("c", 1, None)), Enqueued::DroppedNew);
    assert_eq!(session.counters().dropped, 2);
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let one = delivery("0123456789", 1, None).bytes();
    let limits = SessionLimits {
        queue_bytes_max: 2 * one,
        overflow: Overflow::DropOldest,
        ..LIMITS
    };
    let mut session = session(limits);
    for text in ["0123456789", "abcdefghij"] {
        enqueue(&mut session, text, 1);
    }
    assert_eq!(session.queue_bytes(), 2 * one);
    assert_eq!(
        session.enqueue(delivery("01234567890", 1, None)),
        Enqueued::DroppedOldest(2)
    );
    assert_eq!(session.queue_bytes(), one + 1);
    // What can never fit displaces nothing.
    let huge = "x".repeat(usize::try_from(2 * one).unwrap());
    assert_eq!(session.enqueue(delivery(&huge, 1, None)), Enqueued::DroppedNew);
    assert_eq!(sent(&mut session), ["01234567890#1"]);
    assert_eq!(session.queue_bytes(), 0);
}

#[test]
fn a_qos_2_message_of_the_client_is_fresh_once_until_released() {
    let mut session = session(LIMITS);
    assert_eq!(session.receive_qos2(id(7)), Received2::Fresh);
    assert_eq!(session.receive_qos2(id(7)), Received2::Duplicate); // [MQTT-4.3.3-10]
    session.detach();
    session.attach(10, start());
    assert_eq!(session.receive_qos2(id(7)), Received2::Duplicate);
    assert!(session.release(id(7)));
    assert!(!session.release(id(7)));
    assert_eq!(session.receive_qos2(id(7)), Received2::Fresh); // [MQTT-4.3.3-12]
    session.forget_qos2(id(7));
    assert_eq!(session.receive_qos2(id(7)), Received2::Fresh); // [MQTT-4.3.3-9]
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 256, "{}", size_of::<Session>());
    let mut session = session(LIMITS);
    for _ in 0..100 {
        enqueue(&mut session, "x", 0);
    }
    sent(&mut session);
    assert_eq!(session.queue_bytes(), 0);
}

/// What happens to a session.
#[derive(Clone, Copy, Debug)]
enum Op {
    Enqueue {
        qos: u8,
        expiry_seconds: Option<u8>,
    },
    Next,
    PubAck(u16),
    PubRec(u16, bool),
    PubComp(u16),
    Oversized(u16),
    Detach,
    Attach(u16),
    Wait(u8),
    Limits {
        inflight_max: u16,
        queue_messages_max: u32,
        overflow: u8,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..3_u8, proptest::option::of(0..20_u8)).prop_map(|(qos, expiry_seconds)| Op::Enqueue { qos, expiry_seconds }),
        6 => Just(Op::Next),
        3 => (0..24_u16).prop_map(Op::PubAck),
        3 => (0..24_u16, any::<bool>()).prop_map(|(id, refused)| Op::PubRec(id, refused)),
        3 => (0..24_u16).prop_map(Op::PubComp),
        1 => (0..24_u16).prop_map(Op::Oversized),
        1 => Just(Op::Detach),
        1 => (0..6_u16).prop_map(Op::Attach),
        1 => (0..10_u8).prop_map(Op::Wait),
        1 => (0..6_u16, 0..8_u32, 0..3_u8).prop_map(|(inflight_max, queue_messages_max, overflow)| {
            Op::Limits { inflight_max, queue_messages_max, overflow }
        }),
    ];
    proptest::collection::vec(op, 0..200)
}

proptest! {
    #[test]
    fn no_sequence_of_operations_loses_or_repeats_a_message(ops in ops()) {
        let mut session = Session::new(LIMITS);
        let (mut limits, mut receive_max, mut now, mut offered) = (LIMITS, 0, start(), 0);
        for op in ops {
            // Acknowledgements name what is in flight by its place there, so that they often hit.
            let pick = |session: &Session, n: u16| session.inflight_ids().nth(usize::from(n)).unwrap_or(id(n + 1));
            match op {
                Op::Enqueue { qos, expiry_seconds } => {
                    let expires_at = expiry_seconds.map(|seconds| now + Duration::from_secs(u64::from(seconds)));
                    let _ = session.enqueue(delivery("x", qos, expires_at));
                    offered += 1;
                }
                Op::Next => {
                    let before = session.inflight_len();
                    if let Some(Outgoing::Publish { delivery, packet_id, dup }) = session.next(now) {
                        prop_assert!(receive_max > 0);
                        prop_assert_eq!(packet_id.is_some(), delivery.qos > QoS::AtMostOnce);
                        prop_assert!(dup || !delivery.message.is_expired(now));
                        if !dup && packet_id.is_some() {
                            prop_assert!(before < usize::from(receive_max.min(limits.inflight_max).max(1)));
                        }
                    }
                }
                Op::PubAck(n) => { session.puback(pick(&session, n), ReasonCode::SUCCESS); }
                Op::PubRec(n, refused) => {
                    let reason = if refused { ReasonCode::UNSPECIFIED_ERROR } else { ReasonCode::SUCCESS };
                    let _ = session.pubrec(pick(&session, n), reason);
                }
                Op::PubComp(n) => { session.pubcomp(pick(&session, n)); }
                Op::Oversized(n) => session.oversized(pick(&session, n)),
                Op::Detach => { session.detach(); receive_max = 0; }
                Op::Attach(max) => { session.attach(max, now); receive_max = max.max(1); }
                Op::Wait(seconds) => now += Duration::from_secs(u64::from(seconds)),
                Op::Limits { inflight_max, queue_messages_max, overflow } => {
                    let overflow = [Overflow::DropNew, Overflow::DropOldest, Overflow::Disconnect][usize::from(overflow)];
                    limits = SessionLimits { inflight_max, queue_messages_max, overflow, ..LIMITS };
                    session.set_limits(limits);
                }
            }
            let mut ids: Vec<_> = session.inflight_ids().collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), session.inflight_len());
            let Counters { completed, refused, dropped, expired, oversized, undeliverable, lost } = session.counters();
            let ended = completed + refused + dropped + expired + oversized + undeliverable + lost;
            prop_assert_eq!(ended + session.queue_len() as u64 + session.inflight_len() as u64, offered);
        }
    }
}

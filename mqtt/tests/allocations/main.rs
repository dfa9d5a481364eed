//! What a message costs the allocator on its way through a connection; in `frames`, what its encoding alone does.

// A test that cannot go on fails by panicking, also in its helpers; time is theirs to start.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod frames;

use bytes::BytesMut;
use sluice_mqtt::conn::{Connection, ConnectionConfig, Delivered, Event, Terms};
use sluice_mqtt::message::{Message, MessageParts};
use sluice_mqtt::packet::{ConnAck, Connect, Packet, PacketId, Publish, PublishProperties, QoS, Version};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{Delivery, Overflow, Session, SessionLimits, SubscriptionIds};
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicName;
use sluice_mqtt::wire::{self, Output};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::IoSlice;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe by its nature; this one only counts"
)]
// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by our caller.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

const ROUNDS: u16 = 100;

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}

fn connected(version: Version) -> (Connection, Instant) {
    let now = Instant::now();
    let config = ConnectionConfig {
        versions: vec![version],
        connect_bytes_max: 1024,
        connect_timeout: Duration::from_secs(10),
    };
    let connect = Connect {
        keep_alive_seconds: 60,
        topic_alias_max: 10,
        ..Connect::new(version, true, text("c"))
    };
    let mut conn = Connection::new(config, now);
    let mut input = encoded(&Packet::Connect(Box::new(connect)), version);
    assert!(matches!(conn.next(&mut input, now), Some(Event::Connect(_))));
    let terms = Terms {
        receive_max: NonZeroU16::MAX,
        topic_alias_max: 10,
        packet_bytes_max: 1 << 20,
        payload_bytes_max: 1 << 20,
        keep_alive_seconds: 60,
        session_expiry_seconds: 0,
    };
    let accepted = conn.accept(terms, ConnAck::new(ReasonCode::SUCCESS), now);
    assert!(accepted.is_ok(), "a client without a Maximum Packet Size");
    discard(conn.output());
    (conn, now)
}

fn encoded(packet: &Packet, version: Version) -> BytesMut {
    let mut output = Output::new();
    wire::encode(packet, version, &mut output);
    let mut slices = [IoSlice::new(&[]); 4];
    let count = output.chunks_vectored(&mut slices);
    slices
        .iter()
        .take(count)
        .flat_map(|slice| slice.iter().copied())
        .collect()
}

fn discard(output: &mut Output) {
    output.advance(output.len());
}

fn publish(qos: QoS, packet_id: u16) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: Some(TopicName::new(text("a/topic/of/some/length")).unwrap()),
        packet_id: PacketId::new(packet_id),
        properties: PublishProperties::default(),
        payload: vec![1; 64].into(),
    })
}

/// The allocations `Connection::next` and the acknowledgement need for many messages in one buffer.
fn receiving(version: Version, qos: QoS) -> u64 {
    let (mut conn, now) = connected(version);
    let mut input = BytesMut::new();
    for round in 1..=ROUNDS {
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { round };
        input.extend_from_slice(&encoded(&publish(qos, packet_id), version));
    }
    conn.output().reserve(8 * 1024);
    allocations(|| {
        for _ in 0..ROUNDS {
            match conn.next(&mut input, now) {
                Some(Event::Publish(received)) => conn.acknowledge(received.discard()),
                other => panic!("no PUBLISH: {other:?}"),
            }
        }
    })
}

#[test]
fn a_message_is_received_and_acknowledged_without_allocating() {
    for version in [Version::V311, Version::V5] {
        // The buffer becomes a shared one when the first packet is taken off it.
        assert!(receiving(version, QoS::AtMostOnce) <= 1);
        // And the list of what waits for an acknowledgement is set up once.
        assert!(receiving(version, QoS::AtLeastOnce) <= 2);
    }
}

fn delivering(version: Version, qos: QoS, payload_bytes: usize) -> u64 {
    let (mut conn, now) = connected(version);
    let mut session = Session::new(SessionLimits {
        queue_messages_max: 10,
        queue_bytes_max: 1 << 20,
        overflow: Overflow::DropNew,
        inflight_max: 10,
    });
    session.attach(u16::MAX, now);
    let message = Message::new(MessageParts {
        mountpoint: "tenant/",
        topic: "a/topic/of/some/length",
        payload: &vec![1; payload_bytes],
        forwarded: b"\x26\x00\x01k\x00\x01v",
        qos,
        retain: false,
        publisher: 1,
        expires_at: Some(now + Duration::from_secs(60)),
    });
    let mut one = |packet_id: u16| {
        let message = message.clone();
        let subscription_ids = SubscriptionIds::One(7);
        let _ = session.enqueue(Delivery {
            message,
            qos,
            retain: false,
            subscription_ids,
            place: None,
        });
        let outgoing = session.next(now).unwrap();
        assert_eq!(conn.deliver(&outgoing, 7, now), Delivered::Sent);
        discard(conn.output());
        if let Some(packet_id) = PacketId::new(packet_id).filter(|_| qos == QoS::AtLeastOnce) {
            assert!(session.puback(packet_id, ReasonCode::SUCCESS));
        }
    };
    one(1);
    allocations(|| (2..=ROUNDS).for_each(one))
}

#[test]
fn a_message_is_delivered_without_allocating() {
    for version in [Version::V311, Version::V5] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            assert_eq!(delivering(version, qos, 64), 0, "{version:?} {qos:?}");
        }
    }
}

#[test]
fn a_large_payload_is_shared_and_not_copied() {
    let (mut conn, now) = connected(Version::V5);
    let message = Message::new(MessageParts {
        mountpoint: "",
        topic: "t",
        payload: &vec![1; 1 << 20],
        forwarded: &[],
        qos: QoS::AtMostOnce,
        retain: false,
        publisher: 1,
        expires_at: None,
    });
    let start = message.payload().as_ptr();
    let delivery = Delivery {
        message: message.clone(),
        qos: QoS::AtMostOnce,
        retain: false,
        subscription_ids: SubscriptionIds::None,
        place: None,
    };
    let outgoing = sluice_mqtt::session::Outgoing::Publish {
        delivery: std::borrow::Cow::Owned(delivery),
        packet_id: None,
        dup: false,
    };
    assert_eq!(conn.deliver(&outgoing, 0, now), Delivered::Sent);
    let mut slices = [IoSlice::new(&[]); 4];
    let count = conn.output().chunks_vectored(&mut slices);
    assert!(slices.iter().take(count).any(|slice| slice.as_ptr() == start));
}

#[test]
fn an_acknowledgement_is_written_without_allocating() {
    let (mut conn, _) = connected(Version::V5);
    conn.output().reserve(4096);
    let ids = (1..=ROUNDS).filter_map(PacketId::new);
    assert_eq!(
        allocations(|| ids.for_each(|id| conn.pubrel(id, ReasonCode::SUCCESS))),
        0
    );
}

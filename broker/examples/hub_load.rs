//! What the hub costs without sockets: memory of a million subscriptions or retained messages, time of a publish.
//!
//! `cargo run --release -p sluice --example hub_load`; Linux only (reads `/proc/self/statm`). A part of a name on the
//! command line chooses scenarios; each has a process of its own.
#![allow(
    clippy::print_stdout, // It is what this program is for.
    clippy::unwrap_used, clippy::expect_used, clippy::panic, // All input is ours.
)]

use bytes::{BufMut, BytesMut};
use sluice::config::Limits;
use sluice::event::Events;
use sluice::hub::{Attach, Caller, Hub, SessionCell, SessionKey};
use sluice::metrics::Metrics;
use sluice_mqtt::conn::{Connection, ConnectionConfig, Event, Terms};
use sluice_mqtt::packet::{ConnAck, QoS, SubscriptionOptions, Version};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::session::{Overflow, SessionLimits};
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicFilter;
use sluice_store::Store;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nanoseconds and the like are the fastest of so many rounds: whatever else the machine does only adds.
const ROUNDS: usize = 30;
/// 40 bytes.
const TOPIC: &str = "site/berlin/hall/07/line/3/machine/temp0";

const SCENARIOS: [(&str, fn()); 10] = [
    ("1,000,000 subscriptions site/+/device/<n>/#", || {
        subscriptions_memory(|n| format!("site/+/device/{n}/#"));
    }),
    ("1,000,000 subscriptions a/+/b/<n>", || {
        subscriptions_memory(|n| format!("a/+/b/{n}"));
    }),
    ("1,000,000 subscriptions <client>/+/<n of 1000>/#", || {
        subscriptions_memory(|n| format!("plant-{}/+/sensor-{}/#", n / 1_000, n % 1_000));
    }),
    ("1,000,000 retained device/<n>/state, 64 B", || {
        retained_memory(|n| format!("device/{n}/state"));
    }),
    (
        "1,000,000 retained site/<1000>/dev/<1000>/temperature, 64 B",
        || {
            retained_memory(|n| format!("site/{}/dev/{}/temperature", n / 1_000, n % 1_000));
        },
    ),
    ("publish QoS 0, nobody subscribed", || publish(0, 0, 0)),
    ("publish and deliver QoS 0, 1 subscriber", || publish(0, 1, 0)),
    ("publish and deliver QoS 1, 1 subscriber", || publish(1, 1, 0)),
    (
        "publish and deliver QoS 0, 1 subscriber, beside 100,000 wildcard subscriptions",
        || publish(0, 1, 100_000),
    ),
    ("publish and deliver QoS 0, 1,000 subscribers", || {
        publish(0, 1_000, 0)
    }),
];

fn main() {
    let chosen = std::env::args().nth(1).unwrap_or_default();
    if let Some((name, run)) = SCENARIOS.iter().find(|(name, _)| *name == chosen) {
        println!("{name}");
        return run();
    }
    let program = std::env::current_exe().unwrap();
    for (name, _) in SCENARIOS.iter().filter(|(name, _)| name.contains(&chosen)) {
        std::process::Command::new(&program).arg(name).status().unwrap();
    }
}

fn hub() -> Hub {
    let metrics = Arc::new(Metrics::default());
    let events = Events::new(Arc::clone(&metrics));
    let limits = Limits {
        retained_bytes_max: u64::MAX,
        retained_messages_max: u64::MAX,
        ..Limits::default()
    };
    Hub::new(limits, Store::memory(), metrics, events)
}

/// A session and the protocol of its connection.
struct Client {
    conn: Connection,
    cell: Arc<SessionCell>,
    connection: u64,
    input: BytesMut,
}

impl Client {
    fn new(hub: &Hub, name: &str) -> Self {
        let config = ConnectionConfig {
            versions: vec![Version::V311],
            connect_bytes_max: 1_024,
            connect_timeout: Duration::from_secs(10),
        };
        let now = Instant::now();
        let mut conn = Connection::new(config, now);
        let mut input = BytesMut::with_capacity(64 * 1024);
        input.put_slice(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c");
        assert!(matches!(conn.next(&mut input, now), Some(Event::Connect(_))));
        let terms = Terms {
            receive_max: NonZeroU16::MAX,
            topic_alias_max: 0,
            packet_bytes_max: 1 << 20,
            payload_bytes_max: 1 << 20,
            keep_alive_seconds: 0,
            session_expiry_seconds: 0,
        };
        conn.accept(terms, ConnAck::new(ReasonCode::SUCCESS), now)
            .expect("a client without a Maximum Packet Size");
        discard_output(&mut conn);
        let request = Attach {
            key: SessionKey {
                mountpoint: "".into(),
                client_id: name.into(),
            },
            judged: hub.new_number(),
            clean_start: true,
            expiry_seconds: 0,
            receive_max: u16::MAX,
            session_limits: SessionLimits {
                queue_messages_max: 10_000,
                queue_bytes_max: 16 << 20,
                overflow: Overflow::DropNew,
                inflight_max: 1_024,
            },
            subscriptions_max: u32::MAX,
            caller: Caller::default(),
            may_create: true,
            gate: None,
            will: None,
        };
        let attached = hub.attach(request, now).expect("there is room");
        Self {
            conn,
            cell: attached.cell,
            connection: attached.connection,
            input,
        }
    }

    fn subscribe(&self, hub: &Hub, filter: &str, qos: QoS) {
        let filter = TopicFilter::new(Text::try_from(filter).unwrap()).unwrap();
        let options = SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
        let made = hub.subscribe(&self.cell, self.connection, &filter, options, None);
        assert!(made.is_ok());
    }

    /// Sends a PUBLISH to the hub as a driver does.
    fn publish(&mut self, hub: &Hub, packet: &[u8], now: Instant) {
        self.input.put_slice(packet);
        while let Some(event) = self.conn.next(&mut self.input, now) {
            let Event::Publish(received) = event else {
                panic!("{event:?}")
            };
            let receipt = hub.publish(received.accept(), &self.cell, now);
            self.conn.acknowledge(receipt.receipt);
        }
    }

    /// Writes and acknowledges what the session has for its client, as a driver does; returns how many messages.
    fn drain(&mut self, now: Instant) -> usize {
        let mut state = self.cell.lock();
        let mut count = 0;
        let mut acknowledged = Vec::new();
        while let Some(outgoing) = state.session.next(now) {
            let _ = self.conn.deliver(&outgoing, 0, now);
            count += 1;
            if let sluice_mqtt::session::Outgoing::Publish {
                packet_id: Some(id), ..
            } = outgoing
            {
                acknowledged.push(id);
            }
        }
        for id in acknowledged {
            state.session.puback(id, ReasonCode::SUCCESS);
        }
        drop(state);
        discard_output(&mut self.conn);
        count
    }
}

fn discard_output(conn: &mut Connection) {
    let bytes = conn.output().len();
    conn.output().advance(bytes);
}

fn encoded(topic: &str, payload: &[u8], qos: u8, retain: bool) -> Vec<u8> {
    let id: &[u8] = if qos > 0 { &[0, 7] } else { &[] };
    let remaining = 2 + topic.len() + id.len() + payload.len();
    let remaining = u8::try_from(remaining)
        .ok()
        .filter(|len| *len < 128)
        .expect("short");
    let mut packet = vec![
        0x30 | qos << 1 | u8::from(retain),
        remaining,
        0,
        u8::try_from(topic.len()).unwrap(),
    ];
    packet.extend_from_slice(topic.as_bytes());
    packet.extend_from_slice(id);
    packet.extend_from_slice(payload);
    packet
}

fn subscriptions_memory(filter: fn(u32) -> String) {
    let hub = hub();
    let before = resident_bytes();
    let started = Instant::now();
    let clients: Vec<Client> = (0..1_000)
        .map(|number| {
            let mut client = Client::new(&hub, &format!("client-{number}"));
            client.input = BytesMut::new();
            for n in number * 1_000..(number + 1) * 1_000 {
                client.subscribe(&hub, &filter(n), QoS::AtLeastOnce);
            }
            client
        })
        .collect();
    let took = started.elapsed();
    let resident = resident_bytes();
    println!(
        "  {:.0} MB more resident, {:.0} MB in all, {} ns each",
        megabytes(resident - before),
        megabytes(resident),
        took.as_nanos() / 1_000_000
    );
    let started = Instant::now();
    for (number, client) in (0..).zip(&clients) {
        for n in number * 1_000..(number + 1) * 1_000 {
            let filter = TopicFilter::new(Text::try_from(filter(n)).unwrap()).unwrap();
            assert!(hub.unsubscribe(&client.cell, &filter).is_some());
        }
    }
    println!(
        "  unsubscribed in {} ns each, {:.0} MB left",
        started.elapsed().as_nanos() / 1_000_000,
        megabytes(resident_bytes().saturating_sub(before))
    );
}

fn retained_memory(topic: fn(u32) -> String) {
    let hub = hub();
    let mut client = Client::new(&hub, "publisher");
    let before = resident_bytes();
    let started = Instant::now();
    let now = Instant::now();
    for n in 0..1_000_000 {
        client.publish(&hub, &encoded(&topic(n), &[b'p'; 64], 0, true), now);
    }
    let resident = resident_bytes();
    println!(
        "  {:.0} MB more resident, {:.0} MB in all, {} ns each",
        megabytes(resident - before),
        megabytes(resident),
        started.elapsed().as_nanos() / 1_000_000
    );
}

fn publish(qos: u8, subscribers: u32, beside: u32) {
    let hub = hub();
    let mut publisher = Client::new(&hub, "publisher");
    let mut receivers: Vec<Client> = (0..subscribers)
        .map(|number| Client::new(&hub, &format!("receiver-{number}")))
        .collect();
    for receiver in &mut receivers {
        receiver.subscribe(&hub, TOPIC, QoS::ExactlyOnce);
    }
    let others: Vec<Client> = (0..beside / 1_000)
        .map(|number| {
            let other = Client::new(&hub, &format!("other-{number}"));
            for n in number * 1_000..(number + 1) * 1_000 {
                other.subscribe(&hub, &format!("site/+/device/{n}/#"), QoS::AtLeastOnce);
            }
            other
        })
        .collect();
    let packet = encoded(TOPIC, &[b'p'; 64], qos, false);
    let batch = 100;
    let batches = (100_000 / (u64::from(subscribers) + 1) / batch).clamp(1, 200);
    let mut fastest = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        let mut spent = [Duration::ZERO; 2];
        for _ in 0..batches {
            let now = Instant::now();
            for _ in 0..batch {
                publisher.publish(&hub, &packet, now);
            }
            discard_output(&mut publisher.conn);
            spent[0] += now.elapsed();
            let started = Instant::now();
            for receiver in &mut receivers {
                assert_eq!(receiver.drain(now) as u64, batch);
            }
            spent[1] += started.elapsed();
        }
        for (fastest, spent) in fastest.iter_mut().zip(spent) {
            *fastest = fastest.min(spent.as_secs_f64() * 1e9 / (batches * batch) as f64);
        }
    }
    let [publishing, delivering] = fastest;
    println!("  {publishing:.0} ns to publish, {delivering:.0} ns to deliver, per message published");
    drop(others);
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

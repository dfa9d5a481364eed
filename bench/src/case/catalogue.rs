//! All cases, in the order of tables.

use super::durable::{Load, Presence};
use super::{Case, Exchange, What};
use crate::broker::{Gate, Queues, Storage, Transport};
use crate::load::{Batch, Pace, Shape, Until};

const FAN_IN: Shape = Shape::Fan {
    publishers: 50,
    subscribers: 1,
};

/// Every case there is.
pub fn catalogue() -> Vec<Case> {
    let mut cases = saturating();
    cases.extend(paced());
    cases.extend(encrypted());
    cases.extend(quantities());
    cases.extend(durable());
    cases.extend(gates());
    cases
}

fn case(name: impl Into<String>, about: &'static str, what: What) -> Case {
    Case {
        name: name.into(),
        about,
        gate: Gate::Plain,
        queues: Queues::Raised,
        transport: Transport::Tcp,
        storage: Storage::Memory,
        by_default: true,
        sluice_only: false,
        what,
    }
}

fn window(outstanding: u64) -> Pace {
    Pace::Window {
        until: Until::Delivered,
        outstanding,
        batch: Batch::All,
    }
}

fn exchange(shape: Shape, qos: u8, payload_bytes: usize, pace: Pace) -> What {
    What::Exchange(Exchange {
        shape,
        qos,
        payload_bytes,
        pace,
    })
}

fn saturating() -> Vec<Case> {
    let fan_out = |subscribers| Shape::Fan {
        publishers: 1,
        subscribers,
    };
    let shapes = [
        (
            "fanin-50-1",
            FAN_IN,
            20,
            "50 publishers to 1 subscriber, as fast as it goes",
        ),
        (
            "fanout-1-100",
            fan_out(100),
            50,
            "1 publisher to 100 subscribers, as fast as it goes",
        ),
        (
            "fanout-1-1000",
            fan_out(1000),
            10,
            "1 publisher to 1,000 subscribers, as fast as it goes",
        ),
    ];
    let mut cases = Vec::new();
    for (name, shape, outstanding, about) in shapes {
        for qos in [0, 1] {
            for payload_bytes in [64, 1024] {
                cases.push(case(
                    format!("{name}-q{qos}-{payload_bytes}"),
                    about,
                    exchange(shape, qos, payload_bytes, window(outstanding)),
                ));
            }
        }
    }
    for qos in [0, 1] {
        let pace = Pace::Window {
            until: Until::Delivered,
            outstanding: 20,
            batch: Batch::AtMost(1),
        };
        cases.push(case(
            format!("fanin-single-q{qos}-64"),
            "the same fan-in with every message in a write of its own, publishers in turn",
            exchange(FAN_IN, qos, 64, pace),
        ));
    }
    cases
}

fn paced() -> Vec<Case> {
    let about = "1,000 publishers, each to its own subscriber, paced; latency from the intended send time";
    [(0, 10_000.0), (1, 5000.0)]
        .map(|(qos, rate)| {
            case(
                format!("pairs-1000-q{qos}-64"),
                about,
                exchange(Shape::Pairs(1000), qos, 64, Pace::PerSecond(rate)),
            )
        })
        .into()
}

/// What messages and connections cost over TLS. Publishers make records of a fixed number of messages.
fn encrypted() -> Vec<Case> {
    let fan_in = |batch, payload_bytes| {
        let pace = Pace::Window {
            until: Until::Delivered,
            outstanding: 20,
            batch,
        };
        exchange(FAN_IN, 0, payload_bytes, pace)
    };
    let cases = [
        case(
            "tls-fanin-q0-64",
            "50 publishers to 1 subscriber over TLS 1.3, 10 messages in each of the publishers' records",
            fan_in(Batch::Exactly(10), 64),
        ),
        case(
            "tls-fanin-q0-1024",
            "the same with 1 KiB, which makes records of 10 KiB",
            fan_in(Batch::Exactly(10), 1024),
        ),
        case(
            "tls-fanin-records-q0-64",
            "the same with 64 B and every message in a record of its own, 10 records in a write",
            fan_in(Batch::Records(10), 64),
        ),
        case(
            "tls-fanin-single-q0-64",
            "the same with every record in a write of its own, publishers in turn",
            fan_in(Batch::Records(1), 64),
        ),
        case(
            "tls-idle-10k",
            "resident memory of 10,000 TLS connections that do nothing",
            What::Idle { clients: 10_000 },
        ),
        case(
            "tls-connect",
            "TLS handshake without resumption, CONNECT, CONNACK, DISCONNECT over and over, 32 at a time",
            What::Connects,
        ),
    ];
    cases
        .into_iter()
        .map(|case| Case {
            transport: Transport::Tls,
            ..case
        })
        .collect()
}

fn quantities() -> Vec<Case> {
    vec![
        case(
            "idle-10k",
            "resident memory of 10,000 connections that do nothing",
            What::Idle { clients: 10_000 },
        ),
        case(
            "connect",
            "CONNECT, CONNACK, DISCONNECT over and over, 32 at a time",
            What::Connects,
        ),
        case(
            "subs-100k",
            "the fan-in (QoS 0, 64 B) among 100,000 wildcard subscriptions, and what these cost",
            What::Subscriptions {
                count: 100_000,
                with_load: true,
            },
        ),
        Case {
            by_default: false,
            ..case(
                "subs-1m",
                "resident memory of 1,000,000 wildcard subscriptions of 1,000 clients",
                What::Subscriptions {
                    count: 1_000_000,
                    with_load: false,
                },
            )
        },
        case(
            "retained-200k",
            "resident memory of 200,000 retained messages of 64 B, then all read back",
            What::Retained { count: 200_000 },
        ),
        Case {
            by_default: false,
            ..case(
                "retained-1m",
                "the same with 1,000,000",
                What::Retained { count: 1_000_000 },
            )
        },
        Case {
            queues: Queues::Default,
            ..case(
                "stalled",
                "a subscriber stops reading during a QoS 1 flood of 1 KiB; queues as the broker comes with",
                What::Stalled,
            )
        },
    ]
}

/// What a broker that keeps messages on disk acknowledges, and what that costs those that need not be kept.
fn durable() -> Vec<Case> {
    let on_disk = |case| Case {
        storage: Storage::Disk,
        ..case
    };
    let load = |(name, publishers, subscribers, presence)| {
        let about =
            "QoS 1 from publishers with one message on its way each, for sessions on disk; beside a raw log";
        let load = Load {
            publishers,
            subscribers,
            presence,
        };
        on_disk(case(name, about, What::Durable(load)))
    };
    let loads = [
        ("durable-offline-1", 1, 1, Presence::Offline),
        ("durable-offline-10", 10, 1, Presence::Offline),
        ("durable-offline-100", 100, 1, Presence::Offline),
        ("durable-offline-1000", 1000, 1, Presence::Offline),
        ("durable-offline-100-to-10", 100, 10, Presence::Offline),
        ("durable-online-1", 1, 1, Presence::Online),
        ("durable-online-10", 10, 1, Presence::Online),
        ("durable-online-100", 100, 1, Presence::Online),
        ("durable-online-1000", 1000, 1, Presence::Online),
    ];
    let mut cases: Vec<Case> = loads.map(load).into();
    for qos in [0, 1] {
        let fan_in = |name| {
            let about =
                "the fan-in (64 B), of which nothing outlives its connections, without and with a disk";
            let what = exchange(FAN_IN, qos, 64, window(20));
            let sluice_only = true;
            Case {
                sluice_only,
                ..case(format!("disk-fanin-q{qos}:{name}"), about, what)
            }
        };
        cases.extend([fan_in("plain"), on_disk(fan_in("always"))]);
    }
    cases
}

fn gates() -> Vec<Case> {
    let gates = [
        ("plain", Gate::Plain),
        ("grant-1", Gate::Grants(1)),
        ("grants-10", Gate::Grants(10)),
        ("cached", Gate::Cached),
        ("asked", Gate::Asked),
        ("pw", Gate::Passwords { acl_patterns: 0 }),
        ("pw+acl1", Gate::Passwords { acl_patterns: 1 }),
        ("pw+acl100", Gate::Passwords { acl_patterns: 100 }),
    ];
    let auth = gates.map(|(name, gate)| Case {
        gate,
        ..case(
            format!("auth-fanin-q0:{name}"),
            "what deciding costs: the fan-in (QoS 0, 64 B) with this gate",
            exchange(FAN_IN, 0, 64, window(20)),
        )
    });
    let swap = Case {
        gate: Gate::Grants(1),
        sluice_only: true,
        ..case(
            "swap",
            "10,000 clients, a paced load, and a policy that is replaced meanwhile",
            What::Swap { clients: 10_000 },
        )
    };
    auth.into_iter().chain([swap]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn cases_that_are_compared_with_each_other_stand_together() {
        let cases = catalogue();
        let mut families: Vec<&str> = cases.iter().map(Case::family).collect();
        assert!(families.contains(&"auth-fanin-q0"));
        families.dedup();
        let in_a_row = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), in_a_row);
    }

    #[test]
    fn names_are_unique() {
        let cases = catalogue();
        let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
    }

    #[test]
    fn the_beginning_of_a_name_means_all_that_begin_so() {
        let meant = |pattern: &str| {
            catalogue()
                .iter()
                .filter(|case| case.is_meant_by(pattern))
                .count()
        };
        assert_eq!(meant("fanout-1-100"), 4);
        assert_eq!(meant("fanin-50-1-q0-64"), 1);
        assert_eq!(meant("auth-fanin-q0"), 8);
        assert_eq!((meant("durable-offline-1"), meant("durable-offline")), (1, 5));
        assert_eq!(meant("fan"), 0);
    }
}

//! Topic names and filters: what matches what.

use crate::brokers::broker;
use sluice_tests::broker::Broker;
use sluice_tests::packet::{BOTH, Version, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property;
use sluice_tests::reply::Reply;
use sluice_tests::unique;

/// Subscribes to the filters one by one and compares which of the topics they receive. Filters and topics are below
/// a level of their own, so that tests do not hear each other.
fn check_matches(version: Version, cases: &[(&str, &[&str])], topics: &[&str]) {
    let root = unique("match");
    let mut publisher = broker().client(version);
    for (filter, expected) in cases {
        let mut reader = broker().client(version);
        reader.subscribe(&format!("{root}/{filter}"), 0);
        for topic in topics {
            publisher.publish(publish(format!("{root}/{topic}"), ""));
        }
        for topic in *expected {
            let delivered = reader.expect_publish();
            let matched = delivered.topic == format!("{root}/{topic}");
            reader.assert(matched, &format!("{filter} receives {topic}"));
        }
        reader.expect_silence();
    }
}

// v311[4.7.1-1 4.7.1-2 4.7.1-3 3.3.2-3] v5[4.7.0-1 4.7.1-1 4.7.1-2 3.3.2-3] traps[54]
#[test]
fn filters_receive_the_topics_they_match_and_no_others() {
    let topics = [
        "sport",
        "sport/",
        "sport/tennis",
        "sport/tennis/player1",
        "/sport",
        "sporty",
        "sport//x",
        "/",
    ];
    let cases: [(&str, &[&str]); 12] = [
        (
            "sport/#",
            &[
                "sport",
                "sport/",
                "sport/tennis",
                "sport/tennis/player1",
                "sport//x",
            ],
        ),
        ("sport/+", &["sport/", "sport/tennis"]),
        ("sport/+/+", &["sport/tennis/player1", "sport//x"]),
        (
            "sport/+/#",
            &["sport/", "sport/tennis", "sport/tennis/player1", "sport//x"],
        ),
        ("sport", &["sport"]),
        ("sport/", &["sport/"]),
        ("+", &["sport", "sporty"]),
        ("+/", &["sport/", "/"]),
        ("/+", &["/sport", "/"]),
        ("+/+", &["sport/", "sport/tennis", "/sport", "/"]),
        ("+/tennis/#", &["sport/tennis", "sport/tennis/player1"]),
        ("/#", &["/sport", "/"]),
    ];
    for version in BOTH {
        check_matches(version, &cases, &topics);
    }
}

// v311[4.7.3-4 1.5.3-3] v5[4.7.3-4 1.5.4-3]
#[test]
fn topics_are_compared_byte_by_byte() {
    let composed = "caf\u{E9}";
    let decomposed = "cafe\u{301}";
    let marked = "\u{FEFF}bom";
    let topics = [
        "Accounts",
        "accounts",
        composed,
        decomposed,
        marked,
        "bom",
        "with space",
        "\u{1F600}",
    ];
    let cases: [(&str, &[&str]); 8] = [
        ("Accounts", &["Accounts"]),
        ("accounts", &["accounts"]),
        (composed, &[composed]),
        (decomposed, &[decomposed]),
        (marked, &[marked]),
        ("bom", &["bom"]),
        ("with space", &["with space"]),
        ("\u{1F600}", &["\u{1F600}"]),
    ];
    for version in BOTH {
        check_matches(version, &cases, &topics);
    }
}

// v311[4.7.2-1] v5[4.7.2-1] traps[53]
#[test]
fn a_leading_wildcard_does_not_match_topics_with_a_dollar() {
    // Alone with its broker: `#` would hear every other test.
    let broker = Broker::with_config(
        "sys_interval = \"1 s\"\n[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n",
    );
    for version in BOTH {
        let mut explicit = broker.client(version);
        explicit.subscribe("$SYS/#", 0);
        let stored = explicit.expect_publish();
        explicit.assert(
            stored.topic.starts_with("$SYS/"),
            "the broker has topics of its own",
        );
        let below = stored.topic.split_once('/').expect("a second level").1.to_owned();
        let filters = [
            "#",
            "+/#",
            "+/+/#",
            &format!("+/{below}"),
            &format!("+/{below}/#"),
        ];
        let mut wild: Vec<_> = filters.iter().map(|_| broker.client(version)).collect();
        // What they hear is the plain topics of each other's `drain`.
        for (peer, filter) in wild.iter_mut().zip(filters) {
            peer.subscribe(filter, 0);
        }
        for peer in &mut wild {
            expect_no_dollar(peer);
        }
        // Those were the retained ones; now the broker publishes them anew.
        while explicit.expect_publish().retain {}
        for peer in &mut wild {
            expect_no_dollar(peer);
        }
    }
}

fn expect_no_dollar(peer: &mut Peer) {
    let heard = peer.drain();
    let dollar = heard.iter().any(|delivered| delivered.topic.starts_with('$'));
    peer.assert(!dollar, "a leading wildcard hears no topic with a dollar");
}

// v311[4.7.2-1] v5[4.7.2-1] traps[53]
#[test]
fn an_explicit_dollar_filter_and_a_wildcard_go_together() {
    let broker = Broker::start();
    for version in BOTH {
        let mut peer = broker.client(version);
        peer.send(subscribe(1).filter("#", 0).filter("$SYS/#", 0));
        peer.send(publish("plain", "x"));
        let mut heard = (false, false);
        while heard != (true, true) {
            if let Reply::Publish(delivered) = peer.receive() {
                let own = delivered.topic.starts_with("$SYS/");
                peer.assert(own || delivered.topic == "plain", "nothing else was published");
                heard = (heard.0 || own, heard.1 || !own);
            }
        }
    }
}

// v311[4.7.3-3] v5[4.7.3-3] traps[49]
#[test]
fn the_longest_topic_is_delivered() {
    for version in BOTH {
        let head = unique("long/");
        let topic = format!("{head}{}", "x".repeat(65_535 - head.len()));
        let mut reader = broker().client(version);
        reader.subscribe(&topic, 1);
        broker().client(version).publish(publish(&topic, "x").qos(1));
        reader.take(&topic, "x", 1);
        // It also fits under a wildcard.
        reader.unsubscribe(&topic);
        reader.subscribe(&format!("{}/#", head.trim_end_matches('/')), 1);
        reader.expect_silence();
    }
}

// v5[4.13.1-1] traps[49]
#[test]
fn a_filter_of_65535_slashes_is_answered_and_stops_nobody() {
    for version in BOTH {
        let mut peer = broker().client(version);
        let mut other = broker().client(version);
        peer.send(subscribe(1).filter("/".repeat(65_535), 0));
        other.ping();
        match peer.receive() {
            // Granted, or refused as a filter beyond a limit.
            Reply::SubAck(codes) => peer.assert(codes.codes.len() == 1, "one code"),
            Reply::Disconnect(_) => {}
            _ => peer.fail("expected an answer to the subscription"),
        }
        other.ping();
    }
}

// v5[4.7.3-1] v311[4.7.3-1]
#[test]
fn the_shortest_topics_work() {
    for version in BOTH {
        let root = unique("short");
        for topic in [format!("/{root}"), format!("{root}/"), format!("//{root}//")] {
            let mut reader = broker().client(version);
            reader.subscribe(&topic, 0);
            broker().client(version).publish(publish(&topic, "x"));
            reader.take(&topic, "x", 0);
        }
    }
    let mut peer = broker().client(sluice_tests::packet::V5);
    peer.request_subscription(subscribe(1).filter("/", 0).property(Property::SubscriptionId(1)));
    peer.send(publish("/", "x"));
    peer.take("/", "x", 0);
}

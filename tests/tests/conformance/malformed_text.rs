//! Ill-formed strings: U+0000, surrogates, overlong and truncated sequences.

use crate::brokers::broker;
use sluice_tests::packet::{BOTH, Encode, V5, Version, disconnect, puback, publish, subscribe, unsubscribe};
use sluice_tests::property::Property::Raw;
use sluice_tests::property::prefixed;
use sluice_tests::unique;

/// None of these is a UTF-8 Encoded String.
const ILL_FORMED: [&[u8]; 8] = [
    b"\0",
    b"a\0b",
    b"\xED\xA0\x80",     // U+D800
    b"\xED\xBF\xBF",     // U+DFFF
    b"\xC0\x80",         // U+0000, overlong
    b"\xE0\x80\xAF",     // overlong
    b"\xF4\x90\x80\x80", // above U+10FFFF
    b"cut\xE2\x82",      // truncated
];

fn check_ends(version: Version, packet: impl Encode) {
    let mut peer = broker().client(version);
    peer.send(packet);
    peer.expect_disconnected(&[0x81, 0x82, 0x8F, 0x90]);
}

// v311[1.5.3-1 1.5.3-2 3.3.2-1 4.7.3-2] v5[1.5.4-1 1.5.4-2 3.3.2-1 4.7.3-2] traps[46]
#[test]
fn in_a_topic_name() {
    for version in BOTH {
        for text in ILL_FORMED {
            check_ends(version, publish(text, "x"));
            check_ends(version, publish(text, "x").qos(2).id(1));
        }
    }
}

// v311[1.5.3-1 1.5.3-2 3.8.3-1 3.10.3-1 4.7.3-2] v5[1.5.4-1 1.5.4-2 3.8.3-1 3.10.3-1 4.7.3-2] traps[46]
#[test]
fn in_a_topic_filter() {
    for version in BOTH {
        for text in ILL_FORMED {
            check_ends(version, subscribe(1).filter(text, 0));
            check_ends(version, unsubscribe(1).filter(text));
        }
    }
}

// v5[1.5.4-1 1.5.4-2 1.5.7-1 3.3.2-13 3.3.2-19] traps[46]
#[test]
fn in_a_property() {
    for text in ILL_FORMED {
        let string = |id: u8| Raw([&[id][..], &prefixed(text)].concat());
        let name = Raw([&[0x26][..], &prefixed(text), &prefixed("value")].concat());
        let value = Raw([&[0x26][..], &prefixed("name"), &prefixed(text)].concat());
        let message = publish(unique("t/"), "x");
        check_ends(V5, message.clone().property(string(0x03)));
        check_ends(V5, message.clone().property(string(0x08)));
        check_ends(V5, message.clone().property(name.clone()));
        check_ends(V5, message.property(value.clone()));
        check_ends(V5, puback(1).property(string(0x1F)));
        check_ends(V5, subscribe(1).filter("a", 0).property(name));
        check_ends(V5, unsubscribe(1).filter("a").property(value));
        check_ends(V5, disconnect(0).property(string(0x1F)));
    }
}

// v311[1.5.3-3] v5[1.5.4-3 1.5.4-1] traps[46]
#[test]
fn noncharacters_and_control_characters_are_well_formed() {
    for version in BOTH {
        for text in ["\u{FEFF}", "\u{FFFF}", "\u{10FFFF}", "\u{1}", "\u{7F}", "\u{85}"] {
            let topic = format!("{}/{text}", unique("odd"));
            let mut subscriber = broker().client(version);
            subscriber.subscribe(&topic, 0);
            broker().client(version).publish(publish(&topic, "x"));
            subscriber.take(&topic, "x", 0);
        }
    }
}

//! SUBSCRIBE, UNSUBSCRIBE and their answers: what they must not contain.

use crate::reject::{V5_ONLY, check, reject};
use crate::{ALL, BEFORE_5, V31, V311, block, packet};
use sluice_mqtt::packet::{PacketType, Version};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::topic::FilterError;
use sluice_mqtt::wire::{Malformed, Violation, WireError};

/// SUBSCRIBE and UNSUBSCRIBE with one filter.
fn with_filter(filter: &[u8]) -> [(&'static [Version], Vec<u8>); 4] {
    let filter = crate::field(filter);
    [
        (BEFORE_5, packet(0x82, &[b"\x00\x01", &filter, b"\x00"])),
        (BEFORE_5, packet(0xA2, &[b"\x00\x01", &filter])),
        (V5_ONLY, packet(0x82, &[b"\x00\x01\x00", &filter, b"\x00"])),
        (V5_ONLY, packet(0xA2, &[b"\x00\x01\x00", &filter])),
    ]
}

#[test]
fn topic_filters_are_strict() {
    use FilterError::{
        BadShare, Empty, MisplacedMultiLevelWildcard as Multi, MisplacedSingleLevelWildcard as Single,
    };
    let filters: &[(&[u8], FilterError)] = &[
        (b"", Empty),
        (b"a#", Multi),
        (b"#/a", Multi),
        (b"a/#/b", Multi),
        (b"a/#b", Multi),
        (b"##", Multi),
        (b"#/", Multi),
        (b"a+", Single),
        (b"+a", Single),
        (b"a/b+/c", Single),
        (b"++", Single),
        (b"a/+b", Single),
        (b"$share/g", BadShare),
        (b"$share/", BadShare),
        (b"$share//t", BadShare),
        (b"$share/g/", BadShare),
        (b"$share/g+/t", BadShare),
        (b"$share/+/t", BadShare),
        (b"$share/g#/t", BadShare),
        (b"$share/g/a#", Multi),
        (b"$share/g/+a", Single),
    ];
    for (filter, error) in filters {
        let error = Malformed::TopicFilter(*error);
        assert_eq!(error.reason(), ReasonCode::TOPIC_FILTER_INVALID);
        check(&with_filter(filter).map(|(versions, bytes)| ("a filter", versions, bytes, error.into())));
    }
    let texts: &[(&[u8], Malformed)] = &[
        (b"a\0b", Malformed::NullCharacter),
        (b"\xFF", Malformed::NotUtf8),
        (b"a/\xED\xA0\x80", Malformed::NotUtf8),
        (b"\xC0\xAF", Malformed::NotUtf8),
        (b"\xF4\x90\x80\x80", Malformed::NotUtf8),
        (b"\xE2\x82", Malformed::NotUtf8),
    ];
    for (text, error) in texts {
        check(&with_filter(text).map(|(versions, bytes)| ("a text", versions, bytes, (*error).into())));
    }
}

#[test]
fn subscribe_is_strict() {
    use Malformed::{SubscriptionReservedBits as Reserved, Truncated};
    use Violation::{NoFilters, NoLocalOnShared, PacketIdZero, RetainHandling3, SubscribeQos3};
    let v3 = |body: &[u8]| packet(0x82, &[body]);
    let v5 = |body: &[u8]| packet(0x82, &[b"\x00\x01\x00", body]);
    reject! {
        "nothing", ALL, v3(b"") => Truncated;
        "packet id 0", ALL, v3(b"\x00\x00\x00\x01a\x00") => PacketIdZero;
        "no filter", BEFORE_5, v3(b"\x00\x01") => NoFilters;
        "no filter", V5_ONLY, v5(b"") => NoFilters;
        "no property length", V5_ONLY, v3(b"\x00\x01") => Truncated;
        "no options", BEFORE_5, v3(b"\x00\x01\x00\x01a") => Truncated;
        "no options", V5_ONLY, v5(b"\x00\x01a") => Truncated;
        "a second filter without options", BEFORE_5, v3(b"\x00\x01\x00\x01a\x00\x00\x01b") => Truncated;
        "a filter past the end", BEFORE_5, v3(b"\x00\x01\x00\x09a\x00") => Truncated;
        "a filter past the end", V5_ONLY, v5(b"\x00\x09a\x00") => Truncated;
        "half a filter length", V5_ONLY, v5(b"\x00") => Truncated;
        "QoS 3", BEFORE_5, v3(b"\x00\x01\x00\x01a\x03") => SubscribeQos3;
        "QoS 3", V5_ONLY, v5(b"\x00\x01a\x03") => SubscribeQos3;
        "retain handling 3", V5_ONLY, v5(b"\x00\x01a\x30") => RetainHandling3;
        "no local on $share", V5_ONLY, v5(b"\x00\x0A$share/g/t\x04") => NoLocalOnShared;
    }
    for bit in 0..8 {
        let options = [b"\x00\x01a".as_slice(), &[1 << bit]].concat();
        if bit >= 6 {
            reject! { "a reserved bit", V5_ONLY, v5(&options) => Reserved; }
        }
        if bit >= 2 {
            let options = [b"\x00\x01", options.as_slice()].concat();
            reject! { "an option of 5.0", BEFORE_5, v3(&options) => Reserved; }
        }
    }
}

#[test]
fn unsubscribe_and_the_answers_are_strict() {
    use Malformed::Truncated;
    use Violation::{NoFilters, NoReasonCodes, PacketIdZero, ReasonCode as Reason};
    let none = block(&[]);
    reject! {
        "UNSUBSCRIBE, packet id 0", BEFORE_5, packet(0xA2, &[b"\x00\x00\x00\x01a"]) => PacketIdZero;
        "UNSUBSCRIBE of nothing", BEFORE_5, packet(0xA2, &[b"\x00\x01"]) => NoFilters;
        "UNSUBSCRIBE of nothing", V5_ONLY, packet(0xA2, &[b"\x00\x01", &none]) => NoFilters;
        "UNSUBSCRIBE without property length", V5_ONLY, packet(0xA2, &[b"\x00\x01"]) => Truncated;
        "UNSUBSCRIBE cut", ALL, packet(0xA2, &[b"\x00\x01\x00\x05a"]) => Truncated;
        "SUBACK, packet id 0", ALL, packet(0x90, &[b"\x00\x00\x00\x00"]) => PacketIdZero;
        "SUBACK without reasons", BEFORE_5, packet(0x90, &[b"\x00\x01"]) => NoReasonCodes;
        "SUBACK without reasons", V5_ONLY, packet(0x90, &[b"\x00\x01", &none]) => NoReasonCodes;
        "SUBACK, code 3", BEFORE_5, packet(0x90, &[b"\x00\x01\x03"]) => Reason(PacketType::SubAck, 3);
        "SUBACK, 0x87 before 5.0", BEFORE_5, packet(0x90, &[b"\x00\x01\x87"]) => Reason(PacketType::SubAck, 0x87);
        "SUBACK, 0x92", V5_ONLY, packet(0x90, &[b"\x00\x01\x00\x92"]) => Reason(PacketType::SubAck, 0x92);
        "UNSUBACK, packet id 0", ALL, packet(0xB0, &[b"\x00\x00"]) => PacketIdZero;
        "UNSUBACK without reasons", V5_ONLY, packet(0xB0, &[b"\x00\x01", &none]) => NoReasonCodes;
        "UNSUBACK, granted QoS", V5_ONLY, packet(0xB0, &[b"\x00\x01\x00\x01"]) => Reason(PacketType::UnsubAck, 1);
        "CONNACK of one byte", ALL, packet(0x20, &[b"\x00"]) => Truncated;
        "CONNACK flags", ALL, packet(0x20, &[b"\x02\x00"]) => Malformed::ConnAckReservedFlags;
        "session present in 3.1", &[V31], packet(0x20, &[b"\x01\x00"]) => Malformed::ConnAckReservedFlags;
        "CONNACK, code 6", BEFORE_5, packet(0x20, &[b"\x00\x06"]) => Reason(PacketType::ConnAck, 6);
        "CONNACK, code 1", V5_ONLY, packet(0x20, &[b"\x00\x01", &none]) => Reason(PacketType::ConnAck, 1);
        "session present, refused", &[V311], packet(0x20, &[b"\x01\x05"]) => Violation::SessionPresentOnRefusal;
        "session present, refused", V5_ONLY, packet(0x20, &[b"\x01\x87", &none]) => Violation::SessionPresentOnRefusal;
        "CONNACK, data without method", V5_ONLY, packet(0x20, &[b"\x00\x00", &block(&[b"\x16\x00\x00"])]) => Violation::AuthDataWithoutMethod;
    }
}

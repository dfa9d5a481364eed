//! Random packets that are valid in their version.

use crate::{V5, V31, V311};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use sluice_mqtt::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, PacketType, Publish, PublishProperties, QoS,
    RetainHandling, SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe, UserProperties, Version,
    Will,
};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::{TopicFilter, TopicName};
use sluice_mqtt::wire::property::{ForwardedBuilder, ForwardedProperty};
use std::num::{NonZeroU16, NonZeroU32};

fn text() -> impl Strategy<Value = Text> {
    "[^\0]{0,12}".prop_map(|text| Text::try_from(text).unwrap())
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[^\0#+]{1,12}".prop_map(|text| TopicName::new(Text::try_from(text).unwrap()).unwrap())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    "(\\$share/[a-z]{1,3}/)?([a-z]{0,3}/|\\+/){0,3}(#|\\+|[a-zé]{1,3})"
        .prop_map(|text| TopicFilter::new(Text::try_from(text).unwrap()).unwrap())
}

fn binary() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => binary(), 1 => Just(Bytes::from(vec![7; 200])), 1 => Just(Bytes::from(vec![7; 5000]))]
}

fn user() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..3)
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|qos| QoS::new(qos).unwrap())
}

fn reason(codes: &'static [u8]) -> impl Strategy<Value = ReasonCode> {
    proptest::sample::select(codes).prop_map(|code| ReasonCode::new(code).unwrap())
}

fn forwarded() -> impl Strategy<Value = Bytes> {
    (
        any::<Option<bool>>(),
        of(text()),
        of(topic()),
        of(binary()),
        user(),
    )
        .prop_map(|(format, content_type, response, correlation, user)| {
            let mut builder = ForwardedBuilder::new();
            for (name, value) in &user {
                builder.push(ForwardedProperty::User(name, value));
            }
            if let Some(format) = format {
                builder.push(ForwardedProperty::PayloadFormat(u8::from(format)));
            }
            if let Some(content_type) = &content_type {
                builder.push(ForwardedProperty::ContentType(content_type));
            }
            if let Some(response) = &response {
                builder.push(ForwardedProperty::ResponseTopic(response));
            }
            if let Some(correlation) = &correlation {
                builder.push(ForwardedProperty::CorrelationData(correlation));
            }
            builder.finish().unwrap()
        })
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish> {
    let ids = vec(1..=268_435_455_u32, 0..3);
    let properties = (forwarded(), any::<Option<u32>>(), of(1..=u16::MAX), ids);
    let head = (
        any::<bool>(),
        qos(),
        any::<bool>(),
        packet_id(),
        topic(),
        any::<bool>(),
    );
    (head, properties, payload()).prop_map(move |(head, properties, payload)| {
        let (dup, qos, retain, packet_id, topic, named) = head;
        let (forwarded, message_expiry_seconds, topic_alias, subscription_ids) = properties;
        let properties = match version {
            V5 => PublishProperties {
                forwarded,
                message_expiry_seconds,
                topic_alias,
                subscription_ids,
            },
            _ => PublishProperties::default(),
        };
        Publish {
            dup: dup && qos > QoS::AtMostOnce,
            qos,
            retain,
            topic: Some(topic).filter(|_| named || properties.topic_alias.is_none()),
            packet_id: Some(packet_id).filter(|_| qos > QoS::AtMostOnce),
            properties,
            payload,
        }
    })
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    let properties = (forwarded(), any::<Option<u32>>(), any::<u32>());
    (topic(), binary(), qos(), any::<bool>(), properties).prop_map(
        move |(topic, payload, qos, retain, (forwarded, message_expiry_seconds, delay))| Will {
            topic,
            payload,
            qos,
            retain,
            delay_seconds: if version == V5 { delay } else { 0 },
            properties: match version {
                V5 => PublishProperties {
                    forwarded,
                    message_expiry_seconds,
                    ..PublishProperties::default()
                },
                _ => PublishProperties::default(),
            },
        },
    )
}

fn connect(version: Version) -> impl Strategy<Value = Connect> {
    let id = if version == V31 {
        "[a-zé]{1,23}"
    } else {
        "[^\0]{1,30}"
    };
    let id = id.prop_map(|id| Text::try_from(id).unwrap());
    let identity = (
        any::<bool>(),
        any::<u16>(),
        id,
        of(will(version)),
        of(text()),
        of(binary()),
    );
    let numbers = (
        any::<Option<u32>>(),
        of(1..=u16::MAX),
        of(1..=u32::MAX),
        any::<u16>(),
    );
    let rest = (any::<bool>(), any::<bool>(), user(), of((text(), of(binary()))));
    (identity, numbers, rest).prop_map(move |(identity, numbers, rest)| {
        let (clean_start, keep_alive_seconds, client_id, will, username, password) = identity;
        let mut connect = Connect {
            keep_alive_seconds,
            will,
            password: password.filter(|_| version == V5 || username.is_some()),
            username,
            ..Connect::new(version, clean_start, client_id)
        };
        if version == V5 {
            connect.session_expiry_seconds = numbers.0;
            connect.receive_max = numbers.1.and_then(NonZeroU16::new);
            connect.packet_bytes_max = numbers.2.and_then(NonZeroU32::new).map(NonZeroU32::get);
            connect.topic_alias_max = numbers.3;
            connect.request_response_information = rest.0;
            connect.request_problem_information = rest.1;
            connect.user_properties = rest.2;
            (connect.auth_method, connect.auth_data) = rest.3.unzip_flat();
        }
        connect
    })
}

/// A method and, with it only, data.
trait UnzipFlat {
    fn unzip_flat(self) -> (Option<Text>, Option<Bytes>);
}

impl UnzipFlat for Option<(Text, Option<Bytes>)> {
    fn unzip_flat(self) -> (Option<Text>, Option<Bytes>) {
        self.map_or((None, None), |(method, data)| (Some(method), data))
    }
}

fn connack() -> impl Strategy<Value = ConnAck> {
    let features = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let numbers = (
        any::<Option<u32>>(),
        of(1..=u16::MAX),
        of(0..2_u8),
        of(1..=u32::MAX),
        any::<u16>(),
    );
    let texts = (of(text()), of(text()), of(text()), of(text()), user());
    let rest = (
        any::<Option<u16>>(),
        of((text(), of(binary()))),
        reason(&[0x00, 0x00, 0x87, 0x9F, 0x95]),
    );
    (features, numbers, texts, rest).prop_map(|(features, numbers, texts, rest)| {
        let (auth_method, auth_data) = rest.1.unzip_flat();
        ConnAck {
            session_present: features.0 && rest.2 == ReasonCode::SUCCESS,
            reason: rest.2,
            session_expiry_seconds: numbers.0,
            receive_max: numbers.1.and_then(NonZeroU16::new),
            qos_max: numbers.2.and_then(QoS::new),
            retain_available: features.1,
            packet_bytes_max: numbers.3,
            assigned_client_id: texts.0,
            topic_alias_max: numbers.4,
            reason_string: texts.1,
            user_properties: texts.4,
            wildcard_available: features.2,
            subscription_ids_available: features.3,
            shared_available: features.4,
            server_keep_alive_seconds: rest.0,
            response_information: texts.2,
            server_reference: texts.3,
            auth_method,
            auth_data,
        }
    })
}

fn ack() -> impl Strategy<Value = Packet> {
    let kinds = [
        PacketType::PubAck,
        PacketType::PubRec,
        PacketType::PubRel,
        PacketType::PubComp,
    ];
    let kind = proptest::sample::select(kinds.to_vec());
    (kind, packet_id(), any::<bool>(), of(text()), user()).prop_map(
        |(kind, id, failed, reason_string, user)| {
            let (error, wrap): (_, fn(Ack) -> Packet) = match kind {
                PacketType::PubAck => (ReasonCode::NOT_AUTHORIZED, Packet::PubAck),
                PacketType::PubRec => (ReasonCode::NO_MATCHING_SUBSCRIBERS, Packet::PubRec),
                PacketType::PubRel => (ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, Packet::PubRel),
                _ => (ReasonCode::PACKET_IDENTIFIER_NOT_FOUND, Packet::PubComp),
            };
            let reason = if failed { error } else { ReasonCode::SUCCESS };
            wrap(Ack {
                packet_id: id,
                reason,
                reason_string,
                user_properties: user,
            })
        },
    )
}

fn options(version: Version) -> impl Strategy<Value = SubscriptionOptions> {
    let handling = [
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::Never,
    ];
    (
        qos(),
        any::<bool>(),
        any::<bool>(),
        proptest::sample::select(handling.to_vec()),
    )
        .prop_map(
            move |(qos, no_local, retain_as_published, retain_handling)| match version {
                V5 => SubscriptionOptions {
                    qos,
                    no_local,
                    retain_as_published,
                    retain_handling,
                },
                _ => SubscriptionOptions {
                    qos,
                    ..SubscriptionOptions::default()
                },
            },
        )
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe> {
    let id = of(1..=268_435_455_u32);
    (packet_id(), id, user(), vec((filter(), options(version)), 1..4)).prop_map(
        move |(packet_id, subscription_id, user_properties, mut filters)| {
            for (filter, options) in &mut filters {
                options.no_local &= filter.share().is_none();
            }
            let (subscription_id, user_properties) = match version {
                V5 => (subscription_id, user_properties),
                _ => (None, Vec::new()),
            };
            Subscribe {
                packet_id,
                subscription_id,
                user_properties,
                filters,
            }
        },
    )
}

pub(crate) fn of_5() -> impl Strategy<Value = Packet> {
    prop_oneof![
        connect(V5).prop_map(|connect| Packet::Connect(Box::new(connect))),
        connack().prop_map(|connack| Packet::ConnAck(Box::new(connack))),
        publish(V5).prop_map(Packet::Publish),
        ack(),
        subscribe(V5).prop_map(Packet::Subscribe),
        unsubscribe(),
        suback(),
        unsuback(),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect(),
        auth(),
    ]
}

fn unsubscribe() -> impl Strategy<Value = Packet> {
    (packet_id(), user(), vec(filter(), 1..4)).prop_map(|(packet_id, user_properties, filters)| {
        Packet::Unsubscribe(Unsubscribe {
            packet_id,
            user_properties,
            filters,
        })
    })
}

fn suback() -> impl Strategy<Value = Packet> {
    let reasons = vec(reason(&[0, 1, 2, 0x80, 0x87, 0x97, 0xA2]), 1..4);
    (packet_id(), of(text()), user(), reasons).prop_map(
        |(packet_id, reason_string, user_properties, reasons)| {
            Packet::SubAck(SubAck {
                packet_id,
                reason_string,
                user_properties,
                reasons,
            })
        },
    )
}

fn unsuback() -> impl Strategy<Value = Packet> {
    let reasons = vec(reason(&[0, 0x11, 0x87]), 1..4);
    (packet_id(), of(text()), user(), reasons).prop_map(
        |(packet_id, reason_string, user_properties, reasons)| {
            Packet::UnsubAck(UnsubAck {
                packet_id,
                reason_string,
                user_properties,
                reasons,
            })
        },
    )
}

fn disconnect() -> impl Strategy<Value = Packet> {
    let reason = reason(&[0, 4, 0x81, 0x8E, 0x95]);
    (reason, any::<Option<u32>>(), of(text()), user(), of(text())).prop_map(
        |(reason, session_expiry_seconds, reason_string, user_properties, server_reference)| {
            Packet::Disconnect(Disconnect {
                reason,
                session_expiry_seconds,
                reason_string,
                user_properties,
                server_reference,
            })
        },
    )
}

fn auth() -> impl Strategy<Value = Packet> {
    let reason = reason(&[0x00, 0x18, 0x19]);
    (reason, text(), of(binary()), of(text()), user()).prop_map(
        |(reason, method, data, reason_string, user_properties)| {
            Packet::Auth(Auth {
                reason,
                method: Some(method),
                data,
                reason_string,
                user_properties,
            })
        },
    )
}

pub(crate) fn before_5() -> impl Strategy<Value = (Version, Packet)> {
    prop_oneof![Just(V31), Just(V311)].prop_flat_map(|version| (Just(version), of_3(version)))
}

fn of_3(version: Version) -> impl Strategy<Value = Packet> {
    const CODES: &[ReasonCode] = &[
        ReasonCode::SUCCESS,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        ReasonCode::SERVER_UNAVAILABLE,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        ReasonCode::NOT_AUTHORIZED,
    ];
    let connack = (proptest::sample::select(CODES), any::<bool>());
    prop_oneof![
        connect(version).prop_map(|mut connect| {
            connect.clean_start |= connect.client_id.is_empty();
            Packet::Connect(Box::new(connect))
        }),
        connack.prop_map(move |(reason, present)| {
            let mut connack = ConnAck::new(reason);
            connack.session_present = present && version == V311 && reason == ReasonCode::SUCCESS;
            Packet::ConnAck(Box::new(connack))
        }),
        publish(version).prop_map(Packet::Publish),
        packet_id().prop_map(|id| Packet::PubAck(Ack::new(id, ReasonCode::SUCCESS))),
        packet_id().prop_map(|id| Packet::PubRec(Ack::new(id, ReasonCode::SUCCESS))),
        packet_id().prop_map(|id| Packet::PubRel(Ack::new(id, ReasonCode::SUCCESS))),
        packet_id().prop_map(|id| Packet::PubComp(Ack::new(id, ReasonCode::SUCCESS))),
        subscribe(version).prop_map(Packet::Subscribe),
        (packet_id(), vec(reason(&[0, 1, 2, 0x80]), 1..4)).prop_map(|(packet_id, reasons)| {
            Packet::SubAck(SubAck {
                packet_id,
                reason_string: None,
                user_properties: Vec::new(),
                reasons,
            })
        }),
        (packet_id(), vec(filter(), 1..4)).prop_map(|(packet_id, filters)| {
            Packet::Unsubscribe(Unsubscribe {
                packet_id,
                user_properties: Vec::new(),
                filters,
            })
        }),
        packet_id().prop_map(|packet_id| {
            Packet::UnsubAck(UnsubAck {
                packet_id,
                reason_string: None,
                user_properties: Vec::new(),
                reasons: Vec::new(),
            })
        }),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        Just(Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS))),
    ]
}

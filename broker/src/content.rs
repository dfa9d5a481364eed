//! Between a message and what content policies see of it.

use crate::policy::verdict::{ContentMessage, Refusal};
use crate::report;
use bytes::Bytes;
use sluice_mqtt::conn::Received;
use sluice_mqtt::packet::Will;
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicName;
use sluice_mqtt::wire::property::{ForwardedBuilder, ForwardedProperties, ForwardedProperty};

/// What is seen of a message that was received.
pub(crate) fn of_received(received: &Received) -> ContentMessage {
    let message = ContentMessage {
        topic: received.topic().to_owned(),
        payload: received.payload_shared(),
        qos: received.qos() as u8,
        retain: received.retain(),
        ..ContentMessage::default()
    };
    with_properties(message, received.forwarded())
}

/// What is seen of a will.
pub(crate) fn of_will(will: &Will) -> ContentMessage {
    let message = ContentMessage {
        topic: will.topic.to_string(),
        payload: will.payload.clone(),
        qos: will.qos as u8,
        retain: will.retain,
        ..ContentMessage::default()
    };
    with_properties(message, &will.properties.forwarded)
}

fn with_properties(mut message: ContentMessage, forwarded: &[u8]) -> ContentMessage {
    for property in ForwardedProperties::new(forwarded) {
        match property {
            ForwardedProperty::PayloadFormat(_) => {}
            ForwardedProperty::ContentType(text) => message.content_type = Some(text.to_string()),
            ForwardedProperty::ResponseTopic(text) => message.response_topic = Some(text.to_string()),
            ForwardedProperty::CorrelationData(data) => message.correlation_data = Some(data.to_vec().into()),
            ForwardedProperty::User(name, value) => {
                message
                    .user_properties
                    .push((name.to_string(), value.to_string()));
            }
        }
    }
    message
}

/// The topic and forwarded properties that a content policy wants instead of those a message had.
///
/// # Errors
/// They are not valid: the message is refused.
pub(crate) fn parts(
    message: &ContentMessage,
    forwarded_before: &[u8],
) -> Result<(TopicName, Bytes), Refusal> {
    valid_parts(message, forwarded_before).ok_or_else(|| {
        let reason = ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR.code();
        report::by_broker(reason, "a content policy returned an invalid message")
    })
}

fn valid_parts(message: &ContentMessage, forwarded_before: &[u8]) -> Option<(TopicName, Bytes)> {
    let topic = TopicName::new(Text::try_from(message.topic.as_str()).ok()?).ok()?;
    let mut forwarded = ForwardedBuilder::new();
    for property in ForwardedProperties::new(forwarded_before) {
        if let ForwardedProperty::PayloadFormat(_) = property {
            forwarded.push(property);
        }
    }
    if let Some(content_type) = &message.content_type {
        forwarded.push(ForwardedProperty::ContentType(content_type));
    }
    if let Some(response_topic) = &message.response_topic {
        forwarded.push(ForwardedProperty::ResponseTopic(response_topic));
    }
    if let Some(data) = &message.correlation_data {
        forwarded.push(ForwardedProperty::CorrelationData(data));
    }
    for (name, value) in &message.user_properties {
        forwarded.push(ForwardedProperty::User(name, value));
    }
    Some((topic, forwarded.finish().ok()?))
}

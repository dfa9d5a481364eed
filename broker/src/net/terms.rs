//! Translations at the edge: packets to what policies see, and budgets and limits to what the protocol enforces.

use super::enforced::Enforced;
use crate::hub::SessionKey;
use crate::policy::verdict::{
    Admission, ConnectPurpose, ConnectRequest, Peer, ProtocolVersion, Refusal, WillSummary,
};
use crate::report;
use sluice_mqtt::packet::{Auth, ConnAck, Connect, PublishProperties, QoS, Version, Will};
use sluice_mqtt::reason::ReasonCode;
use sluice_mqtt::text::Text;
use sluice_mqtt::topic::TopicName;
use std::num::NonZeroU16;
use std::sync::Arc;

/// The CONNACK of a client that was let in; values at their defaults are not told.
pub(super) fn connack(
    connect: &Connect,
    admission: &Admission,
    enforced: &Enforced,
    assigned_client_id: Option<Text>,
    session_present: bool,
) -> ConnAck {
    let mut connack = ConnAck::new(ReasonCode::SUCCESS);
    let expiry = enforced.session_expiry_seconds(connect);
    let keep_alive = enforced.keep_alive_seconds(connect, admission);
    let text = |text: &Option<String>| text.as_deref().and_then(|text| Text::try_from(text).ok());
    connack.session_present = session_present;
    connack.session_expiry_seconds = (expiry != connect.session_expiry_wanted()).then_some(expiry);
    connack.receive_max = (enforced.receive_max != NonZeroU16::MAX).then_some(enforced.receive_max);
    connack.qos_max = (enforced.qos_max < QoS::ExactlyOnce).then_some(enforced.qos_max);
    connack.retain_available = enforced.retain_available;
    connack.packet_bytes_max = Some(enforced.packet_bytes_max);
    connack.assigned_client_id = assigned_client_id;
    connack.topic_alias_max = enforced.topic_alias_max;
    connack.server_keep_alive_seconds = (keep_alive != connect.keep_alive_seconds).then_some(keep_alive);
    connack.reason_string = text(&admission.connack.reason_string);
    if connect.request_response_information {
        connack.response_information = text(&admission.connack.response_information); // [MQTT-3.1.2-28]
    }
    for (name, value) in &admission.connack.user_properties {
        if let (Ok(name), Ok(value)) = (Text::try_from(name.as_str()), Text::try_from(value.as_str())) {
            connack.user_properties.push((name, value));
        }
    }
    connack.auth_method = connect.auth_method.clone();
    connack.auth_data = admission
        .connack
        .auth_data
        .clone()
        .filter(|_| connect.auth_method.is_some());
    connack
}

/// A CONNECT as policies see it.
pub(super) fn connect_request(
    connect: &Connect,
    session: u64,
    assigned_client_id: Option<String>,
    peer: &Arc<Peer>,
) -> ConnectRequest {
    let pairs = connect
        .user_properties
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    ConnectRequest {
        purpose: ConnectPurpose::Connect,
        session,
        client_id: connect.client_id.to_string(),
        assigned_client_id,
        username: connect.username.as_ref().map(ToString::to_string),
        password: connect.password.clone(),
        protocol: protocol_version(connect.version),
        clean_start: connect.clean_start,
        keep_alive_seconds: connect.keep_alive_seconds,
        session_expiry_seconds: connect.session_expiry_wanted(),
        will: connect.will.as_ref().map(will_summary),
        user_properties: pairs.collect(),
        auth_method: connect.auth_method.as_ref().map(ToString::to_string),
        auth_data: connect.auth_data.clone(),
        peer: Arc::clone(peer),
        nonce: random(),
    }
}

/// As the specification and operators call it.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

fn protocol_version(version: Version) -> ProtocolVersion {
    match version {
        Version::V31 => ProtocolVersion::V3_1,
        Version::V311 => ProtocolVersion::V3_1_1,
        Version::V5 => ProtocolVersion::V5_0,
    }
}

fn will_summary(will: &Will) -> WillSummary {
    WillSummary {
        topic: will.topic.to_string(),
        payload_bytes: u32::try_from(will.payload.len()).unwrap_or(u32::MAX),
        qos: will.qos as u8,
        retain: will.retain,
        delay_seconds: will.delay_seconds,
    }
}

/// Unpredictable bytes; all zero only if the operating system has none, which no session number repeats.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the operating system gives no random bytes");
    }
    bytes
}

/// An identifier for a client that leaves the choice to the broker.
pub(super) fn assigned_client_id() -> String {
    random::<12>()
        .iter()
        .fold(String::from("sluice-"), |mut id, byte| {
            id.push_str(&format!("{byte:02x}"));
            id
        })
}

/// The name of a client's session.
pub(super) fn session_key(client_id: &str, mountpoint: Option<&str>) -> SessionKey {
    SessionKey {
        mountpoint: mountpoint.unwrap_or_default().into(),
        client_id: client_id.into(),
    }
}

/// A will that does not pin the buffer its CONNECT was read into, its delay within the maximum.
pub(super) fn detach_will(will: Will, delay_seconds_max: u32) -> Will {
    let copy = |bytes: &bytes::Bytes| bytes::Bytes::copy_from_slice(bytes);
    let topic = TopicName::new(will.topic.text().detach()).unwrap_or(will.topic);
    let forwarded = copy(&will.properties.forwarded);
    let properties = PublishProperties {
        forwarded,
        ..will.properties
    };
    let delay_seconds = will.delay_seconds.min(delay_seconds_max);
    Will {
        topic,
        payload: copy(&will.payload),
        properties,
        delay_seconds,
        ..will
    }
}

/// What re-authentication tells policies of a client again.
pub(super) struct Identity {
    version: ProtocolVersion,
    username: Option<String>,
    auth_method: Option<String>,
}

impl Identity {
    pub(super) fn new(connect: &Connect) -> Self {
        Self {
            version: protocol_version(connect.version),
            username: connect.username.as_ref().map(ToString::to_string),
            auth_method: connect.auth_method.as_ref().map(ToString::to_string),
        }
    }
}

/// An AUTH 0x19 as policies see it: the identity of the session with new authentication data.
pub(super) fn reauthentication_request(
    identity: &Identity,
    auth: Auth,
    client_id: &str,
    session: u64,
    peer: &Arc<Peer>,
) -> ConnectRequest {
    ConnectRequest {
        purpose: ConnectPurpose::Reauthenticate,
        session,
        client_id: client_id.to_string(),
        assigned_client_id: None,
        username: identity.username.clone(),
        password: None,
        protocol: identity.version,
        clean_start: false,
        keep_alive_seconds: 0,
        session_expiry_seconds: 0,
        will: None,
        user_properties: Vec::new(),
        auth_method: identity.auth_method.clone(),
        auth_data: auth.data,
        peer: Arc::clone(peer),
        nonce: random(),
    }
}

/// A refusal by the broker itself rather than by a policy.
pub(super) fn refusal(reason: ReasonCode, text: &str) -> Refusal {
    report::by_broker(reason.code(), text)
}

/// The reason code of a refusal; what is no reason code counts as Not authorized.
pub(super) fn reason(refusal: &Refusal) -> ReasonCode {
    ReasonCode::new(refusal.reason)
        .filter(|reason| reason.is_error())
        .unwrap_or(ReasonCode::NOT_AUTHORIZED)
}

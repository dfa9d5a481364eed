//! From CONNECT to CONNACK, enhanced authentication, and how a connection ends.

use super::alias::OutboundAliases;
use super::inbound::{Announced, Inbound};
use super::keepalive::KeepAlive;
use super::refusal::listed;
use super::{Breach, CloseCause, Connection, Event, Phase, Reauth};
use crate::limits::PACKET_BYTES_MAX;
use crate::packet::{Auth, ConnAck, Connect, Disconnect, Packet, PacketType, QoS, Version};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::wire::{self, ConnectAnswer};
use bytes::Bytes;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

/// What a socket's first packet must obey.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Versions spoken here.
    pub versions: Vec<Version>,
    /// Largest CONNECT, and largest AUTH before CONNACK.
    pub connect_bytes_max: u32,
    /// Time the client has, from the first byte it could send, for its part up to CONNACK.
    pub connect_timeout: Duration,
}

/// What is enforced on a connection, and, as far as the client has to know, told in CONNACK.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Unacknowledged QoS 1 and 2 PUBLISHes the client may have out. Before 5.0, where it cannot be told: how many
    /// may wait for their acknowledgement before nothing more is read.
    pub receive_max: NonZeroU16,
    /// Largest topic alias of the client; 0: none.
    pub topic_alias_max: u16,
    /// Largest packet of the client, fixed header included; beyond: DISCONNECT 0x95.
    pub packet_bytes_max: u32,
    /// Largest payload of the client; beyond: [`super::Received::payload_too_large`].
    pub payload_bytes_max: u32,
    /// Effective keep alive; 0: none. A client before 5.0 cannot be told: a shorter one than its own surprises it.
    pub keep_alive_seconds: u16,
    /// Effective session expiry; `u32::MAX`: never.
    pub session_expiry_seconds: u32,
}

/// Not even the bare CONNACK is within the Maximum Packet Size of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAckTooLarge;

/// What has to be remembered of CONNECT.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    pub(super) version: Version,
    pub(super) packet_bytes_max: u32,
    pub(super) problem_information: bool,
    clean_start: bool,
    keep_alive_seconds: u16,
    session_expiry_seconds: u32,
    topic_alias_max: u16,
    response_information: bool,
    auth_method: Option<Text>,
}

impl Hello {
    /// Before CONNECT: nothing is known.
    pub(super) fn unknown() -> Self {
        Self {
            version: Version::V5,
            packet_bytes_max: u32::MAX,
            problem_information: true,
            clean_start: true,
            keep_alive_seconds: 0,
            session_expiry_seconds: 0,
            topic_alias_max: 0,
            response_information: false,
            auth_method: None,
        }
    }

    fn new(connect: &Connect) -> Self {
        let v5 = connect.version == Version::V5;
        Self {
            version: connect.version,
            packet_bytes_max: connect.packet_bytes_max.filter(|_| v5).unwrap_or(u32::MAX),
            problem_information: connect.request_problem_information,
            clean_start: connect.clean_start,
            keep_alive_seconds: connect.keep_alive_seconds,
            session_expiry_seconds: connect.session_expiry_seconds.unwrap_or(0),
            topic_alias_max: if v5 { connect.topic_alias_max } else { 0 },
            response_information: connect.request_response_information,
            auth_method: connect.auth_method.as_ref().map(Text::detach),
        }
    }

    pub(super) fn nothing_announced(&self) -> Announced {
        Announced {
            version: self.version,
            receive_max: NonZeroU16::MAX,
            topic_alias_max: 0,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
        }
    }
}

impl Connect {
    /// Seconds the client wants its session to outlive the connection; `u32::MAX`: for ever.
    ///
    /// Before 5.0 a session has no interval: it ends with the connection (Clean Session) or not at all.
    #[must_use]
    pub fn session_expiry_wanted(&self) -> u32 {
        match self.version {
            Version::V5 => self.session_expiry_seconds.unwrap_or(0),
            Version::V31 | Version::V311 if self.clean_start => 0,
            Version::V31 | Version::V311 => u32::MAX,
        }
    }
}

impl Connection {
    /// CONNECT has come.
    pub(super) fn greet(&mut self, connect: Box<Connect>) -> Result<Option<Event>, CloseCause> {
        self.hello = Hello::new(&connect);
        if !self.config.versions.contains(&connect.version) {
            self.write_connack(ConnAck::new(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION));
            self.phase = Phase::Closed;
            return Err(CloseCause::Breach(Breach::VersionNotAllowed));
        }
        self.phase = Phase::Deciding;
        Ok(Some(Event::Connect(connect)))
    }

    /// Lets the client in.
    ///
    /// `connack` brings what the broker has to say beyond `terms`: session present, assigned client id, Maximum QoS
    /// and what else is available, response information, authentication data and so on. Values at their defaults
    /// are not sent, optional parts are left out where they do not fit.
    ///
    /// # Errors
    /// What a client must be told is above its Maximum Packet Size [MQTT-3.1.2-24]. It is not let in, and is still to
    /// be refused.
    pub fn accept(
        &mut self,
        terms: Terms,
        mut connack: ConnAck,
        now: Instant,
    ) -> Result<(), ConnAckTooLarge> {
        debug_assert!(self.phase == Phase::Deciding, "accepting in {:?}", self.phase);
        debug_assert!(
            connack.reason == ReasonCode::SUCCESS,
            "accepting with {}",
            connack.reason
        );
        if self.phase != Phase::Deciding {
            return Ok(());
        }
        let announced = Announced {
            version: self.hello.version,
            receive_max: terms.receive_max,
            topic_alias_max: terms.topic_alias_max,
            qos_max: connack.qos_max.unwrap_or(QoS::ExactlyOnce),
            retain_available: connack.retain_available,
        };
        self.announce(&terms, &mut connack);
        if !self.write_connack(connack) {
            return Err(ConnAckTooLarge);
        }
        let v5 = self.hello.version == Version::V5;
        self.inbound = Inbound::new(announced);
        self.aliases = OutboundAliases::new(self.hello.topic_alias_max);
        self.keep_alive = KeepAlive::new(terms.keep_alive_seconds, now);
        self.session_expiry_seconds = terms.session_expiry_seconds;
        self.limits.packet_bytes_max = terms.packet_bytes_max;
        self.announced_bytes_max = if v5 { terms.packet_bytes_max } else { 0 };
        self.packet_bytes_max = terms.packet_bytes_max;
        self.payload_bytes_max = terms.payload_bytes_max;
        self.config.versions = Vec::new();
        self.phase = Phase::Established(Reauth::None);
        Ok(())
    }

    /// Fills in what the client must know of the terms, and nothing it knows already.
    fn announce(&self, terms: &Terms, connack: &mut ConnAck) {
        let hello = &self.hello;
        connack.session_present &= !hello.clean_start; // [MQTT-3.2.2-2]
        let expiry = terms.session_expiry_seconds;
        connack.session_expiry_seconds = (expiry != hello.session_expiry_seconds).then_some(expiry);
        connack.receive_max = (terms.receive_max != NonZeroU16::MAX).then_some(terms.receive_max);
        connack.qos_max = connack.qos_max.filter(|qos| *qos < QoS::ExactlyOnce);
        connack.topic_alias_max = terms.topic_alias_max;
        // A server that takes the largest packet there can be has no maximum to tell.
        connack.packet_bytes_max = Some(terms.packet_bytes_max).filter(|bytes| *bytes < PACKET_BYTES_MAX);
        let keep_alive = terms.keep_alive_seconds;
        connack.server_keep_alive_seconds = (keep_alive != hello.keep_alive_seconds).then_some(keep_alive);
        if !hello.response_information {
            connack.response_information = None; // [MQTT-3.1.2-28]
        }
        connack.auth_method.clone_from(&hello.auth_method); // [MQTT-4.12.0-5], [MQTT-4.12.0-6]
        if hello.auth_method.is_none() {
            connack.auth_data = None;
        }
    }

    /// Turns the client away with a reason of 0x80 or above, and closes.
    pub fn refuse(&mut self, mut connack: ConnAck) {
        debug_assert!(connack.reason.is_error(), "refusing with {}", connack.reason);
        if matches!(self.phase, Phase::Deciding | Phase::Challenged) {
            connack.session_present = false; // [MQTT-3.2.2-6]
            self.write_connack(connack);
        }
        self.phase = Phase::Closed; // [MQTT-3.2.2-7]
    }

    /// Asks the client for more, before CONNACK or during re-authentication.
    ///
    /// A client without an authentication method cannot be asked [MQTT-4.12.0-6]: it is refused (0x8C). One whose
    /// Maximum Packet Size is below the question would wait for it for ever: its connection ends.
    pub fn challenge(&mut self, data: Option<Bytes>) {
        let next = match self.phase {
            Phase::Deciding if self.hello.auth_method.is_none() => {
                self.refuse(ConnAck::new(ReasonCode::BAD_AUTHENTICATION_METHOD));
                return;
            }
            Phase::Deciding => Phase::Challenged,
            Phase::Established(Reauth::Judging) => Phase::Established(Reauth::Challenged),
            other => {
                debug_assert!(false, "a challenge in {other:?}");
                return;
            }
        };
        // [MQTT-4.12.0-2]
        if self.write_auth(ReasonCode::CONTINUE_AUTHENTICATION, data) {
            self.phase = next;
        } else if self.is_established() {
            self.disconnect(ReasonCode::PACKET_TOO_LARGE, None, None);
        } else {
            self.refuse(ConnAck::new(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR));
        }
    }

    /// Ends a re-authentication with success. Failure is a [`Connection::disconnect`] [MQTT-4.12.1-2].
    pub fn reauthenticated(&mut self, data: Option<Bytes>) {
        debug_assert!(
            self.phase == Phase::Established(Reauth::Judging),
            "re-authenticated in {:?}",
            self.phase
        );
        if self.phase == Phase::Established(Reauth::Judging) {
            self.phase = Phase::Established(Reauth::None);
            if !self.write_auth(ReasonCode::SUCCESS, data) {
                self.disconnect(ReasonCode::PACKET_TOO_LARGE, None, None);
            }
        }
    }

    /// Ends the connection: a DISCONNECT for those who know it (5.0, after CONNACK [MQTT-3.14.0-1]), then closed.
    pub fn disconnect(
        &mut self,
        reason: ReasonCode,
        reason_string: Option<&str>,
        server_reference: Option<&str>,
    ) {
        let text = |text: Option<&str>| text.and_then(|text| Text::try_from(text).ok());
        if self.is_established() && self.hello.version == Version::V5 {
            let disconnect = Disconnect {
                reason_string: text(reason_string),
                server_reference: text(server_reference),
                ..Disconnect::new(listed(PacketType::Disconnect, reason))
            };
            self.write(Packet::Disconnect(disconnect));
        }
        self.phase = Phase::Closed; // [MQTT-3.14.4-1], [MQTT-3.14.4-2]
    }

    /// Closes because of `cause`, with what can be said about it.
    pub(super) fn fail(&mut self, cause: CloseCause) -> Event {
        match &cause {
            CloseCause::Connect(error) => {
                if let ConnectAnswer::ConnAck(version, reason) = error.answer {
                    self.hello.version = version;
                    self.write_connack(ConnAck::new(reason));
                }
            }
            _ if self.phase == Phase::Challenged => {
                if cause != CloseCause::ConnectTimeout {
                    self.write_connack(ConnAck::new(cause.reason()));
                }
            }
            _ => self.disconnect(cause.reason(), None, None),
        }
        self.phase = Phase::Closed;
        Event::Closed(cause)
    }

    /// An AUTH before CONNACK.
    pub(super) fn continue_handshake(&mut self, auth: Auth) -> Result<Event, Breach> {
        if auth.method != self.hello.auth_method {
            return Err(Breach::AuthMethodChanged);
        }
        if auth.reason != ReasonCode::CONTINUE_AUTHENTICATION {
            return Err(Breach::UnexpectedAuth); // [MQTT-4.12.0-3]
        }
        self.phase = Phase::Deciding;
        Ok(Event::AuthResponse(Box::new(auth)))
    }

    /// An AUTH after CONNACK.
    pub(super) fn reauthenticate(&mut self, auth: Auth, reauth: Reauth) -> Result<Event, Breach> {
        if self.hello.auth_method.is_none() {
            return Err(Breach::AuthWithoutMethod);
        }
        if auth.method != self.hello.auth_method {
            return Err(Breach::ReauthMethodChanged);
        }
        let event = match (reauth, auth.reason) {
            (Reauth::None, ReasonCode::RE_AUTHENTICATE) => Event::Reauthenticate(Box::new(auth)),
            (Reauth::Challenged, ReasonCode::CONTINUE_AUTHENTICATION) => Event::AuthResponse(Box::new(auth)),
            _ => return Err(Breach::UnexpectedAuth),
        };
        self.phase = Phase::Established(Reauth::Judging);
        Ok(event)
    }

    /// The client's DISCONNECT.
    pub(super) fn client_disconnects(&mut self, disconnect: Disconnect) -> Result<Event, Breach> {
        // The client's own words count, not what the server made of them.
        if self.hello.session_expiry_seconds == 0 && disconnect.session_expiry_seconds.unwrap_or(0) > 0 {
            return Err(Breach::SessionExpiryAtDisconnect);
        }
        self.phase = Phase::Closed;
        Ok(Event::Disconnect(disconnect))
    }

    /// False: it is above the client's Maximum Packet Size.
    fn write_auth(&mut self, reason: ReasonCode, data: Option<Bytes>) -> bool {
        let method = self.hello.auth_method.clone();
        self.write(Packet::Auth(Auth {
            reason,
            method,
            data,
            reason_string: None,
            user_properties: Vec::new(),
        }))
    }

    /// False: even without its optional parts it is above the client's Maximum Packet Size.
    fn write_connack(&mut self, mut connack: ConnAck) -> bool {
        connack.reason = listed(PacketType::ConnAck, connack.reason);
        if self.hello.version == Version::V31 {
            connack.session_present = false; // MQTT 3.1 has no such flag.
        }
        self.write(Packet::ConnAck(Box::new(connack)))
    }

    /// Writes a packet, within the client's Maximum Packet Size [MQTT-3.1.2-24].
    pub(super) fn write(&mut self, packet: Packet) -> bool {
        // [MQTT-3.1.2-29]: these two may explain themselves to everyone.
        let explain =
            self.hello.problem_information || matches!(packet, Packet::ConnAck(_) | Packet::Disconnect(_));
        wire::encode_within(
            packet,
            self.hello.version,
            self.hello.packet_bytes_max,
            explain,
            &mut self.output,
        )
    }
}

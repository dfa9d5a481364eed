//! Clients, messages and subscriptions as a test writes them.

use crate::bindings::host::sluice::policy::{services::HttpResponse, types as wit};
use crate::connect::RefreshRequest;
use crate::publish::PublishRequest;
use crate::reason::QoS;
use crate::subscribe::{RetainHandling, SubscribeRequest};
use wit::{
    Admission, Certificate, ConnectPurpose, Message, Peer, ProtocolVersion, RefreshCause, TlsPeer, Will,
};

/// Session id of requests that do not choose theirs.
const SESSION: u64 = 1;

/// A client that connects: MQTT 5.0 from 192.0.2.1, without encryption, user name and password, until told otherwise.
#[derive(Clone, Debug)]
pub struct Client(pub(super) wit::ConnectRequest);

/// A client with this id.
pub fn client(id: &str) -> Client {
    Client(wit::ConnectRequest {
        purpose: ConnectPurpose::Connect,
        session: SESSION,
        client_id: id.to_owned(),
        username: None,
        password: None,
        protocol: ProtocolVersion::V50,
        clean_start: true,
        keep_alive_seconds: 60,
        session_expiry_seconds: 0,
        will: None,
        user_properties: Vec::new(),
        auth_method: None,
        auth_data: None,
        peer: Peer {
            address: "192.0.2.1".to_owned(),
            port: 50_000,
            listener: "default".to_owned(),
            proxied_by: None,
            tls: None,
        },
        nonce: vec![7; 32],
    })
}

impl Client {
    /// Is known to the policy by this session id, which is 1 until told otherwise.
    #[must_use]
    pub fn session(mut self, session: u64) -> Self {
        self.0.session = session;
        self
    }

    /// Sets the user name.
    #[must_use]
    pub fn username(mut self, name: &str) -> Self {
        self.0.username = Some(name.to_owned());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.0.password = Some(password.as_ref().to_vec());
        self
    }

    /// Comes from this IP address; the empty string is a unix socket.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.0.peer.address = address.to_owned();
        self
    }

    /// Comes through a proxy with this address.
    #[must_use]
    pub fn proxied_by(mut self, address: &str) -> Self {
        self.0.peer.proxied_by = Some(address.to_owned());
        self
    }

    /// Comes to this listener.
    #[must_use]
    pub fn listener(mut self, name: &str) -> Self {
        self.0.peer.listener = name.to_owned();
        self
    }

    /// Speaks this version of MQTT.
    #[must_use]
    pub fn protocol(mut self, version: ProtocolVersion) -> Self {
        self.0.protocol = version;
        self
    }

    /// Connects by TLS, without a certificate.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.0.peer.tls = Some(TlsPeer {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
            sni: None,
            certificate: None,
        });
        self
    }

    /// Connects by TLS with this certificate.
    #[must_use]
    pub fn certificate(self, certificate: Certificate) -> Self {
        let mut client = self.tls();
        if let Some(tls) = &mut client.0.peer.tls {
            tls.certificate = Some(certificate);
        }
        client
    }

    /// Leaves a will of QoS 0 for this topic.
    #[must_use]
    pub fn will(mut self, topic: &str) -> Self {
        let topic = topic.to_owned();
        self.0.will = Some(Will {
            topic,
            payload_bytes: 4,
            qos: 0,
            retain: false,
            delay_seconds: 0,
        });
        self
    }

    /// Adds a user property to CONNECT.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        self.0.user_properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Begins an enhanced authentication.
    #[must_use]
    pub fn auth(mut self, method: &str, data: impl AsRef<[u8]>) -> Self {
        self.0.auth_method = Some(method.to_owned());
        self.0.auth_data = Some(data.as_ref().to_vec());
        self
    }

    /// Re-authenticates on a live connection instead of connecting.
    #[must_use]
    pub fn reauthenticating(mut self) -> Self {
        self.0.purpose = ConnectPurpose::Reauthenticate;
        self
    }

    /// This client's session, looked at again after a swap, if it was let in on these terms.
    pub fn refresh(&self, terms: &Admission) -> RefreshRequest {
        RefreshRequest {
            session: self.0.session,
            tag: terms.tag,
            cause: RefreshCause::Swap,
            client_id: self.0.client_id.clone(),
            username: self.0.username.clone(),
            principal: terms.principal.clone(),
            attributes: terms.attributes.clone(),
            peer: self.0.peer.clone(),
        }
    }
}

/// A client certificate with this common name and nothing else of interest; change its fields as needed.
pub fn certificate(common_name: &str) -> Certificate {
    Certificate {
        subject_cn: Some(common_name.to_owned()),
        san_dns: Vec::new(),
        san_uri: Vec::new(),
        san_email: Vec::new(),
        san_ip: Vec::new(),
        issuer: "CN=Test CA".to_owned(),
        serial: "01".to_owned(),
        fingerprint_sha256: "00".repeat(32),
        not_before_unix_seconds: 0,
        not_after_unix_seconds: u64::MAX,
    }
}

/// A message to this topic: QoS 0, not retained, tag 0, 16 bytes of payload.
pub fn publish(topic: &str) -> PublishRequest {
    let topic = topic.to_owned();
    PublishRequest {
        session: SESSION,
        tag: 0,
        topic,
        qos: QoS::AtMostOnce,
        retain: false,
        payload_bytes: 16,
    }
}

impl From<&str> for PublishRequest {
    fn from(topic: &str) -> Self {
        publish(topic)
    }
}

/// A subscription to this filter: QoS 0, tag 0, no options.
pub fn subscribe(filter: &str) -> SubscribeRequest {
    SubscribeRequest {
        session: SESSION,
        tag: 0,
        filter: filter.to_owned(),
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
        shared: false,
    }
}

impl From<&str> for SubscribeRequest {
    fn from(filter: &str) -> Self {
        subscribe(filter)
    }
}

/// A message with this payload, for `on_message`: QoS 0, not retained, no properties.
pub fn message(topic: &str, payload: impl AsRef<[u8]>) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: payload.as_ref().to_vec(),
        qos: 0,
        retain: false,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    }
}

/// What a service says: this status, and a value as JSON.
pub fn response(status: u16, body: serde_json::Value) -> HttpResponse {
    HttpResponse {
        status,
        content_type: Some("application/json".to_owned()),
        body: body.to_string().into_bytes(),
    }
}

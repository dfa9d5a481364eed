//! The HTTP request that becomes a WebSocket (RFC 6455 section 4.2), and whether it may.

use crate::config::{Origins, WebSocket};
use crate::network::Network;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::header::{HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};

/// What is to be said, and for whom the request was forwarded.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) response: Vec<u8>,
    /// The client a proxy forwards for; port 0 if it does not tell.
    pub(super) forwarded_for: Option<SocketAddr>,
}

/// Why a request does not become a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) enum Refused {
    /// It is no HTTP, or no upgrade as RFC 6455 wants it.
    Malformed(String),
    /// Another version of WebSocket than 13.
    Version,
    TooLong,
    Path(String),
    /// The script of a page that is not among `origins`.
    Origin(String),
    /// The client does not offer `mqtt` [MQTT-6.0.0-3].
    Subprotocol,
    /// A trusted proxy does not tell whom it forwards for.
    Forwarded,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "no WebSocket: {why}"),
            Self::Version => f.write_str("another version of WebSocket than 13"),
            Self::TooLong => f.write_str("the HTTP request is longer than 8 KiB"),
            Self::Path(path) => write!(f, "the path {path:?} is not websocket.path"),
            Self::Origin(origin) => write!(f, "the origin {origin:?} is not in websocket.origins"),
            Self::Subprotocol => f.write_str("the client does not offer the subprotocol mqtt"),
            Self::Forwarded => f.write_str("a trusted proxy sent no usable X-Forwarded-For"),
        }
    }
}

impl Refused {
    /// The whole answer. It repeats nothing that the client sent.
    pub(super) fn response(&self) -> String {
        let (status, more, text) = match self {
            Self::Malformed(_) => ("400 Bad Request", "", "MQTT over WebSocket is served here\n"),
            Self::Version => (
                "426 Upgrade Required",
                "Sec-WebSocket-Version: 13\r\n",
                "WebSocket version 13 is served here\n",
            ),
            Self::TooLong => ("431 Request Header Fields Too Large", "", "too long\n"),
            Self::Path(_) => ("404 Not Found", "", "nothing is here\n"),
            Self::Origin(_) => ("403 Forbidden", "", "pages of this origin may not connect\n"),
            Self::Subprotocol => ("400 Bad Request", "", "offer the subprotocol mqtt\n"),
            Self::Forwarded => ("400 Bad Request", "", "X-Forwarded-For is missing\n"),
        };
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\n{more}Content-Type: text/plain\r\nContent-Length: {length}\r\nConnection: \
             close\r\n\r\n{text}"
        )
    }
}

/// Judges a request whose last line has come. `proxies`: those who must tell whom they forward for, if the request comes
/// from one of them.
pub(super) fn judge(
    head: &[u8],
    settings: &WebSocket,
    proxies: Option<&[Network]>,
) -> Result<Agreed, Refused> {
    let malformed = |error: Error| match error {
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => Refused::Version,
        other => Refused::Malformed(other.to_string()),
    };
    let parsed = Request::try_parse(head).map_err(malformed)?;
    let (length, request) = parsed.ok_or_else(|| Refused::Malformed("an unfinished request".to_owned()))?;
    if length != head.len() {
        return Err(Refused::Malformed("something follows the request".to_owned()));
    }
    if !request.headers().contains_key(HOST) {
        return Err(Refused::Malformed("no Host".to_owned()));
    }
    let path = request.uri().path();
    if path != settings.path {
        return Err(Refused::Path(path.to_owned()));
    }
    let mut response = create_response(&request).map_err(malformed)?;
    check_origins(&request, &settings.origins)?;
    let subprotocol = subprotocol(&request).ok_or(Refused::Subprotocol)?;
    let forwarded_for = proxies
        .map(|proxies| forwarded_for(&request, proxies).ok_or(Refused::Forwarded))
        .transpose()?;
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(malformed)?;
    Ok(Agreed {
        response: bytes,
        forwarded_for,
    })
}

/// Browsers name the page; who names none is no browser and cannot be made to connect by a page.
fn check_origins(request: &Request, origins: &Origins) -> Result<(), Refused> {
    for origin in request.headers().get_all(ORIGIN) {
        let is_allowed = origin.to_str().is_ok_and(|origin| origins.allow(origin));
        if !is_allowed {
            return Err(Refused::Origin(
                String::from_utf8_lossy(origin.as_bytes()).into_owned(),
            ));
        }
    }
    Ok(())
}

/// The one that is spoken: `mqtt`, or what MQTT 3.1 clients offer.
fn subprotocol(request: &Request) -> Option<&'static str> {
    let offered = list(request, &SEC_WEBSOCKET_PROTOCOL);
    let spoken = ["mqtt", "mqttv3.1"];
    spoken
        .into_iter()
        .find(|spoken| offered.iter().any(|offer| offer == spoken))
}

/// The last address that no trusted proxy has: every proxy adds at the end the one it was connected from, and what is
/// before that may be anybody's word.
fn forwarded_for(request: &Request, proxies: &[Network]) -> Option<SocketAddr> {
    let hops = list(request, &FORWARDED_FOR);
    let mut client = None;
    for hop in hops.iter().rev() {
        let address = address(hop)?;
        client = Some(address);
        if !proxies.iter().any(|proxy| proxy.contains(address.ip())) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:4000`, `2001:db8::1` or `[2001:db8::1]:4000`.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let alone = || Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, 0));
    let address = text.parse().ok().or_else(alone)?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// All that is said under this name, in order.
fn list<'r>(request: &'r Request, name: &HeaderName) -> Vec<&'r str> {
    let values = request.headers().get_all(name).iter();
    // What is no text cannot be one of the words that are looked for, and is no address.
    values
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .collect()
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

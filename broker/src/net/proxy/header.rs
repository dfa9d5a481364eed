//! The header of the PROXY protocol, version 1 (a line of text) and 2 (binary), as HAProxy's `proxy-protocol.txt`
//! specifies it. No I/O: bytes in, what they say out.
//!
//! Stricter than the specification asks where a proxy has no reason to differ: addresses are in their usual form, every
//! extension ends where it says, none that counts comes twice. What is not understood is no client's address.

use super::extensions::{self, Extensions};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Longest header of version 2 that is taken: far more than certificates' names and identifiers need.
pub(super) const BYTES_MAX: usize = 4 * 1024;

/// What a proxy says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The connection is the proxy's own, such as a health check.
    Local,
    /// It belongs to a client.
    Client(Box<Client>),
}

/// What a proxy says of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) source: SocketAddr,
    pub(super) extensions: Extensions,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Malformed {
    /// They begin like no header.
    Beginning,
    /// The line of version 1 is not as it must be.
    Line,
    /// The fixed part of version 2 is not as it must be.
    Version2,
    /// More than [`BYTES_MAX`].
    TooLong,
    /// It is about something else than a TCP connection over IP.
    NoAddress,
    /// An extension of version 2 is not as it must be.
    Extension,
    /// The checksum says that it was changed on the way.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Beginning => {
                "no PROXY header; is proxy_protocol to be off, or send-proxy missing at the proxy?"
            }
            Self::Line => "the PROXY line is malformed",
            Self::Version2 => "the PROXY header is malformed",
            Self::TooLong => "the PROXY header is longer than 4 KiB",
            Self::NoAddress => "the PROXY header does not tell the client's address",
            Self::Extension => "the PROXY header has a malformed extension",
            Self::Checksum => "the PROXY header has another checksum than it says",
        })
    }
}

/// The header that `bytes` begin with, and its length. `None`: they end within it, and all of them belong to it.
///
/// # Errors
/// Why there is none, as soon as that is certain.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    if begins_like(bytes, SIGNATURE) {
        return version_2(bytes);
    }
    if begins_like(bytes, LINE_BEGINNING) {
        return version_1(bytes);
    }
    Err(Malformed::Beginning)
}

/// As far as there are bytes.
fn begins_like(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes
        .iter()
        .zip(beginning)
        .all(|(byte, expected)| byte == expected)
}

/// Section 2.1: `PROXY TCP4 192.0.2.1 198.51.100.1 40000 1883\r\n`
fn version_1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let within = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if within.len() < LINE_BYTES_MAX {
            Ok(None)
        } else {
            Err(Malformed::Line)
        };
    };
    let line = within.get(LINE_BEGINNING.len()..end).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let header = match line.split_once(' ') {
        Some(("TCP4", rest)) => of_line::<Ipv4Addr>(rest)?,
        Some(("TCP6", rest)) => of_line::<Ipv6Addr>(rest)?,
        // HAProxy's own checks say this in version 1; what follows is to be ignored.
        _ if line == "UNKNOWN" || line.starts_with("UNKNOWN ") => Header::Local,
        _ => return Err(Malformed::Line),
    };
    Ok(Some((header, end + 2)))
}

/// Source, destination, and the port of each.
fn of_line<A: FromStr + Into<IpAddr>>(rest: &str) -> Result<Header, Malformed> {
    let mut fields = rest.split(' ');
    let mut field = || fields.next().ok_or(Malformed::Line);
    let source: A = field()?.parse().map_err(|_| Malformed::Line)?;
    let _destination: A = field()?.parse().map_err(|_| Malformed::Line)?;
    let source_port = port(field()?)?;
    port(field()?)?;
    if fields.next().is_some() {
        return Err(Malformed::Line);
    }
    Ok(client(source, source_port, Extensions::default()))
}

fn port(text: &str) -> Result<u16, Malformed> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = text.parse().ok().filter(|_| is_plain);
    port.ok_or(Malformed::Line)
}

/// Section 2.2.
fn version_2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let [.., version_and_command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Version2),
    };
    let bytes_all = FIXED_BYTES + length;
    if bytes_all > BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let header = if is_local {
        Header::Local
    } else {
        let whole = bytes.get(..bytes_all).unwrap_or_default();
        of_body(family, body, whole)?
    };
    Ok(Some((header, bytes_all)))
}

fn of_body(family: u8, body: &[u8], whole: &[u8]) -> Result<Header, Malformed> {
    let extensions = |rest| extensions::parse(rest, whole);
    match family {
        TCP_OVER_IPV4 => {
            let (addresses, rest) = body.split_first_chunk::<12>().ok_or(Malformed::Version2)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            Ok(client(Ipv4Addr::new(a, b, c, d), port, extensions(rest)?))
        }
        TCP_OVER_IPV6 => {
            let (addresses, rest) = body.split_first_chunk::<36>().ok_or(Malformed::Version2)?;
            let (source, others) = addresses.split_first_chunk::<16>().ok_or(Malformed::Version2)?;
            let (_destination, ports) = others.split_first_chunk::<16>().ok_or(Malformed::Version2)?;
            let (port, _) = ports.split_first_chunk::<2>().ok_or(Malformed::Version2)?;
            let port = u16::from_be_bytes(*port);
            Ok(client(Ipv6Addr::from(*source), port, extensions(rest)?))
        }
        _ => Err(Malformed::NoAddress),
    }
}

/// IPv4 is always IPv4, also where IPv6 carries it.
fn client(source: impl Into<IpAddr>, port: u16, extensions: Extensions) -> Header {
    Header::Client(Box::new(Client {
        source: SocketAddr::new(source.into().to_canonical(), port),
        extensions,
    }))
}

const LINE_BEGINNING: &[u8] = b"PROXY ";
/// The longest line there can be, with its end (section 2.1).
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

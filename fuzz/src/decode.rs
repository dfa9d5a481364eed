//! The codec: any bytes, in any portions, for any version.
//!
//! Input: a byte that picks the version (of its low two bits; 3: the CONNECT that must come first picks it), a byte
//! that says how the rest arrives (0: at once, n: in portions of n bytes), then the stream.

use bytes::BytesMut;
use sluice_mqtt::packet::{Packet, Version};
use sluice_mqtt::wire::{DecodeLimits, Output, WireError, check_from_client, decode, decode_connect, encode};
use std::io::IoSlice;

/// Small enough that generated lengths meet it.
const LIMITS: DecodeLimits = DecodeLimits {
    packet_bytes_max: 4096,
};

/// Decodes the stream at once and in portions, which must agree, and encodes what was decoded, which must come back.
pub fn run(data: &[u8]) {
    let Some((&[version, portion], stream)) = data.split_first_chunk() else {
        return;
    };
    let first = match version & 3 {
        0 => Some(Version::V31),
        1 => Some(Version::V311),
        2 => Some(Version::V5),
        _ => None,
    };
    let whole = receive(first, stream, stream.len().max(1));
    if portion > 0 {
        let parts = receive(first, stream, usize::from(portion));
        assert_eq!(parts, whole, "portions of {portion}");
    }
    for (version, packet) in &whole.packets {
        comes_back(packet, *version);
    }
}

#[derive(Debug, PartialEq)]
struct Received {
    packets: Vec<(Version, Packet)>,
    error: Option<WireError>,
    /// Bytes of the last packet, which is not complete.
    rest: usize,
}

fn receive(mut version: Option<Version>, stream: &[u8], portion: usize) -> Received {
    let mut received = Received {
        packets: Vec::new(),
        error: None,
        rest: 0,
    };
    let mut input = BytesMut::new();
    for part in stream.chunks(portion) {
        input.extend_from_slice(part);
        loop {
            let (before, capacity) = (input.len(), input.capacity());
            match next(&mut input, version) {
                Ok(Some(packet)) => {
                    assert!(input.len() < before, "a packet is made of bytes");
                    let of = version.unwrap_or_else(|| match &packet {
                        Packet::Connect(connect) => connect.version,
                        other => unreachable!("{other:?} is no CONNECT"),
                    });
                    version = Some(of);
                    // Whatever a client may not send is told, never a panic.
                    let _ = check_from_client(&packet);
                    received.packets.push((of, packet));
                }
                Ok(None) => {
                    assert_eq!(
                        (input.len(), input.capacity()),
                        (before, capacity),
                        "nothing taken, nothing reserved"
                    );
                    break;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty() && error.reason().is_error());
                    received.error = Some(error);
                    return received;
                }
            }
        }
    }
    received.rest = input.len();
    received
}

fn next(input: &mut BytesMut, version: Option<Version>) -> Result<Option<Packet>, WireError> {
    match version {
        Some(version) => decode(input, version, &LIMITS),
        None => match decode_connect(input, &LIMITS) {
            Ok(connect) => Ok(connect.map(Packet::Connect)),
            // What it answers depends on what has arrived, when a CONNECT is too large; the cause does not.
            Err(error) => Err(error.cause),
        },
    }
}

fn comes_back(packet: &Packet, version: Version) {
    let mut out = Output::new();
    encode(packet, version, &mut out);
    let mut slices = [IoSlice::new(&[]); 4];
    let filled = out.chunks_vectored(&mut slices);
    let mut bytes = BytesMut::new();
    for slice in slices.iter().take(filled) {
        bytes.extend_from_slice(slice);
    }
    assert_eq!(bytes.len(), out.len());
    let again = decode(&mut bytes, version, &DecodeLimits::default());
    assert_eq!(again, Ok(Some(packet.clone())));
    assert!(bytes.is_empty());
}

use super::frames::{Decoder, FrameLimits, Requests, Violation};
use super::upgrade::{Agreed, Refused, judge};
use crate::config::{Origins, WebSocket as Settings};
use crate::network::Network;
use proptest::prelude::*;

const LIMITS: FrameLimits = FrameLimits {
    frame_bytes_max: 70_000,
    message_bytes_max: 100_000,
};
const FINAL: u8 = 0x80;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame as a client sends it, masked.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0xA5, 0x00, 0xFF, 0x3C];
    let mut bytes = vec![first_byte];
    match payload.len() {
        short @ ..126 => bytes.push(0x80 | u8::try_from(short).expect("short")),
        medium @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(medium).expect("medium").to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// All payload of what comes in these pieces.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Requests), Violation> {
    let mut decoder = Decoder::new(LIMITS);
    let (mut payload, mut requests) = (Vec::new(), Requests::default());
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let count = decoder.decode(&mut bytes, &mut requests)?;
        payload.extend(&bytes[..count]);
    }
    Ok((payload, requests))
}

fn violation(frames: &[Vec<u8>]) -> Violation {
    decode(&[&frames.concat()]).expect_err("a violation")
}

#[test]
fn payload_is_what_frames_carry_however_long_they_are() {
    let long = vec![7; 70_000];
    let frames = [
        frame(FINAL | BINARY, b"one"),
        frame(BINARY, b"tw"),
        frame(CONTINUE, b""),
        frame(FINAL | PING, b"are you there"),
        frame(FINAL | CONTINUE, b"o"),
        frame(FINAL | PONG, b"unasked"),
        frame(FINAL | BINARY, &[8; 126]),
        frame(FINAL | BINARY, &long),
    ];
    let (payload, requests) = decode(&[&frames.concat()]).expect("proper frames");
    assert_eq!(payload, [b"onetwo", &[8; 126][..], &long].concat());
    assert_eq!(requests.ping.as_deref(), Some(&b"are you there"[..]));
    assert_eq!((requests.idle_frames, requests.close), (3, None));
}

#[test]
fn of_several_pings_the_last_is_answered() {
    let frames = [frame(FINAL | PING, b"1"), frame(FINAL | PING, &[2; 125])];
    let (_, requests) = decode(&[&frames.concat()]).expect("proper frames");
    assert_eq!(requests.ping, Some(vec![2; 125]));
}

#[test]
fn nothing_is_looked_at_behind_a_close() {
    let reason = [&1001u16.to_be_bytes()[..], "bis später".as_bytes()].concat();
    for (payload, code) in [(&reason[..], Some(1001)), (&[][..], None)] {
        let frames = [
            frame(FINAL | BINARY, b"last"),
            frame(FINAL | CLOSE, payload),
            frame(FINAL | TEXT, b"ignored"),
        ];
        let (payload, requests) = decode(&[&frames.concat()]).expect("a proper close");
        assert_eq!((&payload[..], requests.close), (&b"last"[..], Some(code)));
    }
}

#[test]
fn every_broken_rule_is_told_apart() {
    use Violation::*;
    let unmasked = [FINAL | BINARY, 1, 7].to_vec();
    assert_eq!(violation(&[unmasked]), Unmasked);
    for bits in [0x40, 0x20, 0x10] {
        assert_eq!(violation(&[frame(FINAL | BINARY | bits, b"x")]), Header);
    }
    for opcode in [3, 7, 11, 15] {
        assert_eq!(violation(&[frame(FINAL | opcode, b"x")]), Header);
    }
    assert_eq!(violation(&[frame(FINAL | TEXT, b"x")]), Text);
    assert_eq!(violation(&[frame(BINARY, b"x"), frame(TEXT, b"x")]), Text);
    assert_eq!(violation(&[frame(FINAL | CONTINUE, b"x")]), Order);
    assert_eq!(
        violation(&[frame(BINARY, b"x"), frame(FINAL | BINARY, b"x")]),
        Order
    );
    assert_eq!(violation(&[frame(PING, b"x")]), Control);
    assert_eq!(violation(&[frame(FINAL | PING, &[0; 126])]), Control);
    assert_eq!(violation(&[frame(FINAL | CLOSE, &[3])]), Control);
    assert_eq!(
        violation(&[frame(FINAL | CLOSE, &1005u16.to_be_bytes())]),
        Control
    );
    assert_eq!(violation(&[frame(FINAL | CLOSE, &[3, 0xE8, 0xFF])]), Control);
    let codes = [Header, Text, TooLarge, Restless].map(Violation::code);
    assert_eq!(codes, [1002, 1003, 1009, 1008]);
}

#[test]
fn too_large_is_known_before_the_payload_has_come() {
    let header_of = |payload: usize| frame(FINAL | BINARY, &vec![0; payload])[..14].to_vec();
    assert_eq!(violation(&[header_of(70_001)]), Violation::TooLarge);
    assert!(decode(&[&header_of(70_000)]).is_ok());
    let parts = [frame(BINARY, &[0; 60_000]), frame(FINAL | CONTINUE, &[0; 40_001])];
    assert_eq!(violation(&parts), Violation::TooLarge, "together");
    let messages = [
        frame(FINAL | BINARY, &[0; 60_000]),
        frame(FINAL | BINARY, &[0; 60_000]),
    ];
    assert!(decode(&[&messages.concat()]).is_ok(), "each on its own");
    let endless = [&[FINAL | BINARY, 0xFF][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    assert_eq!(violation(&[endless]), Violation::TooLarge);
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), 0..4u8), 1..8),
        cuts in proptest::collection::vec(1..40usize, 0..200),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::<u8>::new());
        for (payload, kind) in &parts {
            match kind {
                0 => bytes.extend(frame(FINAL | PING, &payload[..payload.len().min(125)])),
                1 => {
                    let (first, second) = payload.split_at(payload.len() / 2);
                    bytes.extend([frame(BINARY, first), frame(FINAL | CONTINUE, second)].concat());
                    expected.extend(payload);
                }
                _ => {
                    bytes.extend(frame(FINAL | BINARY, payload));
                    expected.extend(payload);
                }
            }
        }
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        let (payload, _) = decode(&pieces).expect("proper frames");
        prop_assert_eq!(payload, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&[&bytes]);
        let _ = decode(&bytes.chunks(3).collect::<Vec<_>>());
        let _ = judge(&bytes, &Settings::default(), Some(&[]));
    }
}

/// The usual request, with these lines in place of some of it.
fn request(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        ("Host", "broker.test:8083"),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "chat, mqtt"),
    ];
    let mut path = "/mqtt";
    for (name, value) in lines {
        fields.retain(|(other, _)| other != name);
        match *name {
            "path" => path = value,
            _ => fields.extend((!value.is_empty()).then_some((*name, *value))),
        }
    }
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

fn agreed(lines: &[(&str, &str)]) -> Agreed {
    judge(&request(lines), &Settings::default(), None).expect("it is agreed")
}

fn refused(lines: &[(&str, &str)]) -> Refused {
    judge(&request(lines), &Settings::default(), None).expect_err("it is refused")
}

#[test]
fn a_proper_request_is_answered_with_the_subprotocol() {
    let response = String::from_utf8(agreed(&[]).response).expect("text");
    assert!(
        response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{response}"
    );
    // The example of RFC 6455 section 1.3.
    assert!(
        response
            .to_ascii_lowercase()
            .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n")
    );
    assert!(
        response.contains("sec-websocket-protocol: mqtt\r\n"),
        "{response}"
    );
    let old = agreed(&[("Sec-WebSocket-Protocol", "mqttv3.1")]).response;
    assert!(
        String::from_utf8(old)
            .expect("text")
            .contains("sec-websocket-protocol: mqttv3.1\r\n")
    );
    agreed(&[("path", "/mqtt?token=x")]);
}

#[test]
fn a_request_that_lacks_something_is_told_what() {
    let status = |refused: &Refused| refused.response()[9..12].to_owned();
    for (lines, expected) in [
        (("path", "/"), "404"),
        (("Sec-WebSocket-Protocol", ""), "400"),
        (("Sec-WebSocket-Protocol", "mqtt5"), "400"),
        (("Sec-WebSocket-Version", "8"), "426"),
        (("Sec-WebSocket-Key", "short"), "400"),
        (("Upgrade", ""), "400"),
        (("Host", ""), "400"),
        (("Origin", "https://evil.example"), "403"),
    ] {
        assert_eq!(status(&refused(&[lines])), expected, "{lines:?}");
    }
    for head in [
        &b"GET /mqtt HTTP/1.0\r\n\r\n"[..],
        b"POST /mqtt HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x10\x20\0\x04MQTT\r\n\r\n",
    ] {
        assert!(matches!(
            judge(head, &Settings::default(), None),
            Err(Refused::Malformed(_))
        ));
    }
    let followed = [request(&[]), frame(FINAL | BINARY, b"eager")].concat();
    assert!(matches!(
        judge(&followed, &Settings::default(), None),
        Err(Refused::Malformed(_))
    ));
}

#[test]
fn pages_may_connect_if_they_are_named_and_other_clients_need_not_say() {
    let settings = Settings {
        origins: Origins::Only(vec!["https://app.example.org".to_owned()]),
        ..Settings::default()
    };
    let judged = |origin| judge(&request(&[("Origin", origin)]), &settings, None);
    assert!(judged("https://app.example.org").is_ok() && judged("").is_ok());
    assert_eq!(
        judged("https://app.example.org.evil.example")
            .expect_err("refused")
            .to_string(),
        "the origin \"https://app.example.org.evil.example\" is not in websocket.origins"
    );
}

#[test]
fn the_client_is_the_last_that_no_trusted_proxy_is() {
    let proxies: Vec<Network> = ["10.0.0.0/8", "2001:db8::/32"]
        .map(|text| text.parse().expect("a network"))
        .into();
    let told = |header: &str| {
        let agreed = judge(
            &request(&[("X-Forwarded-For", header)]),
            &Settings::default(),
            Some(&proxies),
        );
        agreed.map(|agreed| agreed.forwarded_for.expect("it is told").to_string())
    };
    for (header, client) in [
        ("192.0.2.1", "192.0.2.1:0"),
        ("192.0.2.1:4000", "192.0.2.1:4000"),
        ("[2001:db9::1]:4000", "[2001:db9::1]:4000"),
        ("2001:db9::1", "[2001:db9::1]:0"),
        ("::ffff:192.0.2.1", "192.0.2.1:0"),
        ("203.0.113.9, 192.0.2.1, 10.0.0.2, 2001:db8::7", "192.0.2.1:0"),
        ("nonsense, 192.0.2.1", "192.0.2.1:0"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
    ] {
        assert_eq!(told(header).as_deref(), Ok(client), "{header}");
    }
    for header in [
        "",
        "unknown",
        "192.0.2.1, nonsense",
        "192.0.2.1,",
        "192.0.2.1, \u{fc}",
    ] {
        assert_eq!(told(header), Err(Refused::Forwarded), "{header}");
    }
    let unasked = agreed(&[("X-Forwarded-For", "192.0.2.1")]);
    assert_eq!(unasked.forwarded_for, None, "from somebody who is not trusted");
}

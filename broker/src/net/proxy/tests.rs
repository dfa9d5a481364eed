use super::header::{BYTES_MAX, Client, Header, Malformed, parse};
use super::*;
use proptest::prelude::*;
use std::net::SocketAddr;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// 192.0.2.1:40000 to 198.51.100.1:1883.
const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x9C, 0x40, 0x07, 0x5B];

fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

fn vector(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a short value").to_be_bytes();
    [&[kind], &length[..], value].concat()
}

fn with_vectors(vectors: &[Vec<u8>]) -> Vec<u8> {
    version_2(0x21, 0x11, &[&IPV4[..], &vectors.concat()].concat())
}

/// The client that is told of, by a header of exactly these bytes.
fn client(bytes: &[u8]) -> Client {
    match parse(bytes) {
        Ok(Some((Header::Client(client), length))) => {
            assert_eq!(length, bytes.len());
            *client
        }
        other => panic!("{other:?}"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn wrong(bytes: &[u8]) -> Malformed {
    parse(bytes).expect_err("it is malformed")
}

#[test]
fn a_line_of_version_1_tells_the_clients_address() {
    let ipv4 = client(b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 1883\r\n");
    assert_eq!(ipv4.source, address("192.0.2.1:40000"));
    let ipv6 = client(b"PROXY TCP6 2001:db8::7 ::1 65535 0\r\n");
    assert_eq!(ipv6.source, address("[2001:db8::7]:65535"));
    let carried = client(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n");
    assert_eq!(carried.source, address("192.0.2.1:1"), "IPv4 is always IPv4");
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN what ever 1 2 3\r\n"] {
        let parsed = parse(unknown.as_bytes());
        assert_eq!(parsed, Ok(Some((Header::Local, unknown.len()))));
    }
}

#[test]
fn a_line_that_differs_in_anything_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 40000\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 40000 1883 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 40000 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 040 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +40 1883\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 40 1883\r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 40000 1883\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 40000 1883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 40000 1883\n\r\n",
        "PROXY UNKNOWNTCP4\r\n",
        "PROXY \r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 40000 1883\r\n",
    ] {
        assert_eq!(wrong(line.as_bytes()), Malformed::Line, "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(93));
    assert_eq!(endless.len(), 107);
    assert_eq!(wrong(endless.as_bytes()), Malformed::Line);
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(None));
    for other in [
        &b"\x10\x20\0\x04MQTT"[..],
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXX",
    ] {
        assert_eq!(wrong(other), Malformed::Beginning);
    }
}

#[test]
fn a_header_of_version_2_tells_the_clients_address() {
    assert_eq!(
        client(&version_2(0x21, 0x11, &IPV4)).source,
        address("192.0.2.1:40000")
    );
    let mut ipv6 = [0; 36];
    ipv6[..16].copy_from_slice(
        &"2001:db8::7"
            .parse::<std::net::Ipv6Addr>()
            .expect("an address")
            .octets(),
    );
    ipv6[32..34].copy_from_slice(&7u16.to_be_bytes());
    assert_eq!(
        client(&version_2(0x21, 0x21, &ipv6)).source,
        address("[2001:db8::7]:7")
    );
    for local in [version_2(0x20, 0, &[]), version_2(0x20, 0x11, &[9; 50])] {
        assert_eq!(parse(&local), Ok(Some((Header::Local, local.len()))));
    }
}

#[test]
fn a_header_of_version_2_that_says_something_else_is_refused() {
    assert_eq!(
        wrong(&version_2(0x11, 0x11, &IPV4)),
        Malformed::Version2,
        "version 1"
    );
    assert_eq!(
        wrong(&version_2(0x22, 0x11, &IPV4)),
        Malformed::Version2,
        "command 2"
    );
    assert_eq!(
        wrong(&version_2(0x21, 0x11, &IPV4[1..])),
        Malformed::Version2,
        "too short"
    );
    assert_eq!(
        wrong(&version_2(0x21, 0x21, &IPV4)),
        Malformed::Version2,
        "too short for IPv6"
    );
    for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
        assert_eq!(wrong(&version_2(0x21, family, &[0; 216])), Malformed::NoAddress);
    }
    let long = version_2(0x21, 0x11, &[0; BYTES_MAX - 15]);
    assert_eq!(wrong(&long[..16]), Malformed::TooLong, "before it has come");
}

#[test]
fn extensions_tell_of_encryption_and_identifiers() {
    let tls = [
        &[0x07, 0, 0, 0, 0][..],
        &vector(0x21, b"TLSv1.3"),
        &vector(0x22, "Zähler 7".as_bytes()),
        &vector(0x23, b"TLS_AES_128_GCM_SHA256"),
        &vector(0x25, b"RSA4096"),
    ];
    let vectors = [
        vector(0x01, b"mqtt"),
        vector(0x02, b"mqtt.example.org"),
        vector(0x04, &[0; 9]),
        vector(0x05, b"c0ffee-7"),
        vector(0x20, &tls.concat()),
        vector(0xE0, b"a cloud's own"),
    ];
    let mut peer = Peer {
        address: "10.0.0.1".into(),
        ..Peer::default()
    };
    become_client(&mut peer, client(&with_vectors(&vectors)));
    assert_eq!((peer.address.as_str(), peer.port), ("192.0.2.1", 40_000));
    assert_eq!(peer.proxied_by.as_deref(), Some("10.0.0.1"));
    assert_eq!(peer.unique_id.as_deref(), Some("c0ffee-7"));
    let tls = peer.tls.expect("encrypted");
    assert_eq!(
        (tls.version.as_str(), tls.cipher.as_str()),
        ("TLSv1.3", "TLS_AES_128_GCM_SHA256")
    );
    assert_eq!(tls.sni.as_deref(), Some("mqtt.example.org"));
    let certificate = tls.certificate.expect("a certificate");
    assert_eq!(certificate.subject_cn.as_deref(), Some("Zähler 7"));
    let binary = client(&with_vectors(&[vector(0x05, &[0, 0xFF])])).extensions;
    assert_eq!(binary.unique_id.as_deref(), Some("00ff"));
}

#[test]
fn a_name_counts_only_if_the_proxy_has_verified_its_certificate() {
    let named = |flags: u8, verify: u32| {
        let tls = [&[flags][..], &verify.to_be_bytes(), &vector(0x22, b"meter-7")].concat();
        client(&with_vectors(&[vector(0x20, &tls)])).extensions.tls
    };
    let name = |flags, verify| named(flags, verify).expect("encrypted").common_name;
    assert_eq!(name(0x03, 0).as_deref(), Some("meter-7"));
    assert_eq!(
        name(0x05, 0).as_deref(),
        Some("meter-7"),
        "proven earlier in the session"
    );
    assert_eq!(name(0x03, 10), None, "expired");
    assert_eq!(name(0x01, 0), None, "no certificate");
    assert_eq!(named(0x06, 0), None, "not encrypted");
}

#[test]
fn extensions_that_do_not_fit_are_refused() {
    let of = |vectors: &[u8]| wrong(&version_2(0x21, 0x11, &[&IPV4[..], vectors].concat()));
    assert_eq!(of(&[0x02, 0]), Malformed::Extension, "cut off");
    assert_eq!(
        of(&[0x02, 0, 3, b'a', b'b']),
        Malformed::Extension,
        "longer than the header"
    );
    assert_eq!(of(&vector(0x02, &[0xFF])), Malformed::Extension, "no text");
    assert_eq!(of(&vector(0x05, &[7; 129])), Malformed::Extension);
    assert_eq!(of(&vector(0x20, &[1, 0, 0, 0])), Malformed::Extension);
    assert_eq!(
        of(&vector(0x20, &[1, 0, 0, 0, 0, 0x22, 0, 1])),
        Malformed::Extension
    );
    let twice = [vector(0x02, b"a"), vector(0x02, b"b")].concat();
    assert_eq!(of(&twice), Malformed::Extension);
    assert_eq!(of(&vector(0x03, &[0; 3])), Malformed::Extension);
}

#[test]
fn a_checksum_must_be_right() {
    // CRC32c of "123456789" is E3069283: the usual check, with four zeros in place of the checksum elsewhere.
    let mut header = with_vectors(&[vector(0x03, &[0; 4]), vector(0x02, b"a")]);
    assert_eq!(wrong(&header), Malformed::Checksum);
    let at = 16 + 12 + 3;
    let crc = crc32c(&header);
    header[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(client(&header).extensions.authority.as_deref(), Some("a"));
    header[20] ^= 1;
    assert_eq!(wrong(&header), Malformed::Checksum, "another address");
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
}

/// The other way round than the code under test: by long division, highest bit first.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            crc = if crc & 0x8000_0000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1EDC_6F41
            };
        }
    }
    (!crc).reverse_bits()
}

proptest! {
    #[test]
    fn a_header_is_the_same_however_it_arrives(cut in 1usize..200, rest in proptest::collection::vec(any::<u8>(), 0..40)) {
        for header in [
            b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 1883\r\n".to_vec(),
            with_vectors(&[vector(0x02, b"mqtt.example.org"), vector(0x05, b"c0ffee")]),
            version_2(0x20, 0, &[]),
        ] {
            let cut = cut.min(header.len() - 1);
            prop_assert_eq!(parse(&header[..cut]), Ok(None));
            let whole = parse(&header).expect("a header").expect("all of it");
            let followed = [&header[..], &rest].concat();
            prop_assert_eq!(parse(&followed), Ok(Some(whole)), "what follows is not the header's");
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_read_beyond_them(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
        let bytes = match kind {
            0 => bytes,
            1 => [SIGNATURE, &[0x21, 0x11], &bytes].concat(),
            _ => with_vectors(&[vector(0x20, &bytes), bytes]),
        };
        if let Ok(Some((_, length))) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}

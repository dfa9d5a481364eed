//! What a header of version 2 says beyond addresses: its type-length-value vectors (section 2.2 and 2.2.1 to 2.2.9).

use super::header::Malformed;
use std::fmt::Write as _;

/// Those that count here; others are skipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// Host name that the client asked for, as in SNI.
    pub(super) authority: Option<String>,
    /// The proxy's name for the connection, in its log as well: text, or hexadecimal if it is none.
    pub(super) unique_id: Option<String>,
    /// The encryption between client and proxy.
    pub(super) tls: Option<Tls>,
}

/// The encryption between client and proxy.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// Such as `TLSv1.3`; empty if the proxy does not say.
    pub(super) version: String,
    /// As the proxy calls it; empty if it does not say.
    pub(super) cipher: String,
    /// Common name of the certificate that the client has proven to own and the proxy has verified.
    pub(super) common_name: Option<String>,
}

/// Reads the vectors in `rest`, the end of the header `whole`.
pub(super) fn parse(rest: &[u8], whole: &[u8]) -> Result<Extensions, Malformed> {
    let mut extensions = Extensions::default();
    let mut has_checksum = false;
    let mut vectors = Vectors(rest);
    while let Some(vector) = vectors.next() {
        let (kind, value) = vector?;
        match kind {
            AUTHORITY => once(&mut extensions.authority, text(value)?)?,
            UNIQUE_ID if value.len() > UNIQUE_ID_BYTES_MAX => return Err(Malformed::Extension),
            UNIQUE_ID => once(&mut extensions.unique_id, readable(value))?,
            TLS => {
                if let Some(tls) = tls(value)? {
                    once(&mut extensions.tls, tls)?;
                }
            }
            CHECKSUM => {
                let said = value.try_into().map_err(|_| Malformed::Extension)?;
                let at = whole.len() - vectors.0.len() - value.len();
                if std::mem::replace(&mut has_checksum, true) {
                    return Err(Malformed::Extension);
                }
                if checksum(whole, at) != u32::from_be_bytes(said) {
                    return Err(Malformed::Checksum);
                }
            }
            _ => {}
        }
    }
    Ok(extensions)
}

/// Two that say different things cannot both be right.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Extension),
    }
}

/// Section 2.2.6. `None`: the client did not encrypt.
fn tls(value: &[u8]) -> Result<Option<Tls>, Malformed> {
    let (fixed, rest) = value.split_first_chunk::<5>().ok_or(Malformed::Extension)?;
    let [client, verify @ ..] = *fixed;
    let (mut version, mut cipher, mut common_name) = (None, None, None);
    for vector in Vectors(rest) {
        let (kind, value) = vector?;
        match kind {
            TLS_VERSION => once(&mut version, text(value)?)?,
            TLS_CIPHER => once(&mut cipher, text(value)?)?,
            TLS_COMMON_NAME => once(&mut common_name, text(value)?)?,
            _ => {}
        }
    }
    if client & CLIENT_ENCRYPTED == 0 {
        return Ok(None);
    }
    let has_certificate = client & (CLIENT_CERTIFICATE_NOW | CLIENT_CERTIFICATE_EARLIER) != 0;
    let is_verified = has_certificate && u32::from_be_bytes(verify) == 0;
    Ok(Some(Tls {
        version: version.unwrap_or_default(),
        cipher: cipher.unwrap_or_default(),
        common_name: common_name.filter(|_| is_verified),
    }))
}

fn text(value: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(value.to_vec()).map_err(|_| Malformed::Extension)
}

/// An identifier is any bytes; most are text.
fn readable(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
        _ => value.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

/// Type and value of each; the last is an error if it does not end where it says.
struct Vectors<'a>(&'a [u8]);

impl<'a> Iterator for Vectors<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        if bytes.is_empty() {
            return None;
        }
        let split = || {
            let ([kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (value, rest) = rest.split_at_checked(length)?;
            Some((*kind, value, rest))
        };
        Some(match split() {
            Some((kind, value, rest)) => {
                self.0 = rest;
                Ok((kind, value))
            }
            None => Err(Malformed::Extension),
        })
    }
}

/// CRC32c of the header with zeros in the place of the checksum (section 2.2.4). Bit by bit: a header is short, and
/// few have one.
fn checksum(header: &[u8], checksum_at: usize) -> u32 {
    let place = checksum_at..checksum_at + 4;
    let mut crc = u32::MAX;
    for (at, byte) in header.iter().enumerate() {
        crc ^= if place.contains(&at) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            crc = (crc >> 1) ^ (CASTAGNOLI & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// The polynomial of CRC32c, lowest bit first.
const CASTAGNOLI: u32 = 0x82F6_3B78;
const AUTHORITY: u8 = 0x02;
const CHECKSUM: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const TLS: u8 = 0x20;
const TLS_VERSION: u8 = 0x21;
const TLS_COMMON_NAME: u8 = 0x22;
const TLS_CIPHER: u8 = 0x23;
const UNIQUE_ID_BYTES_MAX: usize = 128;
const CLIENT_ENCRYPTED: u8 = 0x01;
const CLIENT_CERTIFICATE_NOW: u8 = 0x02;
const CLIENT_CERTIFICATE_EARLIER: u8 = 0x04;

//! MQTT over WebSocket on a listener: where it is found, and for which pages.

use super::read::PACKET_BYTES_MAX;
use super::table::{Parsed, Table, Wrong};
use super::value;
use toml::de::DeValue;

/// How a listener speaks WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Path of the URL, without query; begins with `/`.
    pub path: String,
    /// Which pages' scripts may connect.
    pub origins: Origins,
    /// Largest frame a client may send, without its header.
    pub frame_bytes_max: u64,
    /// Largest message a client may send, all its frames together.
    pub message_bytes_max: u64,
}

/// The pages whose scripts may connect: browsers say which page that is, other clients say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// These, in lower case: `https://app.example.org`, with a port if it is not the usual one.
    Only(Vec<String>),
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            path: "/mqtt".to_owned(),
            origins: Origins::Only(Vec::new()),
            frame_bytes_max: 1 << 20,
            message_bytes_max: 1 << 20,
        }
    }
}

impl Origins {
    /// Whether scripts of the page that calls itself so may connect.
    #[must_use]
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(origins) => origins.iter().any(|allowed| origin.eq_ignore_ascii_case(allowed)),
        }
    }
}

pub(super) fn read(mut table: Table<'_, '_>) -> WebSocket {
    let mut websocket = WebSocket::default();
    table.read("path", &mut websocket.path, path);
    table.read("origins", &mut websocket.origins, origins);
    table.read(
        "frame_bytes_max",
        &mut websocket.frame_bytes_max,
        value::size(128..=PACKET_BYTES_MAX),
    );
    table.read(
        "message_bytes_max",
        &mut websocket.message_bytes_max,
        value::size(128..=PACKET_BYTES_MAX),
    );
    table.finish();
    websocket
}

fn path(value: &DeValue<'_>) -> Parsed<String> {
    let remedy = "write the path of the URL alone, such as \"/mqtt\"";
    let text = value.as_str().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
    if text.starts_with('/') && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(
        format!("{value:?} is not a path", value = text),
        remedy,
    ))
}

fn origins(value: &DeValue<'_>) -> Parsed<Origins> {
    let texts = value::texts(value)?;
    if texts.iter().any(|text| text == "*") {
        return match texts.len() {
            1 => Ok(Origins::Any),
            _ => Err(Wrong::new("\"*\" is every origin", "leave out the others")),
        };
    }
    for text in &texts {
        let host = text.split_once("://").map(|(_, host)| host);
        let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '*']));
        if !is_origin {
            return Err(Wrong::new(
                format!("\"{text}\" is not an origin"),
                "write scheme, host and port without a path, such as \"https://app.example.org\", or \"*\" alone for \
                 every page",
            ));
        }
    }
    Ok(Origins::Only(
        texts.iter().map(|text| text.to_ascii_lowercase()).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn parse(keys: &str) -> Result<WebSocket, Vec<String>> {
        let text =
            format!("[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[listener.websocket]\n{keys}\n");
        match Config::parse(Path::new("/etc/sluice.toml"), &text) {
            Ok(mut config) => Ok(config.listeners.remove(0).websocket.expect("it is said")),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn no_page_may_connect_unless_it_is_named() {
        let unsaid = parse("").expect("no problems");
        assert_eq!(unsaid, WebSocket::default());
        assert!(!unsaid.origins.allow("https://app.example.org"));
        let named = parse("path = \"/\"\norigins = [\"https://App.example.org\", \"http://localhost:3000\"]");
        let named = named.expect("no problems").origins;
        assert!(named.allow("https://app.example.org") && named.allow("http://LOCALHOST:3000"));
        for other in [
            "http://app.example.org",
            "https://app.example.org:444",
            "null",
            "http://localhost",
        ] {
            assert!(!named.allow(other), "{other}");
        }
        let any = parse("origins = [\"*\"]").expect("no problems").origins;
        assert!(any.allow("null"));
    }

    #[test]
    fn what_is_no_path_origin_or_size_is_refused() {
        for (keys, expected) in [
            (
                "path = \"mqtt\"",
                "path: \"mqtt\" is not a path: write the path of the URL alone, such as \"/mqtt\"",
            ),
            (
                "path = \"/mqtt?x\"",
                "path: \"/mqtt?x\" is not a path: write the path of the URL alone, such as \"/mqtt\"",
            ),
            (
                "origins = [\"example.org\"]",
                "origins: \"example.org\" is not an origin: write scheme, host and port without a path, such as \
                 \"https://app.example.org\", or \"*\" alone for every page",
            ),
            (
                "origins = [\"https://example.org/app\"]",
                "origins: \"https://example.org/app\" is not an origin: write scheme, host and port without a path, \
                 such as \"https://app.example.org\", or \"*\" alone for every page",
            ),
            (
                "origins = [\"*\", \"https://a\"]",
                "origins: \"*\" is every origin: leave out the others",
            ),
            (
                "frame_bytes_max = \"1 B\"",
                "frame_bytes_max: 1 B is out of range: use 128 B to 268435460 B",
            ),
            (
                "message_bytes_max = 7",
                "message_bytes_max: 7 has no unit: write it with a unit in quotes, for example \"7 B\"",
            ),
        ] {
            let expected = format!("/etc/sluice.toml:5: listener[0].websocket.{expected}");
            assert_eq!(parse(keys), Err(vec![expected]));
        }
    }
}

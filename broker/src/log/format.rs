//! How a line looks.
//!
//! For people: `TIME LEVEL event key=value ...`; a text of other characters than plain ones is in quotes. For
//! machines: one JSON object. In both, whatever is not printable is escaped, so a text that a client chose can
//! neither begin a line nor leave its quotes nor colour a terminal.

use std::fmt::{Debug, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};

/// One of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// For people.
    Human { is_colourful: bool },
    /// For machines.
    Json,
}

impl Layout {
    /// The line that tells how many others there is no trace of.
    pub(super) fn lines_lost(self, count: u64) -> String {
        let mut line = Line::begin(self, Level::WARN, "sluice");
        line.text("event", "log_lines_lost");
        line.plain("count", count);
        line.end()
    }
}

/// Turns events into lines.
pub(super) struct LineLayer<F> {
    layout: Layout,
    write: F,
}

impl<F: Fn(String) + 'static> LineLayer<F> {
    pub(super) fn new(layout: Layout, write: F) -> Self {
        Self { layout, write }
    }
}

impl<S: Subscriber, F: Fn(String) + 'static> Layer<S> for LineLayer<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line::begin(self.layout, *metadata.level(), metadata.target());
        event.record(&mut line);
        (self.write)(line.end());
    }
}

struct Line {
    layout: Layout,
    out: String,
}

impl Line {
    fn begin(layout: Layout, level: Level, target: &str) -> Self {
        let mut time = String::with_capacity(32);
        // Writing to a String cannot fail, here and below.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut line = Self {
            layout,
            out: String::with_capacity(256),
        };
        match layout {
            Layout::Human { is_colourful } => {
                let (on, off) = if is_colourful {
                    (colour(level), "\x1b[0m")
                } else {
                    ("", "")
                };
                let _ = write!(line.out, "{time} {on}{level:>5}{off}");
            }
            Layout::Json => {
                let level = level.as_str().to_ascii_lowercase();
                let _ = write!(line.out, "{{\"time\":\"{time}\",\"level\":\"{level}\"");
            }
        }
        if target != OURS {
            line.text("target", target);
        }
        line
    }

    fn end(mut self) -> String {
        self.out
            .push_str(if self.layout == Layout::Json { "}\n" } else { "\n" });
        self.out
    }

    fn text(&mut self, key: &str, value: &str) {
        match self.layout {
            Layout::Json => {
                self.key(key);
                json_string(value, &mut self.out);
            }
            Layout::Human { .. } => {
                // The name of an event needs no key.
                if key == "event" {
                    self.out.push(' ');
                } else {
                    self.key(key);
                }
                human_text(value, &mut self.out);
            }
        }
    }

    /// A number or a truth value.
    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    fn key(&mut self, key: &str) {
        let _ = match self.layout {
            Layout::Json => write!(self.out, ",\"{key}\":"),
            Layout::Human { .. } => write!(self.out, " {key}="),
        };
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), value);
    }
}

fn json_string(value: &str, out: &mut String) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            printable if is_printable(printable) => out.push(printable),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn human_text(value: &str, out: &mut String) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/+@%#$,*".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            printable if is_printable(printable) => out.push(printable),
            other => out.extend(other.escape_debug()),
        }
    }
    out.push('"');
}

/// Neither control nor format characters, line separators, odd spaces or unassigned ones.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~') || (!character.is_ascii() && character.escape_debug().len() == 1)
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// The target of our own events, which goes without saying.
const OURS: &str = "sluice";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, Client, Events, Origin, Refusal};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    /// What is written of the event, without the time.
    fn written(layout: Layout, events: &[event::Event<'_>]) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let layer = LineLayer::new(layout, move |line| sink.lock().expect("the lines").push(line));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let bus = Events::new(Arc::default());
            events.iter().for_each(|event| bus.emit(*event));
        });
        std::mem::take(&mut *lines.lock().expect("the lines"))
    }

    fn refused<'a>(id: &'a str, topic: &'a str) -> event::Event<'a> {
        let origin = Origin {
            address: "192.0.2.1",
            port: 40_001,
            listener: "default",
            ..Origin::default()
        };
        let text = Some("not yours");
        let refusal = Refusal {
            policy: Some("users"),
            generation: 3,
            reason: 0x87,
            text,
            fault: false,
        };
        event::Event::PublishRefused {
            client: Client {
                id,
                origin: Some(origin),
            },
            topic,
            refusal,
        }
    }

    const HUMAN: Layout = Layout::Human { is_colourful: false };
    const NASTY: [&str; 9] = [
        "a\n2026-01-02T03:04:05.000000Z  WARN connect_refused peer=203.0.113.9",
        "a\r\nb",
        "a\" peer=203.0.113.9 b=\"",
        "a\\\" peer=203.0.113.9",
        "a\u{1b}[31mred\u{9b}32m",
        "a\u{2028}b\u{2029}c\u{85}d\u{b}e",
        "a\u{202e}gpj.exe",
        "a\",\"peer\":\"203.0.113.9\"}\n{\"event\":\"forged\"",
        "\u{7f}\u{0}\u{feff}",
    ];

    #[test]
    fn a_refusal_has_a_stable_form_for_log_watchers() {
        let line = written(HUMAN, &[refused("meter-7", "plant/7")]).remove(0);
        let (_, line) = line.split_once(' ').expect("a time");
        assert_eq!(
            line,
            " WARN publish_refused peer=192.0.2.1 port=40001 listener=default client_id=meter-7 policy=users \
             generation=3 reason_code=135 reason=\"Not authorized\" topic=plant/7 text=\"not yours\"\n"
        );
    }

    #[test]
    fn no_client_id_or_topic_can_forge_a_line_for_people() {
        for nasty in NASTY {
            let lines = written(HUMAN, &[refused(nasty, nasty)]);
            assert_eq!(lines.len(), 1);
            let body = lines[0].strip_suffix('\n').expect("a line");
            assert!(!body.contains(is_dangerous), "{body:?}");
            // Outside of quotes there is one peer, and it comes before anything a client chose.
            let (before, after) = body.split_once(" client_id=").expect("a client id");
            assert!(
                before.ends_with("publish_refused peer=192.0.2.1 port=40001 listener=default"),
                "{before}"
            );
            assert!(!outside_quotes(after).contains("peer"), "{body}");
            assert!(
                outside_quotes(after).contains("policy=users generation=3"),
                "{body}"
            );
        }
    }

    #[test]
    fn no_client_id_or_topic_can_forge_a_line_for_machines() {
        for nasty in NASTY {
            let lines = written(Layout::Json, &[refused(nasty, nasty)]);
            assert_eq!(lines.len(), 1);
            let body = lines[0].strip_suffix('\n').expect("a line");
            assert!(!body.contains(is_dangerous), "{body:?}");
            let object: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(object["event"], "publish_refused");
            assert_eq!(object["peer"], "192.0.2.1");
            assert_eq!(object["client_id"], nasty, "readers get what the client sent");
            assert_eq!(object["reason_code"], 0x87);
        }
    }

    /// Said independently of what the formats use.
    fn is_dangerous(character: char) -> bool {
        character.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(character)
    }

    fn outside_quotes(text: &str) -> String {
        let (mut out, mut is_quoted, mut characters) = (String::new(), false, text.chars());
        while let Some(character) = characters.next() {
            match character {
                '\\' if is_quoted => drop(characters.next()),
                '"' => is_quoted = !is_quoted,
                other if !is_quoted => out.push(other),
                _ => {}
            }
        }
        out
    }

    #[test]
    fn a_flood_of_one_peer_is_written_ten_times_a_second_and_then_counted() {
        let events = vec![refused("a", "b"); 1_000];
        let lines = written(Layout::Json, &events);
        assert!((10..=40).contains(&lines.len()), "{}", lines.len());
    }

    #[test]
    fn what_others_say_carries_its_origin() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let layer = LineLayer::new(Layout::Json, move |line| {
            sink.lock().expect("the lines").push(line)
        });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "other::module", count = 2, "it \"happened\"");
        });
        let line = lines.lock().expect("the lines").remove(0);
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(object["target"], "other::module");
        assert_eq!(object["message"], "it \"happened\"");
        assert_eq!(object["count"], 2);
    }
}

//! What people read. A pipe that nobody reads any more is no error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether something could not be said, on a full disk for example.
static UNSAID: AtomicBool = AtomicBool::new(false);

/// Puts a text on standard output. When that fails, [`is_unsaid`].
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{newline}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("the answer cannot be written: {error}"));
            UNSAID.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
}

/// Whether this command did what it was told to and could not say so.
pub(super) fn is_unsaid() -> bool {
    UNSAID.load(Ordering::Relaxed)
}

/// Puts JSON on standard output.
pub(super) fn say_json(value: &serde_json::Value) {
    // `{:#}` of a value is indented JSON.
    say(&format!("{value:#}"));
}

/// Puts an error on standard error.
pub(super) fn complain(text: &str) {
    labelled("error", "\x1b[1;31m", text);
}

/// Puts a warning on standard error.
pub(super) fn warn(text: &str) {
    labelled("warning", "\x1b[1;33m", text);
}

fn labelled(label: &str, colour: &str, text: &str) {
    let mut out = std::io::stderr().lock();
    let is_plain = !out.is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let (on, off) = if is_plain { ("", "") } else { (colour, "\x1b[0m") };
    let _ = writeln!(out, "{on}{label}{off}: {text}");
}

/// Columns as wide as their widest cell; the first row is the head.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// So many of something.
pub(super) fn amount(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A size in the largest unit that fits, with one decimal: to be looked at, not to be computed with.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fitting = units.into_iter().find(|(_, bits)| bytes >> bits > 0);
    fitting.map_or_else(
        || format!("{bytes} B"),
        |(unit, bits)| {
            let tenths = (u128::from(bytes) * 10) >> bits;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

/// A duration in its two largest units.
pub(super) fn pause(duration: Duration) -> String {
    let (milliseconds, seconds) = (duration.as_millis(), duration.as_secs());
    let two = |large: u64, large_unit, small: u64, small_unit| match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 if milliseconds == 0 => "0 s".to_owned(),
        0 => format!("{milliseconds} ms"),
        1..60 if milliseconds % 1_000 < 100 => format!("{seconds} s"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// A text from elsewhere, such as a client identifier, made harmless for a terminal.
pub(super) fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c == '\'' || c == '"' {
                c.to_string()
            } else {
                c.escape_debug().to_string()
            }
            .chars()
            .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let text = table(&[
            row(&["NAME", "CALLS"]),
            row(&["a-long-name", "7"]),
            row(&["b", "12345678"]),
        ]);
        assert_eq!(
            text,
            "NAME         CALLS\na-long-name  7\nb            12345678\n"
        );
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<_> = [0, 1_023, 1_024, 1_572_864, u64::MAX].map(bytes).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "16777215.9 TiB"]);
        let milliseconds = [0, 7, 1_000, 1_550, 90_000, 120_000, 3_700_000, 90_000_000];
        let shown: Vec<_> = milliseconds.map(|ms| pause(Duration::from_millis(ms))).into();
        assert_eq!(
            shown,
            [
                "0 s",
                "7 ms",
                "1 s",
                "1.5 s",
                "1 min 30 s",
                "2 min",
                "1 h 1 min",
                "1 d 1 h"
            ]
        );
        assert_eq!([0, 1].map(|n| amount(n, "word")), ["0 words", "1 word"]);
    }

    #[test]
    fn a_client_cannot_colour_the_terminal_of_the_operator() {
        assert_eq!(
            harmless("it's\u{1b}[31m\n\u{202e}ü"),
            "it's\\u{1b}[31m\\n\\u{202e}ü"
        );
    }
}

//! What people read. A pipe that nobody reads any more is no error.

use std::io::{IsTerminal, Write};

/// Puts a text on standard output.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{newline}").and_then(|()| out.flush());
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
    fn a_client_cannot_colour_the_terminal_of_the_operator() {
        assert_eq!(
            harmless("it's\u{1b}[31m\n\u{202e}ü"),
            "it's\\u{1b}[31m\\n\\u{202e}ü"
        );
    }
}

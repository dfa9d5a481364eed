//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write as _};
use std::time::Duration;

/// Builds Prometheus text. Samples of one metric must follow each other.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    metric: String,
}

impl Exposition {
    /// One sample of a counter.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.sample(name, help, "counter", labels, value);
    }

    /// One sample of a counter of time.
    pub fn seconds(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: Duration) {
        self.sample(name, help, "counter", labels, value.as_secs_f64());
    }

    /// One sample of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.sample(name, help, "gauge", labels, value);
    }

    /// The finished text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }

    fn sample(&mut self, name: &str, help: &str, kind: &str, labels: &[(&str, &str)], value: impl Display) {
        if self.metric != name {
            name.clone_into(&mut self.metric);
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        self.text.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"");
            for character in content.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut text = Exposition::default();
        text.counter("x_total", "X.", &[("name", "a\"} 9\nforged 1\\")], 1);
        let text = text.into_string();
        assert_eq!(
            text.lines().last(),
            Some(r#"x_total{name="a\"} 9\nforged 1\\"} 1"#)
        );
    }
}

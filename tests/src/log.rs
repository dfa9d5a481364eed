//! The broker's structured log, as tests look at it.

use serde_json::Value;

/// One line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// The line as it was written.
    pub text: String,
    /// The same as JSON; null if it is not JSON.
    pub json: Value,
}

impl LogLine {
    /// Takes one line of the broker's standard error.
    #[must_use]
    pub fn new(text: String) -> Self {
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { text, json }
    }

    /// A field of the event, wherever the log's format puts it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.json.get(name).or_else(|| self.json.get("fields")?.get(name))
    }

    /// A field as text; numbers and booleans as they are written.
    #[must_use]
    pub fn text_field(&self, name: &str) -> Option<String> {
        match self.field(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// Whether this is the named event.
    #[must_use]
    pub fn is(&self, event: &str) -> bool {
        ["event", "message"]
            .iter()
            .any(|field| self.field(field).and_then(Value::as_str) == Some(event))
    }

    /// Whether a field has this text.
    #[must_use]
    pub fn has(&self, field: &str, value: &str) -> bool {
        self.text_field(field).is_some_and(|text| text == value)
    }
}

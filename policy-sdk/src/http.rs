//! Requests to services that the operator has configured, and what these say.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::host::sluice::policy::services::{HttpMethod, HttpRequest, HttpResponse};

/// A request is [`HttpRequest::get`] or [`HttpRequest::post`] with the name of a `[[service]]`; each of these adds to it.
///
/// ```
/// use serde_json::json;
/// use sluice_policy::prelude::*;
///
/// let request = HttpRequest::post("accounts")
///     .path(["devices", "dev-1"])
///     .json(&json!({ "password": "secret" }))
///     .reuse_for(std::time::Duration::from_secs(60));
/// ```
impl HttpRequest {
    /// Asks with GET.
    pub fn get(service: impl Into<String>) -> Self {
        Self::new(service, HttpMethod::Get)
    }

    /// Asks with POST.
    pub fn post(service: impl Into<String>) -> Self {
        Self::new(service, HttpMethod::Post)
    }

    /// Asks with this method.
    pub fn new(service: impl Into<String>, method: HttpMethod) -> Self {
        Self {
            service: service.into(),
            method,
            path: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            content_type: None,
            body: Vec::new(),
            reuse_success_seconds: 0,
            reuse_other_seconds: 0,
        }
    }

    /// Adds segments to the path of the service's URL. What is in a segment stays in it: the broker encodes `/`, and
    /// refuses `.`, `..` and empty ones.
    #[must_use]
    pub fn path<S: Into<String>>(mut self, segments: impl IntoIterator<Item = S>) -> Self {
        self.path.extend(segments.into_iter().map(Into::into));
        self
    }

    /// Adds a parameter of the query.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header; not one that the broker or the operator sets.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends this.
    #[must_use]
    pub fn body(mut self, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        self.content_type = Some(content_type.into());
        self.body = body.into();
        self
    }

    /// Sends a value as JSON.
    ///
    /// # Panics
    /// When it cannot be JSON, such as a map whose keys are no texts; the client is refused then.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a mistake of the policy's author; a trap refuses the client"
    )]
    pub fn json(self, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("the body of an HTTP request becomes JSON");
        self.body("application/json", body)
    }

    /// Sends fields as a web form (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn form<'f>(self, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Self {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            encode(&mut body, name.as_bytes());
            body.push('=');
            encode(&mut body, value.as_bytes());
        }
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Lets the broker give the same answer to the same request for so long, when its status is 2xx. Whole seconds,
    /// rounded up. The operator's `cache_time_max` bounds it.
    #[must_use]
    pub fn reuse_for(mut self, time: Duration) -> Self {
        self.reuse_success_seconds = seconds(time);
        self
    }

    /// The same for any other status: for how long a "no" is remembered.
    #[must_use]
    pub fn reuse_refusal_for(mut self, time: Duration) -> Self {
        self.reuse_other_seconds = seconds(time);
        self
    }
}

impl HttpResponse {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
}

/// As web forms are encoded (URL Standard section 5): a blank is `+`.
fn encode(out: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                out.push(char::from(*byte))
            }
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                for digit in [byte >> 4, byte & 15] {
                    out.extend(HEX.get(usize::from(digit)).map(|hex| char::from(*hex)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_every_byte_of_its_fields() {
        let request = HttpRequest::post("s").form([("user name", "a&b=c+d/ü"), ("empty", "")]);
        let body = String::from_utf8(request.body).unwrap();
        assert_eq!(body, "user+name=a%26b%3Dc%2Bd%2F%C3%BC&empty=");
        assert_eq!(
            request.content_type.as_deref(),
            Some("application/x-www-form-urlencoded")
        );
    }

    #[test]
    fn part_of_a_second_counts_as_a_whole_one() {
        let request = HttpRequest::get("s").reuse_for(Duration::from_millis(1));
        assert_eq!(
            (request.reuse_success_seconds, request.reuse_other_seconds),
            (1, 0)
        );
    }
}

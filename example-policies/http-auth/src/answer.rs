//! What a service means by its answer.

use serde::Deserialize;
use sluice_policy::HttpResponse;
use sluice_policy::serde_json::{Map, Value};

/// Where the answer is.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// In the body: `result` or `Ok`. No body at all, with 2xx, is yes.
    #[default]
    Json,
    /// In the status alone: 2xx is yes.
    Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    No,
    /// Another policy of the chain is to say.
    NoOpinion,
}

impl Answer {
    /// The verdict, and all that was said beside it. Whatever is not clearly a yes is none.
    pub(crate) fn read(self, response: &HttpResponse) -> (Verdict, Map<String, Value>) {
        let said: Option<Map<String, Value>> = response.json().ok();
        let verdict = match (self, &said) {
            _ if !response.is_success() => Verdict::No,
            (Self::Status, _) => Verdict::Yes,
            (Self::Json, _) if response.body.is_empty() => Verdict::Yes,
            (Self::Json, None) => Verdict::No,
            (Self::Json, Some(said)) => verdict(said),
        };
        (verdict, said.unwrap_or_default())
    }
}

fn verdict(said: &Map<String, Value>) -> Verdict {
    if let Some(result) = said.get("result") {
        return match result.as_str() {
            Some("allow") => Verdict::Yes,
            Some("ignore") => Verdict::NoOpinion,
            _ => Verdict::No,
        };
    }
    match said.get("Ok").or_else(|| said.get("ok")) {
        Some(Value::Bool(true)) => Verdict::Yes,
        _ => Verdict::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: Answer, status: u16, body: &str) -> Verdict {
        let response = HttpResponse {
            status,
            content_type: None,
            body: body.as_bytes().to_vec(),
        };
        answer.read(&response).0
    }

    #[test]
    fn only_what_is_clearly_a_yes_is_one() {
        for (status, body, expected) in [
            (200, r#"{"result":"allow"}"#, Verdict::Yes),
            (200, r#"{"Ok":true,"Error":""}"#, Verdict::Yes),
            (200, r#"{"ok":true}"#, Verdict::Yes),
            (204, "", Verdict::Yes),
            (200, r#"{"result":"ignore"}"#, Verdict::NoOpinion),
            (200, r#"{"result":"deny","Ok":true}"#, Verdict::No),
            (200, r#"{"result":true}"#, Verdict::No),
            (200, r#"{"Ok":"true"}"#, Verdict::No),
            (200, r#"{"Ok":false}"#, Verdict::No),
            (200, "{}", Verdict::No),
            (200, "[\"allow\"]", Verdict::No),
            (200, "allow", Verdict::No),
            (200, "<html>login</html>", Verdict::No),
            (401, r#"{"result":"allow"}"#, Verdict::No),
            (404, "", Verdict::No),
        ] {
            assert_eq!(read(Answer::Json, status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_status_alone_can_be_the_answer() {
        assert_eq!(read(Answer::Status, 200, "whatever"), Verdict::Yes);
        assert_eq!(read(Answer::Status, 403, r#"{"result":"allow"}"#), Verdict::No);
    }
}

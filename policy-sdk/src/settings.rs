//! Reading a policy's settings, with errors that name the key.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;

/// Reads settings from the JSON the broker passes.
pub(crate) fn parse<S: DeserializeOwned>(json: &str) -> Result<S, String> {
    serde_json::from_str(json).map_err(|error| {
        // serde_json counts columns in bytes from 1; the broker writes one line, but an author's test may not.
        let line_start: usize = json
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let path = path_at(json, line_start + error.column());
        let text = error.to_string();
        // The place in a text the operator never saw.
        let what = text
            .rfind(" at line ")
            .and_then(|end| text.get(..end))
            .unwrap_or(&text);
        if path.is_empty() {
            format!("settings: {what}")
        } else {
            format!("settings: `{path}`: {what}")
        }
    })
}

/// The way from the root of a JSON text to its value at a byte offset, such as `users[2].name`.
fn path_at(json: &str, offset: usize) -> String {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut text: Option<usize> = None; // where the string being read began
    let mut last_text = "";
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().take(offset) {
        if let Some(start) = text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    last_text = json.get(start..at).unwrap_or_default();
                    text = None;
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => text = Some(at + 1),
            b'{' => steps.push(Step::Key("")),
            b'[' => steps.push(Step::Index(0)),
            // An error about a whole container is placed at its end: keep the way to it.
            b'}' | b']' if at + 1 < offset => drop(steps.pop()),
            b'}' | b']' => {
                steps.pop();
                break;
            }
            b':' => {
                if let Some(Step::Key(key)) = steps.last_mut() {
                    *key = last_text;
                }
            }
            b',' => match steps.last_mut() {
                Some(Step::Key(key)) => *key = "",
                Some(Step::Index(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
    }
    render(&steps)
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn render(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        // Writing to a string cannot fail.
        let _ = match step {
            Step::Key("") => Ok(()),
            Step::Key(key) if path.is_empty() => write!(path, "{key}"),
            Step::Key(key) => write!(path, ".{key}"),
            Step::Index(index) => write!(path, "[{index}]"),
        };
    }
    path
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde only")]
    struct Settings {
        #[serde(default)]
        users: Vec<User>,
        #[serde(default)]
        limit: u8,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde only")]
    struct User {
        name: String,
        #[serde(default)]
        groups: Vec<String>,
    }

    fn error(json: &str) -> String {
        parse::<Settings>(json).unwrap_err()
    }

    #[test]
    fn a_wrong_type_is_named_with_its_key() {
        assert_eq!(
            error(r#"{"users":[{"name":"a"},{"name":5}],"limit":1}"#),
            "settings: `users[1].name`: invalid type: integer `5`, expected a string"
        );
        assert_eq!(
            error(r#"{"limit":-1}"#),
            "settings: `limit`: invalid value: integer `-1`, expected u8"
        );
        assert_eq!(
            error(r#"{"limit":{"a":1}}"#),
            "settings: `limit`: invalid type: map, expected u8"
        );
        assert_eq!(
            error(r#"{"users":[{"name":"x","groups":["a","b",true]}]}"#),
            "settings: `users[0].groups[2]`: invalid type: boolean `true`, expected a string"
        );
    }

    #[test]
    fn a_missing_key_is_named_with_where_it_is_missing() {
        assert_eq!(
            error(r#"{"users":[{"name":"a"},{"groups":["x"]}],"limit":1}"#),
            "settings: `users[1]`: missing field `name`"
        );
    }

    #[test]
    fn an_unknown_key_is_named() {
        assert!(error(r#"{"user":[]}"#).starts_with("settings: unknown field `user`, expected `users`"));
        let nested = error("{\"users\":[\n{\"name\":\"a\",\n\"nam\\\"e\":1}]}");
        assert!(
            nested.starts_with("settings: `users[0]`: unknown field `nam\"e`"),
            "{nested}"
        );
    }

    #[test]
    fn text_that_is_no_json_is_an_error() {
        assert!(error("{\"users\":").starts_with("settings: "));
        assert!(error("").starts_with("settings: "));
        assert!(error("]").starts_with("settings: "));
    }
}

//! What single values may be.

use super::budget;
use super::quantity::{duration_text, parse_duration, parse_size, size_text};
use super::table::{Parsed, Wrong, to_json};
use crate::network::Network;
use crate::policy::budget::Rate;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// Bytes, written with a unit. `T` is wide enough for the range.
pub(super) fn size<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl FnOnce(&DeValue<'_>) -> Parsed<T> {
    move |value| {
        let text = with_unit(value, |number| size_text(number.unsigned_abs()))?;
        let bytes = parse_size(text).map_err(|wrong| Wrong::new(wrong, ""))?;
        within(bytes, &range, size_text)
    }
}

/// A duration, written with a unit.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl FnOnce(&DeValue<'_>) -> Parsed<Duration> {
    move |value| {
        let text = with_unit(value, |number| format!("{number} s"))?;
        let duration = parse_duration(text).map_err(|wrong| Wrong::new(wrong, ""))?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
        Err(Wrong::new(
            format!("\"{text}\" is out of range"),
            format!("use \"{least}\" to \"{most}\""),
        ))
    }
}

/// A duration of whole seconds.
pub(super) fn seconds(range: RangeInclusive<Duration>) -> impl FnOnce(&DeValue<'_>) -> Parsed<Duration> {
    move |value| {
        let parsed = duration(range)(value)?;
        if parsed.subsec_nanos() == 0 {
            return Ok(parsed);
        }
        Err(Wrong::new(
            "MQTT counts whole seconds here",
            "use a whole number of seconds",
        ))
    }
}

/// A value, or the word that stands for none.
pub(super) fn or_word<'w, T: 'w>(
    word: &'w str,
    parse: impl FnOnce(&DeValue<'_>) -> Parsed<T> + 'w,
) -> impl FnOnce(&DeValue<'_>) -> Parsed<Option<T>> + 'w {
    move |value| {
        if value.as_str() == Some(word) {
            return Ok(None);
        }
        let or = |wrong: Wrong| Wrong {
            remedy: join(&wrong.remedy, &format!("or write \"{word}\"")),
            ..wrong
        };
        parse(value).map(Some).map_err(or)
    }
}

/// A whole number.
pub(super) fn integer<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl FnOnce(&DeValue<'_>) -> Parsed<T> {
    move |value| {
        let DeValue::Integer(integer) = value else {
            return Err(mistyped(value, "a whole number without quotes and unit"));
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix());
        let number = number.map_err(|_| out_of_range(&integer.to_string(), &range, |n| n.to_string()))?;
        within(number, &range, |number| number.to_string())
    }
}

/// So many a second: the amount, which is the burst as well, or a table with both.
pub(super) fn rate(
    amount: impl Fn(&DeValue<'_>) -> Parsed<u64>,
) -> impl FnOnce(&DeValue<'_>) -> Parsed<Rate> {
    move |value| {
        let Some(table) = value.as_table() else {
            return amount(value).map(budget::even).map_err(|wrong| Wrong {
                remedy: join(&wrong.remedy, "or { per_second = ..., burst = ... }"),
                ..wrong
            });
        };
        let known = "write { per_second = ..., burst = ... }";
        let (mut per_second, mut burst) = (None, None);
        for (key, value) in table {
            let place = match key.get_ref().as_ref() {
                "per_second" => &mut per_second,
                "burst" => &mut burst,
                other => return Err(Wrong::new(format!("\"{other}\" is not part of a rate"), known)),
            };
            *place = Some(amount(value.get_ref())?);
        }
        let per_second = per_second.ok_or_else(|| Wrong::new("has no per_second", known))?;
        Ok(Rate {
            per_second,
            burst: burst.unwrap_or(per_second),
        })
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Parsed<bool> {
    value
        .as_bool()
        .ok_or_else(|| mistyped(value, "true or false, without quotes"))
}

/// One of some words, each with what it stands for.
pub(super) fn choice<T: Clone>(words: &[(&str, T)]) -> impl FnOnce(&DeValue<'_>) -> Parsed<T> {
    move |value| {
        let all = || {
            words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let text = value
            .as_str()
            .ok_or_else(|| mistyped(value, &format!("one of {}", all())))?;
        let found = words.iter().find(|(word, _)| *word == text);
        let (_, meaning) = found.ok_or_else(|| {
            Wrong::new(
                format!("\"{text}\" is not known here"),
                format!("use one of {}", all()),
            )
        })?;
        Ok(meaning.clone())
    }
}

/// A file or directory, relative to the directory of the configuration.
pub(super) fn path(base: &Path) -> impl FnOnce(&DeValue<'_>) -> Parsed<PathBuf> {
    move |value| match value.as_str() {
        Some("") => Err(Wrong::new("is empty", "write a path, or remove the key")),
        Some(text) => Ok(base.join(text)),
        None => Err(mistyped(value, "a path in quotes")),
    }
}

/// An IP address and a port.
pub(super) fn address(value: &DeValue<'_>) -> Parsed<SocketAddr> {
    let example = "an IP address and a port, such as \"127.0.0.1:1883\" or \"[::]:1883\"";
    let text = value.as_str().ok_or_else(|| mistyped(value, example))?;
    parse_address(text)
}

pub(super) fn parse_address(text: &str) -> Parsed<SocketAddr> {
    let remedy = "write an IP address and a port, such as \"127.0.0.1:1883\", or \"0.0.0.0:1883\" for every \
                  address of this machine";
    text.parse()
        .map_err(|_| Wrong::new(format!("\"{text}\" is not an address"), remedy))
}

/// A text that says something.
pub(super) fn text(value: &DeValue<'_>) -> Parsed<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| mistyped(value, "a text in quotes, not empty"))?;
    Ok(text.to_owned())
}

/// A list of texts.
pub(super) fn texts(value: &DeValue<'_>) -> Parsed<Vec<String>> {
    let wanted = "a list of texts, such as [\"users\"]";
    let items = value.as_array().ok_or_else(|| mistyped(value, wanted))?;
    let text = |item: &DeValue<'_>| {
        item.as_str()
            .map(str::to_owned)
            .ok_or_else(|| mistyped(item, wanted))
    };
    items.iter().map(|item| text(item.get_ref())).collect()
}

/// A list of IP addresses and networks.
pub(super) fn networks(value: &DeValue<'_>) -> Parsed<Vec<Network>> {
    let wanted = "a list of addresses, such as [\"10.0.0.0/8\", \"2001:db8::1\"]";
    let items = value.as_array().ok_or_else(|| mistyped(value, wanted))?;
    let network = |item: &DeValue<'_>| {
        let text = item.as_str().ok_or_else(|| mistyped(item, wanted))?;
        text.parse().map_err(|wrong: String| Wrong::new(wrong, ""))
    };
    items.iter().map(|item| network(item.get_ref())).collect()
}

/// A name of something in the configuration.
pub(super) fn name(value: &DeValue<'_>) -> Parsed<String> {
    let text = value
        .as_str()
        .ok_or_else(|| mistyped(value, "a name in quotes"))?;
    check_name(text)?;
    Ok(text.to_owned())
}

/// Names appear in logs, metrics and commands: nothing in them needs quoting.
pub(super) fn check_name(text: &str) -> Parsed<()> {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
    if plain && (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.starts_with('-') {
        return Ok(());
    }
    let remedy = format!("use a-z, 0-9, _ and -, at most {NAME_BYTES_MAX} characters");
    Err(Wrong::new(format!("{text:?} is not a name"), remedy))
}

/// A table that becomes a JSON object.
pub(super) fn json_object(value: &DeValue<'_>) -> Parsed<serde_json::Value> {
    if !value.is_table() {
        return Err(mistyped(value, "a table"));
    }
    to_json(value)
}

fn with_unit<'v>(value: &'v DeValue<'_>, example: impl FnOnce(i64) -> String) -> Parsed<&'v str> {
    if let DeValue::Integer(integer) = value {
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(1);
        let remedy = format!(
            "write it with a unit in quotes, for example \"{}\"",
            example(number)
        );
        return Err(Wrong::new(format!("{integer} has no unit"), remedy));
    }
    value
        .as_str()
        .ok_or_else(|| mistyped(value, "a number with a unit, in quotes"))
}

fn within<T: TryFrom<u64>>(
    number: u64,
    range: &RangeInclusive<u64>,
    show: impl Fn(u64) -> String,
) -> Parsed<T> {
    let taken = range
        .contains(&number)
        .then(|| T::try_from(number).ok())
        .flatten();
    taken.ok_or_else(|| out_of_range(&show(number), range, show))
}

fn out_of_range(given: &str, range: &RangeInclusive<u64>, show: impl Fn(u64) -> String) -> Wrong {
    let remedy = format!("use {} to {}", show(*range.start()), show(*range.end()));
    Wrong::new(format!("{given} is out of range"), remedy)
}

fn mistyped(value: &DeValue<'_>, wanted: &str) -> Wrong {
    Wrong::new(
        format!("is of the wrong type ({})", value.type_str()),
        format!("write {wanted}"),
    )
}

fn join(first: &str, second: &str) -> String {
    if first.is_empty() {
        second.to_owned()
    } else {
        format!("{first}, {second}")
    }
}

const NAME_BYTES_MAX: usize = 64;

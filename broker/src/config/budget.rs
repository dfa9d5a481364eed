//! What clients may use, as an operator writes it: in the file, for one listener, or on the command line.

use super::problem::Problem;
use super::table::{Document, Table, Wrong};
use super::{Config, listener, read, value};
use crate::policy::budget::{Budget, OverLimitAction, QueueOverflow, Rate};
use std::path::Path;
use std::time::Duration;

/// The limits of one client. What a table does not mention stays as it is.
pub(super) fn client(table: &mut Table<'_, '_>, budget: &mut Budget) {
    rates(table, budget);
    if let Some(bytes) = table.value("packet_bytes_max", packet_bytes(128)) {
        budget.packet_bytes_max = Some(bytes);
        // Said about the packet alone, it is meant for what is in it as well.
        budget.payload_bytes_max = budget.payload_bytes_max.map(|_| bytes);
    }
    optional(
        table,
        "payload_bytes_max",
        &mut budget.payload_bytes_max,
        packet_bytes(0),
    );
    let larger = |packet| budget.payload_bytes_max.is_some_and(|payload| payload > packet);
    if budget.packet_bytes_max.is_some_and(larger) {
        let remedy = "raise packet_bytes_max, or lower this to at most that";
        table.problem(
            "payload_bytes_max",
            Wrong::new("is larger than packet_bytes_max", remedy),
        );
    }
    optional(
        table,
        "inflight_max",
        &mut budget.inflight_max,
        value::integer(1..=read::U16),
    );
    optional(
        table,
        "queue_messages_max",
        &mut budget.queue_messages_max,
        value::integer(1..=read::U32),
    );
    optional(
        table,
        "queue_bytes_max",
        &mut budget.queue_bytes_max,
        value::size(1 << 10..=1 << 40),
    );
    optional(
        table,
        "queue_overflow",
        &mut budget.queue_overflow,
        value::choice(&OVERFLOWS),
    );
    optional(
        table,
        "subscriptions_max",
        &mut budget.subscriptions_max,
        value::integer(0..=read::U32),
    );
    let seconds = |least| value::seconds(Duration::from_secs(least)..=Duration::from_secs(read::U32 - 1));
    optional(
        table,
        "session_expiry_max",
        &mut budget.session_expiry_seconds_max,
        |value| seconds(0)(value).map(whole_seconds),
    );
    let lifetime = value::or_word("unlimited", seconds(1));
    if let Some(lifetime) = table.value("connection_lifetime_max", lifetime) {
        budget.connection_seconds_max = lifetime.map(whole_seconds);
    }
    optional(
        table,
        "over_limit",
        &mut budget.over_limit,
        value::choice(&ACTIONS),
    );
}

/// How fast one client, or all together, may be.
pub(super) fn rates(table: &mut Table<'_, '_>, budget: &mut Budget) {
    for (key, place) in [
        ("bytes_in_per_second", &mut budget.bytes_in_per_second),
        ("bytes_out_per_second", &mut budget.bytes_out_per_second),
    ] {
        table.read(
            key,
            place,
            value::or_word("unlimited", value::rate(bytes_per_second)),
        );
    }
    for (key, place) in [
        ("messages_in_per_second", &mut budget.messages_in_per_second),
        ("messages_out_per_second", &mut budget.messages_out_per_second),
        ("subscribes_per_second", &mut budget.subscribes_per_second),
    ] {
        table.read(
            key,
            place,
            value::or_word("unlimited", value::rate(count_per_second)),
        );
    }
}

fn optional<'a, T>(
    table: &mut Table<'_, 'a>,
    key: &'static str,
    place: &mut Option<T>,
    parse: impl FnOnce(&toml::de::DeValue<'a>) -> super::table::Parsed<T>,
) {
    if let Some(parsed) = table.value(key, parse) {
        *place = Some(parsed);
    }
}

fn packet_bytes(least: u64) -> impl FnOnce(&toml::de::DeValue<'_>) -> super::table::Parsed<u32> {
    value::size(least..=read::PACKET_BYTES_MAX)
}

fn bytes_per_second(value: &toml::de::DeValue<'_>) -> super::table::Parsed<u64> {
    value::size(1..=1 << 44)(value)
}

fn count_per_second(value: &toml::de::DeValue<'_>) -> super::table::Parsed<u64> {
    value::integer(1..=1_000_000_000)(value)
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

impl Config {
    /// This configuration with some limits set: `KEY=VALUE`, the keys as in a file, but listeners by their names
    /// (`listener.default.limits.packet_bytes_max`). Texts need no quotes.
    ///
    /// # Errors
    /// Everything that is wrong; only `limits`, `total`, `memory_limit` and those of listeners can be set.
    pub fn with_limits(&self, assignments: &[String]) -> Result<Self, Vec<Problem>> {
        let mut config = self.clone();
        with_assignments(assignments, |mut root| {
            read::all_limits(&mut root, &mut config);
            if let Some(mut listeners) = root.table("listener") {
                for (name, mut table) in listeners.named_tables() {
                    let listener = config.listeners.iter_mut().find(|listener| listener.name == name);
                    let Some(listener) = listener else {
                        table.problem(
                            "",
                            Wrong::new("there is no such listener", "see `sluice limits show`"),
                        );
                        continue;
                    };
                    listener::limits(&mut table, listener);
                    table.finish();
                }
            }
            root.finish();
        })
        .map_err(|problems| problems.into_iter().map(with_table_named).collect::<Vec<_>>())?;
        Ok(config)
    }
}

/// Who leaves out the table most likely means `limits`.
fn with_table_named(problem: Problem) -> Problem {
    let full = format!("limits.{}", problem.key);
    let known = Config::default().written_limits();
    match known.iter().any(|(key, _)| *key == full) {
        true => Problem {
            remedy: format!("did you mean `{full}`?"),
            ..problem
        },
        false => problem,
    }
}

/// A client's limits from `KEY=VALUE`, the keys as below `[limits]`. "unlimited" lifts what others say.
///
/// # Errors
/// Everything that is wrong.
pub fn parse_client_limits(assignments: &[String]) -> Result<Budget, Vec<Problem>> {
    // Of a configuration "unlimited" makes silence. Here silence leaves what others say, so the two change places.
    let mut budget = silence_and_unlimited_swapped(Budget::default());
    with_assignments(assignments, |mut root| {
        client(&mut root, &mut budget);
        root.finish();
    })?;
    // As in a configuration: said about the packet alone, it is meant for what is in it as well.
    budget.payload_bytes_max = budget.payload_bytes_max.or(budget.packet_bytes_max);
    Ok(silence_and_unlimited_swapped(budget))
}

fn silence_and_unlimited_swapped(budget: Budget) -> Budget {
    let rate = |rate| swapped(rate, Rate::UNLIMITED);
    Budget {
        bytes_in_per_second: rate(budget.bytes_in_per_second),
        bytes_out_per_second: rate(budget.bytes_out_per_second),
        messages_in_per_second: rate(budget.messages_in_per_second),
        messages_out_per_second: rate(budget.messages_out_per_second),
        subscribes_per_second: rate(budget.subscribes_per_second),
        connection_seconds_max: swapped(budget.connection_seconds_max, u32::MAX),
        ..budget
    }
}

fn swapped<T: PartialEq>(said: Option<T>, unlimited: T) -> Option<T> {
    match said {
        None => Some(unlimited),
        Some(amount) if amount == unlimited => None,
        said => said,
    }
}

fn with_assignments(assignments: &[String], read: impl FnOnce(Table<'_, '_>)) -> Result<(), Vec<Problem>> {
    let mut text = String::new();
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(vec![Problem {
                file: None,
                line: None,
                key: assignment.clone(),
                what: "has no value".to_owned(),
                remedy: format!("write {assignment}=VALUE"),
            }]);
        };
        let (key, value) = (key.trim(), value.trim());
        let is_toml =
            toml::from_str::<toml::Table>(&format!("value = {value}")).is_ok_and(|table| table.len() == 1);
        let value = if is_toml {
            value.to_owned()
        } else {
            toml::Value::from(value).to_string()
        };
        text.push_str(&format!("{key} = {value}\n"));
    }
    let (document, root) = Document::new(Path::new(""), &text);
    read(document.root(root));
    let problems = document.into_problems().into_iter().map(|problem| Problem {
        file: None,
        line: None,
        ..problem
    });
    let problems: Vec<_> = problems.collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// A rate of so many a second, with as much at once.
pub(super) fn even(per_second: u64) -> Rate {
    Rate {
        per_second,
        burst: per_second,
    }
}

const OVERFLOWS: [(&str, QueueOverflow); 3] = [
    ("drop-new", QueueOverflow::DropNew),
    ("drop-oldest", QueueOverflow::DropOldest),
    ("disconnect", QueueOverflow::Disconnect),
];
const ACTIONS: [(&str, OverLimitAction); 4] = [
    ("delay", OverLimitAction::Delay),
    ("refuse", OverLimitAction::Refuse),
    ("drop", OverLimitAction::Drop),
    ("disconnect", OverLimitAction::Disconnect),
];

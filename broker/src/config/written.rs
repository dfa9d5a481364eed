//! Limits as an operator writes them: what `read` understands, the other way round.

use super::quantity::{duration_text, size_text};
use super::{Config, Limits};
use crate::policy::budget::{Amount, Budget, Rate};
use serde_json::{Value, json};
use std::time::Duration;

impl Config {
    /// Every limit: its key as [`Config::with_limits`] takes it, and its value as in a file. What a listener leaves to
    /// `limits` is null. Two configurations with the same listeners have the same keys in the same order.
    #[must_use]
    pub fn written_limits(&self) -> Vec<(String, Value)> {
        let mut written = Vec::new();
        let mut all = |prefix: &str, amounts: &Amounts, unsaid: &Value| {
            written.extend(amounts.iter().map(|(key, amount)| {
                let value = amount.map_or_else(|| unsaid.clone(), amount_written);
                (format!("{prefix}.{key}"), value)
            }));
        };
        all("limits", &self.limits.client.amounts(), &unlimited());
        all("total", rates_of(&self.total.amounts()), &unlimited());
        for listener in &self.listeners {
            let name = &listener.name;
            all(
                &format!("listener.{name}.limits"),
                &listener.limits.amounts(),
                &Value::Null,
            );
            let total = listener.total.amounts();
            all(&format!("listener.{name}.total"), rates_of(&total), &Value::Null);
        }
        let others = others(&self.limits);
        let after_client = self.limits.client.amounts().len();
        written.splice(
            after_client..after_client,
            others.map(|(key, value)| (format!("limits.{key}"), value)),
        );
        let memory = self.memory_limit.map_or_else(unlimited, size);
        written.push(("memory_limit".to_owned(), memory));
        written
    }
}

/// One limit of a budget as it is written in a file.
#[must_use]
pub fn amount_written(amount: Amount) -> Value {
    match amount {
        Amount::BytesPerSecond(rate) => rate_written(rate, size),
        Amount::PerSecond(rate) => rate_written(rate, Value::from),
        Amount::Bytes(bytes) => size(bytes),
        Amount::Count(count) => Value::from(count),
        Amount::Seconds(u32::MAX) => unlimited(),
        Amount::Seconds(seconds) => duration(Duration::from_secs(seconds.into())),
        Amount::Word(word) => Value::from(word),
    }
}

/// A written value as people type it behind `KEY=`: a text without its quotes.
#[must_use]
pub fn written_text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(rate) => {
            let part = |key| rate.get(key).map(Value::to_string).unwrap_or_default();
            format!(
                "{{ per_second = {}, burst = {} }}",
                part("per_second"),
                part("burst")
            )
        }
        other => other.to_string(),
    }
}

/// The limits that are not about one client's budget. Named field by field: a new one must be written to compile.
fn others(limits: &Limits) -> [(&'static str, Value); 14] {
    let Limits {
        client: Budget { .. },
        connect_bytes_max,
        connections_max,
        receive_max,
        topic_alias_max,
        keep_alive_max,
        backpressure_max,
        will_delay_max,
        sessions_max,
        retained_messages_max,
        retained_bytes_max,
        topic_levels_max,
        qos_max,
        retain_available,
        policy_kv_bytes_max,
    } = limits;
    [
        ("connect_bytes_max", size(u64::from(*connect_bytes_max))),
        ("connections_max", json!(connections_max)),
        ("receive_max", json!(receive_max)),
        ("topic_alias_max", json!(topic_alias_max)),
        ("keep_alive_max", keep_alive_max.map_or_else(unlimited, duration)),
        (
            "backpressure_max",
            backpressure_max.map_or_else(|| Value::from("off"), duration),
        ),
        ("will_delay_max", duration(*will_delay_max)),
        ("sessions_max", json!(sessions_max)),
        ("retained_messages_max", json!(retained_messages_max)),
        ("retained_bytes_max", size(*retained_bytes_max)),
        ("topic_levels_max", json!(topic_levels_max)),
        ("qos_max", json!(*qos_max as u8)),
        ("retain_available", json!(retain_available)),
        ("policy_kv_bytes_max", size(*policy_kv_bytes_max as u64)),
    ]
}

type Amounts = [(&'static str, Option<Amount>)];

/// What all clients together may use is rates only; they come first.
fn rates_of(amounts: &Amounts) -> &Amounts {
    let rates = amounts
        .iter()
        .take_while(|(key, _)| key.ends_with("_per_second"))
        .count();
    amounts.get(..rates).unwrap_or_default()
}

fn rate_written(rate: Rate, written: impl Fn(u64) -> Value) -> Value {
    if rate == Rate::UNLIMITED {
        unlimited()
    } else if rate.burst == rate.per_second {
        written(rate.per_second)
    } else {
        json!({ "per_second": written(rate.per_second), "burst": written(rate.burst) })
    }
}

fn size(bytes: u64) -> Value {
    Value::from(size_text(bytes))
}

fn duration(duration: Duration) -> Value {
    Value::from(duration_text(duration))
}

fn unlimited() -> Value {
    Value::from("unlimited")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_client_limits;
    use std::path::Path;

    #[test]
    fn what_is_written_is_understood_again() {
        let text = r#"
            memory_limit = "2 GiB"
            [[listener]]
            name = "slow"
            address = "127.0.0.1:0"
            limits = { bytes_in_per_second = { per_second = "10 KiB", burst = "1 MiB" }, over_limit = "drop" }
            total = { messages_out_per_second = { per_second = 5, burst = 50 } }
            [limits]
            bytes_out_per_second = "3 MiB"
            subscribes_per_second = 7
            payload_bytes_max = "1000 B"
            connection_lifetime_max = "90 s"
            keep_alive_max = "5 min"
            will_delay_max = "0 s"
            queue_overflow = "disconnect"
            qos_max = 1
            retain_available = false
            [total]
            bytes_in_per_second = "1 GiB"
        "#;
        let config = Config::parse(Path::new("sluice.toml"), text).expect("it is right");
        let mut plain = config.clone();
        plain.limits = Limits::default();
        plain.total = Budget::default();
        plain.memory_limit = None;
        for listener in &mut plain.listeners {
            (listener.limits, listener.total) = <(Budget, Budget)>::default();
        }
        let said = config.written_limits().into_iter();
        let said = said.filter(|(_, value)| !value.is_null());
        let said: Vec<_> = said
            .map(|(key, value)| format!("{key}={}", written_text(&value)))
            .collect();
        assert_eq!(plain.with_limits(&said), Ok(config));
    }

    #[test]
    fn values_look_as_in_a_file() {
        let written = Config::default().written_limits();
        let value = |key: &str| {
            let found = written.iter().find(|(other, _)| other == key);
            found.map(|(_, value)| written_text(value)).expect(key)
        };
        assert_eq!(value("limits.packet_bytes_max"), "1 MiB");
        assert_eq!(value("limits.session_expiry_max"), "7 d");
        assert_eq!(value("limits.bytes_in_per_second"), "unlimited");
        assert_eq!(value("limits.retain_available"), "true");
        assert_eq!(value("total.bytes_in_per_second"), "unlimited");
        assert_eq!(value("listener.default.limits.packet_bytes_max"), "-");
        assert_eq!(value("memory_limit"), "unlimited");
        let keys: std::collections::BTreeSet<_> = written.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), written.len());
    }

    #[test]
    fn an_operator_can_lift_a_limit_of_one_client() {
        let lifted = [
            "bytes_in_per_second=unlimited".to_owned(),
            "messages_in_per_second=unlimited".to_owned(),
            "connection_lifetime_max=unlimited".to_owned(),
        ];
        let budget = parse_client_limits(&lifted).expect("it is right");
        assert_eq!(budget.bytes_in_per_second, Some(Rate::UNLIMITED));
        assert_eq!(budget.bytes_out_per_second, None, "nothing was said of it");
        assert_eq!(budget.connection_seconds_max, Some(u32::MAX));
        let amounts = budget.amounts().into_iter().filter_map(|(_, amount)| amount);
        assert!(amounts.map(amount_written).all(|written| written == "unlimited"));
    }

    #[test]
    fn a_packet_that_one_client_may_send_may_be_all_payload() {
        let raised = ["packet_bytes_max=64 MiB".to_owned()];
        let budget = parse_client_limits(&raised).expect("it is right");
        assert_eq!(budget.payload_bytes_max, Some(64 << 20));
    }
}

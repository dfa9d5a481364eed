//! What is to be reached, and whether it was.

use super::Results;
use super::table::{PLAIN, size, time};
use crate::broker::Kind;
use crate::measure::Measure;
use std::fmt::Write as _;

/// Something that Sluice is to reach in a case.
struct Goal {
    case: &'static str,
    measure: Measure,
    bound: Bound,
    at_least: f64,
    /// What would be better still.
    aim: Option<f64>,
}

/// What a goal is compared with.
#[derive(Clone, Copy)]
enum Bound {
    /// So many times less than this broker, in the same run.
    TimesLess(Kind),
    /// So many times what the same broker needs without: the variant `plain` of the case.
    TimesPlain,
    /// At most so much.
    AtMost(Unit),
    /// At least so much.
    AtLeast(Unit),
}

#[derive(Clone, Copy)]
enum Unit {
    Number,
    Bytes,
    Micros,
}

const fn goal(case: &'static str, measure: Measure, bound: Bound, at_least: f64, aim: Option<f64>) -> Goal {
    Goal {
        case,
        measure,
        bound,
        at_least,
        aim,
    }
}

const KIB: f64 = 1024.0;
const CPU: Measure = Measure::CpuMicrosPerMessage;
const VS_MOSQUITTO: Bound = Bound::TimesLess(Kind::Mosquitto);
const VS_RUMQTTD: Bound = Bound::TimesLess(Kind::Rumqttd);
const BYTES: Bound = Bound::AtMost(Unit::Bytes);
const TIMES: Bound = Bound::AtMost(Unit::Number);

const GOALS: &[Goal] = &[
    goal("fanin-50-1-q0-64", CPU, VS_MOSQUITTO, 2.0, Some(4.0)),
    goal("fanin-50-1-q0-64", CPU, VS_RUMQTTD, 1.2, Some(2.0)),
    goal("fanin-50-1-q1-64", CPU, VS_MOSQUITTO, 2.0, Some(4.0)),
    goal("fanout-1-100-q0-64", CPU, VS_MOSQUITTO, 8.0, None),
    goal("fanout-1-100-q0-64", CPU, VS_RUMQTTD, 1.0, None),
    goal("fanout-1-1000-q0-64", CPU, VS_MOSQUITTO, 8.0, None),
    goal("fanout-1-1000-q0-64", CPU, VS_RUMQTTD, 1.0, None),
    goal("pairs-1000-q0-64", CPU, VS_MOSQUITTO, 1.0, Some(1.5)),
    goal(
        "pairs-1000-q0-64",
        Measure::LatencyP50Micros,
        VS_MOSQUITTO,
        1.0,
        Some(1.5),
    ),
    goal("tls-fanin-q0-64", CPU, VS_MOSQUITTO, 1.5, Some(2.0)),
    goal("tls-fanin-records-q0-64", CPU, VS_MOSQUITTO, 1.5, Some(2.0)),
    goal("tls-fanin-single-q0-64", CPU, VS_MOSQUITTO, 1.5, Some(2.0)),
    goal(
        "idle-10k",
        Measure::BytesPerConnection,
        BYTES,
        6.0 * KIB,
        Some(2.0 * KIB),
    ),
    goal(
        "tls-idle-10k",
        Measure::BytesPerConnection,
        BYTES,
        20.0 * KIB,
        Some(12.0 * KIB),
    ),
    goal(
        "connect",
        Measure::ConnectsPerSecond,
        Bound::AtLeast(Unit::Number),
        15_000.0,
        Some(30_000.0),
    ),
    goal("auth-fanin-q0:asked", CPU, Bound::TimesPlain, 1.15, Some(1.05)),
    goal("auth-fanin-q0:grants-10", CPU, Bound::TimesPlain, 1.02, None),
    goal("auth-fanin-q0:cached", CPU, Bound::TimesPlain, 1.02, None),
    goal(
        "subs-100k",
        Measure::CpuRatioWithSubscriptions,
        TIMES,
        1.10,
        Some(1.03),
    ),
    goal(
        "subs-1m",
        Measure::BytesPerSubscription,
        BYTES,
        800.0,
        Some(300.0),
    ),
    goal(
        "retained-1m",
        Measure::BytesPerRetained,
        BYTES,
        600.0,
        Some(300.0),
    ),
    goal("durable-offline-100", Measure::LogRatio, TIMES, 3.0, None),
    goal("durable-offline-1000", Measure::LogRatio, TIMES, 3.0, None),
    // No cost that can be measured: a run is good to a few in a hundred.
    goal("disk-fanin-q0:always", CPU, Bound::TimesPlain, 1.05, None),
    goal("disk-fanin-q1:always", CPU, Bound::TimesPlain, 1.05, None),
    goal("swap", Measure::Disconnects, TIMES, 0.0, None),
    goal(
        "swap",
        Measure::LatencyMaxDuringSwapMicros,
        Bound::AtMost(Unit::Micros),
        10_000.0,
        Some(1000.0),
    ),
];

/// The goals of the cases that were run, as a table; empty if there are none. A case without the broker it is to be
/// compared with is left out.
pub(super) fn goals(results: &Results) -> String {
    let mut text = String::new();
    for goal in GOALS {
        let Some(measured) = goal.measured(results) else {
            continue;
        };
        if text.is_empty() {
            text.push_str(
                "\n## Goals\n\n| case | what | goal | aim | measured | |\n|---|---|---|---|---|---|\n",
            );
        }
        let aim = goal.aim.map_or_else(|| "–".into(), |aim| goal.text(aim));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {aim} | {} | {} |",
            goal.case,
            goal.what(),
            goal.text(goal.at_least),
            goal.text(measured),
            goal.verdict(measured)
        );
    }
    text
}

impl Goal {
    fn measured(&self, results: &Results) -> Option<f64> {
        let of = |case: &str, kind| results.summary(case, kind)?.figures.get(self.measure);
        let own = of(self.case, Kind::Sluice)?;
        match self.bound {
            Bound::TimesLess(other) => Some(of(self.case, other)? / own),
            Bound::TimesPlain => {
                let (case, _) = self.case.split_once(':')?;
                Some(own / of(&format!("{case}:{PLAIN}"), Kind::Sluice)?)
            }
            Bound::AtMost(_) | Bound::AtLeast(_) => Some(own),
        }
    }

    fn what(&self) -> String {
        let measure = match self.measure {
            Measure::CpuMicrosPerMessage => "processor time",
            Measure::LatencyP50Micros => "p50",
            Measure::BytesPerConnection | Measure::BytesPerSubscription | Measure::BytesPerRetained => {
                "memory of each"
            }
            Measure::ConnectsPerSecond => "connects a second",
            Measure::CpuRatioWithSubscriptions => "processor time, by that without them",
            Measure::LogRatio => "raw log, by acknowledged",
            Measure::Disconnects => "disconnects",
            Measure::LatencyMaxDuringSwapMicros => "longest delay",
            _ => "",
        };
        match self.bound {
            Bound::TimesLess(other) => format!("{measure}, less than {other}"),
            Bound::TimesPlain => format!("{measure}, by `plain`"),
            Bound::AtMost(_) | Bound::AtLeast(_) => measure.to_owned(),
        }
    }

    fn text(&self, value: f64) -> String {
        match self.bound {
            Bound::TimesLess(_) | Bound::TimesPlain => format!("{value:.2}x"),
            Bound::AtMost(Unit::Bytes) | Bound::AtLeast(Unit::Bytes) => size(value),
            Bound::AtMost(Unit::Micros) | Bound::AtLeast(Unit::Micros) => time(value),
            Bound::AtMost(Unit::Number) if self.measure != Measure::Disconnects => format!("{value:.2}x"),
            Bound::AtMost(Unit::Number) | Bound::AtLeast(Unit::Number) => format!("{value:.0}"),
        }
    }

    fn verdict(&self, measured: f64) -> &'static str {
        if self.aim.is_some_and(|aim| self.is_within(measured, aim)) {
            "aim reached"
        } else if self.is_within(measured, self.at_least) {
            "reached"
        } else {
            "**missed**"
        }
    }

    fn is_within(&self, measured: f64, wanted: f64) -> bool {
        match self.bound {
            Bound::TimesLess(_) | Bound::AtLeast(_) => measured >= wanted,
            Bound::TimesPlain | Bound::AtMost(_) => measured <= wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::catalogue;
    use crate::measure::Figures;
    use crate::report::Run;

    fn add(results: &mut Results, case: &str, broker: Kind, figures: Figures) {
        results.runs.push(Run {
            case: case.into(),
            broker,
            repeat: 1,
            figures,
            failed: None,
        });
        results.summarise();
    }

    fn cpu(micros: f64) -> Figures {
        Figures::default().with(CPU, micros)
    }

    #[test]
    fn every_goal_is_of_a_case_and_has_words() {
        let cases = catalogue();
        for goal in GOALS {
            assert!(cases.iter().any(|case| case.name == goal.case), "{}", goal.case);
            assert!(!goal.what().is_empty(), "{}", goal.case);
        }
    }

    #[test]
    fn a_goal_is_compared_in_the_same_run() {
        let mut results = Results::default();
        add(&mut results, "fanin-50-1-q0-64", Kind::Sluice, cpu(1.0));
        assert_eq!(goals(&results), "", "nobody to compare with");
        add(&mut results, "fanin-50-1-q0-64", Kind::Mosquitto, cpu(3.0));
        let text = goals(&results);
        let row =
            "| fanin-50-1-q0-64 | processor time, less than mosquitto | 2.00x | 4.00x | 3.00x | reached |\n";
        assert!(text.ends_with(row), "{text}");
        add(&mut results, "fanin-50-1-q0-64", Kind::Rumqttd, cpu(1.1));
        assert!(goals(&results).ends_with("| 1.20x | 2.00x | 1.10x | **missed** |\n"));
    }

    #[test]
    fn less_is_better_for_a_variant_and_for_memory() {
        let mut results = Results::default();
        add(&mut results, "auth-fanin-q0:plain", Kind::Sluice, cpu(1.0));
        add(&mut results, "auth-fanin-q0:asked", Kind::Sluice, cpu(1.2));
        let memory = Figures::default().with(Measure::BytesPerConnection, 11.0 * KIB);
        add(&mut results, "tls-idle-10k", Kind::Sluice, memory);
        let text = goals(&results);
        assert!(
            text.contains("| 20.0 KiB | 12.0 KiB | 11.0 KiB | aim reached |"),
            "{text}"
        );
        assert!(
            text.contains("by `plain` | 1.15x | 1.05x | 1.20x | **missed** |"),
            "{text}"
        );
    }
}

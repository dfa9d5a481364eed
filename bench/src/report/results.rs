//! All results of a run, as they are written to and read from `results.json`.

use super::Machine;
use crate::broker::Kind;
use crate::measure::Figures;
use serde::{Deserialize, Serialize};

/// Everything that is known after a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where it ran.
    pub machine: Machine,
    /// How.
    pub settings: Settings,
    /// Which brokers took part.
    pub brokers: Vec<Broker>,
    /// Which did not.
    pub absent: Vec<Absent>,
    /// Every single run.
    pub runs: Vec<Run>,
    /// Their medians, by case and broker.
    pub medians: Vec<Summary>,
}

/// How a run was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Measured time of each run.
    pub seconds: f64,
    /// Before that.
    pub warm_up_seconds: f64,
    /// Runs of each case with each broker.
    pub repeat: u32,
    /// The version that clients spoke.
    pub mqtt: String,
    /// The processor of the brokers, if they had one for themselves.
    pub broker_core: Option<usize>,
    /// The processor of the load.
    pub load_core: Option<usize>,
    /// Numbers of clients, subscriptions and messages were divided by this.
    pub divisor: usize,
    /// Load average of the last minute before the run: other work on the machine.
    pub load_average: f64,
}

/// A broker that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Which.
    pub broker: Kind,
    /// Its own words.
    pub version: String,
}

/// A broker that did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// Which.
    pub broker: Kind,
    /// Why.
    pub because: String,
}

/// One run of one case with one broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The case's name.
    pub case: String,
    /// Which broker.
    pub broker: Kind,
    /// From 1.
    pub repeat: u32,
    /// What was measured; empty when it failed.
    pub figures: Figures,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// The medians of a case with a broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The case's name.
    pub case: String,
    /// Which broker.
    pub broker: Kind,
    /// Medians of the runs that did not fail.
    pub figures: Figures,
    /// Why the last run that failed did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Results {
    /// Makes the medians anew, in the order of the runs.
    pub fn summarise(&mut self) {
        self.medians.clear();
        for run in &self.runs {
            if self.summary(&run.case, run.broker).is_some() {
                continue;
            }
            let same = || {
                self.runs
                    .iter()
                    .filter(|other| other.case == run.case && other.broker == run.broker)
            };
            let summary = Summary {
                case: run.case.clone(),
                broker: run.broker,
                figures: Figures::medians(same().filter(|run| run.failed.is_none()).map(|run| &run.figures)),
                failed: same().rev().find_map(|run| run.failed.clone()),
            };
            self.medians.push(summary);
        }
    }

    /// The medians of a case with a broker.
    pub fn summary(&self, case: &str, broker: Kind) -> Option<&Summary> {
        self.medians
            .iter()
            .find(|summary| summary.case == case && summary.broker == broker)
    }

    /// All cases, in the order they ran.
    pub fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for summary in &self.medians {
            if !cases.contains(&summary.case.as_str()) {
                cases.push(&summary.case);
            }
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Measure;

    fn run(case: &str, broker: Kind, repeat: u32, value: f64) -> Run {
        Run {
            case: case.into(),
            broker,
            repeat,
            figures: Figures::default().with(Measure::CpuMicrosPerMessage, value),
            failed: None,
        }
    }

    #[test]
    fn medians_are_by_case_and_broker() {
        let mut results = Results::default();
        for (repeat, value) in [(1, 3.0), (2, 1.0), (3, 2.0)] {
            results.runs.push(run("a", Kind::Sluice, repeat, value));
            results.runs.push(run("a", Kind::Mosquitto, repeat, 10.0 * value));
        }
        results.runs.push(run("b", Kind::Sluice, 1, 7.0));
        results.summarise();
        let cpu = |case, broker| {
            let figures = &results.summary(case, broker).unwrap().figures;
            figures.get(Measure::CpuMicrosPerMessage)
        };
        assert_eq!(cpu("a", Kind::Sluice), Some(2.0));
        assert_eq!(cpu("a", Kind::Mosquitto), Some(20.0));
        assert_eq!(cpu("b", Kind::Sluice), Some(7.0));
        assert_eq!(results.summary("b", Kind::Mosquitto), None);
        assert_eq!(results.cases(), ["a", "b"]);
    }

    #[test]
    fn a_run_that_failed_does_not_change_the_median() {
        let mut results = Results::default();
        results.runs.push(run("a", Kind::Sluice, 1, 3.0));
        results.runs.push(Run {
            figures: Figures::default(),
            failed: Some("it ended".into()),
            ..run("a", Kind::Sluice, 2, 0.0)
        });
        results.summarise();
        let summary = results.summary("a", Kind::Sluice).unwrap();
        assert_eq!(summary.figures.get(Measure::CpuMicrosPerMessage), Some(3.0));
        assert_eq!(summary.failed.as_deref(), Some("it ended"));
    }

    #[test]
    fn results_survive_their_file() {
        let mut results = Results::default();
        results.runs.push(run("a", Kind::Rumqttd, 1, 3.5));
        results.summarise();
        let json = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&json).unwrap(), results);
    }
}

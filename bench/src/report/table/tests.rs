use super::*;
use crate::report::{Absent, Broker, Run};

fn add(results: &mut Results, case: &str, broker: Kind, figures: Figures) {
    results.runs.push(Run {
        case: case.into(),
        broker,
        repeat: 1,
        figures,
        failed: None,
    });
}

fn flow(cpu: f64) -> Figures {
    Figures::default()
        .with(Measure::MessagesPerSecond, 123_456.0)
        .with(Measure::CpuMicrosPerMessage, cpu)
        .with(Measure::LatencyP99Micros, 1500.0)
        .with(Measure::MessagesLost, 0.0)
}

fn results() -> Results {
    let mut results = Results::default();
    for broker in [Kind::Sluice, Kind::Mosquitto] {
        let version = "1.0".into();
        results.brokers.push(Broker { broker, version });
    }
    results
}

fn rows(mut results: Results) -> Vec<String> {
    results.summarise();
    let text = markdown(&results);
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(str::to_owned).collect()
}

#[test]
fn a_cell_ends_with_the_ratio_to_mosquitto() {
    let mut results = results();
    add(&mut results, "fanin", Kind::Sluice, flow(4.0));
    add(&mut results, "fanin", Kind::Mosquitto, flow(8.0));
    assert_eq!(
        rows(results),
        [
            "| case | sluice | mosquitto |",
            "| fanin | 123.5k/s, 4.00 µs, p99 1.5 ms, **×0.50** | 123.5k/s, 8.00 µs, p99 1.5 ms |",
        ]
    );
}

#[test]
fn a_variant_is_compared_with_the_same_brokers_plain_one() {
    let mut results = results();
    add(&mut results, "auth-fanin-q0:plain", Kind::Sluice, flow(4.0));
    add(&mut results, "auth-fanin-q0:plain", Kind::Mosquitto, flow(8.0));
    add(&mut results, "auth-fanin-q0:asked", Kind::Sluice, flow(5.0));
    let rows = rows(results);
    assert!(
        rows[1].contains("**×0.50** |") && rows[2].ends_with("**×1.25** | – |"),
        "{rows:?}"
    );
}

#[test]
fn what_failed_says_why() {
    let mut results = results();
    results.runs.push(Run {
        case: "stalled".into(),
        broker: Kind::Sluice,
        repeat: 1,
        figures: Figures::default(),
        failed: Some("a|b".into()),
    });
    assert_eq!(rows(results)[1], "| stalled | failed: a/b | – |");
}

#[test]
fn losses_and_disconnects_are_told_only_when_there_are_some() {
    let lossy = flow(1.0)
        .with(Measure::MessagesLost, 20_000.0)
        .with(Measure::Disconnects, 2.0);
    let text = figures_text(&lossy);
    assert!(
        text.contains("2 disconnects") && text.contains("20.0k lost"),
        "{text}"
    );
    assert!(!figures_text(&flow(1.0)).contains("lost"));
}

#[test]
fn a_broker_that_is_absent_is_named() {
    let mut results = results();
    let because = "it is not installed".into();
    let broker = Kind::Rumqttd;
    results.absent.push(Absent { broker, because });
    assert!(markdown(&results).contains("- rumqttd is absent: it is not installed"));
}

#[test]
fn numbers_have_units_people_read() {
    assert_eq!(
        (count(999.0), count(10_000.0), count(2.5e6)),
        ("999".into(), "10.0k".into(), "2.50M".into())
    );
    assert_eq!(
        (time(84.0), time(1500.0), time(2e6)),
        ("84 µs".into(), "1.5 ms".into(), "2.00 s".into())
    );
    assert_eq!(
        (size(300.0), size(2048.0), size(3e6)),
        ("300 B".into(), "2.0 KiB".into(), "2.9 MiB".into())
    );
}

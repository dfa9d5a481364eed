//! `sluice-bench run`.

use super::load::duration;
use super::{Mqtt, json_text, plot, say, tell};
use crate::broker::{Cores, Installed, Kind, Programs, raise_open_files};
use crate::case::{Case, Terms, catalogue};
use crate::failure::{During, Failure, Result};
use crate::measure::Figures;
use crate::report::{Absent, Broker, Machine, Results, Run, Settings, figures_text, markdown};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct RunArguments {
    /// Only these cases: a name, or the beginning of names up to a `-`. All but the largest if left out.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Only these brokers.
    #[arg(long = "broker", value_enum, value_name = "NAME")]
    brokers: Vec<Kind>,
    /// Measured time of a case.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Time before anything is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up: f64,
    /// Runs of each case with each broker; medians are compared.
    #[arg(long, value_name = "RUNS", default_value_t = 3)]
    repeat: u32,
    /// A smoke run: everything once, briefly, with a fiftieth of the clients, subscriptions and messages.
    #[arg(long, conflicts_with_all = ["seconds", "warm_up", "repeat"])]
    quick: bool,
    /// Version of MQTT that clients speak. Only 3.1.1 is known to all brokers.
    #[arg(long, value_enum, default_value = "3.1.1")]
    mqtt: Mqtt,
    /// Messages of each publisher that are not delivered yet, instead of each case's own number.
    #[arg(long, value_name = "MESSAGES")]
    window: Option<u64>,
    /// Most messages in one write of a publisher, instead of all that its window allows.
    #[arg(long, value_name = "MESSAGES")]
    burst: Option<u64>,
    /// Processor for the broker. With neither: the first two processors.
    #[arg(long, value_name = "CORE", requires = "load_core")]
    broker_core: Option<usize>,
    /// Processor for the load.
    #[arg(long, value_name = "CORE", requires = "broker_core")]
    load_core: Option<usize>,
    /// Let the kernel choose processors.
    #[arg(long, conflicts_with_all = ["broker_core", "load_core"])]
    no_pin: bool,
    /// Directory for results, and for the brokers' configurations and logs.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Print the results as JSON instead of the table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    programs: Programs,
}

pub(super) fn run(arguments: &RunArguments) -> Result<()> {
    raise_open_files();
    let cases = chosen_cases(&arguments.cases)?;
    let (brokers, absent) = find_brokers(arguments);
    if brokers.is_empty() {
        return Err(Failure::new(format!(
            "no broker is installed: {}",
            absent
                .iter()
                .map(|absent| absent.because.as_str())
                .collect::<Vec<_>>()
                .join("; ")
        )));
    }
    let cores = cores(arguments)?;
    cores.pin_load()?;
    let (terms, repeat) = terms(arguments)?;
    let mut results = Results {
        machine: Machine::here(),
        settings: settings(arguments, &terms, repeat, cores),
        brokers: brokers
            .iter()
            .map(|broker| Broker {
                broker: broker.kind,
                version: broker.version.clone(),
            })
            .collect(),
        absent,
        ..Results::default()
    };
    let mut begun = 0;
    // Cases that are compared with each other take turns, so that what else happens meets all of them alike.
    for family in cases.chunk_by(|one, next| one.family() == next.family()) {
        for turn in 1..=repeat {
            for case in family {
                if turn == 1 {
                    begun += 1;
                    tell(&format!(
                        "[{begun}/{}] {}: {}",
                        cases.len(),
                        case.name,
                        case.about
                    ));
                } else {
                    tell(&format!("{}, again", case.name));
                }
                for broker in brokers.iter().filter(|broker| case.suits(&terms, broker.kind)) {
                    let run = measure(case, broker, turn, &terms, cores, &arguments.out);
                    tell(&progress(&run));
                    results.runs.push(run);
                }
            }
        }
        // What is there so far survives an interruption.
        results.summarise();
        save(&results, &arguments.out)?;
    }
    plot::write(&results, &arguments.out)?;
    if arguments.json {
        say(&json_text(&results)?);
    } else {
        say(&markdown(&results));
    }
    Ok(())
}

fn chosen_cases(patterns: &[String]) -> Result<Vec<Case>> {
    let unknown = patterns
        .iter()
        .find(|pattern| !catalogue().iter().any(|case| case.is_meant_by(pattern)));
    if let Some(unknown) = unknown {
        return Err(Failure::new(format!(
            "no case begins with {unknown:?}: see `sluice-bench list`"
        )));
    }
    let mut cases = catalogue();
    cases.retain(|case| {
        if patterns.is_empty() {
            case.by_default
        } else {
            patterns.iter().any(|pattern| case.is_meant_by(pattern))
        }
    });
    Ok(cases)
}

fn find_brokers(arguments: &RunArguments) -> (Vec<Installed>, Vec<Absent>) {
    let wanted: &[Kind] = if arguments.brokers.is_empty() {
        Kind::value_variants()
    } else {
        &arguments.brokers
    };
    let mut found = Vec::new();
    let mut absent = Vec::new();
    for broker in wanted {
        match Installed::find(*broker, &arguments.programs) {
            Ok(installed) => {
                tell(&format!("{broker}: {}", installed.version));
                found.push(installed);
            }
            Err(why) => {
                tell(&format!("{broker} is left out: {why}"));
                absent.push(Absent {
                    broker: *broker,
                    because: why.to_string(),
                });
            }
        }
    }
    (found, absent)
}

fn cores(arguments: &RunArguments) -> Result<Cores> {
    if arguments.no_pin {
        return Ok(Cores::anywhere());
    }
    if arguments.broker_core.is_some() {
        return Ok(Cores {
            broker: arguments.broker_core,
            load: arguments.load_core,
        });
    }
    Cores::first_two()
}

fn terms(arguments: &RunArguments) -> Result<(Terms, u32)> {
    const QUICK_DIVISOR: usize = 50;
    let (seconds, warm_up, repeat, divisor) = if arguments.quick {
        (0.2, 0.1, 1, QUICK_DIVISOR)
    } else {
        (arguments.seconds, arguments.warm_up, arguments.repeat, 1)
    };
    let terms = Terms {
        version: arguments.mqtt.version(),
        warm_up: duration(warm_up)?,
        measured: duration(seconds)?,
        window: arguments.window,
        burst: arguments.burst,
        divisor,
    };
    Ok((terms, repeat))
}

fn settings(arguments: &RunArguments, terms: &Terms, repeat: u32, cores: Cores) -> Settings {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load
        .split_ascii_whitespace()
        .next()
        .and_then(|load| load.parse().ok());
    Settings {
        seconds: terms.measured.as_secs_f64(),
        warm_up_seconds: terms.warm_up.as_secs_f64(),
        repeat,
        mqtt: arguments.mqtt.name().into(),
        broker_core: cores.broker,
        load_core: cores.load,
        divisor: terms.divisor,
        load_average: load.unwrap_or_default(),
    }
}

/// One run of one case with one broker, from its start to its end.
fn measure(case: &Case, broker: &Installed, repeat: u32, terms: &Terms, cores: Cores, out: &Path) -> Run {
    let figures = broker
        .start(case.setup(terms), &out.join("brokers"), cores)
        .and_then(|running| case.run(&running, terms));
    let (figures, failed) = match figures {
        Ok(figures) => (figures, None),
        Err(why) => (Figures::default(), Some(why.to_string())),
    };
    Run {
        case: case.name.clone(),
        broker: broker.kind,
        repeat,
        figures,
        failed,
    }
}

fn progress(run: &Run) -> String {
    let words = run
        .failed
        .as_ref()
        .map_or_else(|| figures_text(&run.figures), |why| format!("failed: {why}"));
    format!("  {:10} {} {words}", run.broker, run.repeat)
}

fn save(results: &Results, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).during(out.display())?;
    let path = out.join("results.json");
    std::fs::write(&path, json_text(results)? + "\n").during(path.display())
}

//! `sluice-bench load`.

use super::{Mqtt, say, say_json, tell};
use crate::broker::raise_open_files;
use crate::failure::{During, Failure, Result};
use crate::load::{Batch, Door, Encryption, Fleet, Flow, Pace, Shape, Traffic, Until};
use crate::measure::{CpuTime, Figures, Measure, cpu_time};
use crate::report::figures_text;
use crate::wire::Credentials;
use clap::Args;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub(super) struct LoadArguments {
    /// Where the broker listens.
    #[arg(long, value_name = "IP:PORT")]
    address: SocketAddr,
    /// Clients that publish, each to a topic of its own.
    #[arg(long, default_value_t = 50)]
    publishers: usize,
    /// Clients that subscribe to all of them.
    #[arg(long, default_value_t = 1)]
    subscribers: usize,
    /// Instead: so many publishers, each with a subscriber of its own.
    #[arg(long, conflicts_with_all = ["publishers", "subscribers"])]
    pairs: Option<usize>,
    /// Quality of service.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Bytes of each payload, at least 12.
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    payload: usize,
    /// Messages per second, all publishers together.
    #[arg(long, value_name = "MESSAGES")]
    rate: Option<f64>,
    /// Messages of each publisher that are not delivered yet.
    #[arg(long, default_value_t = 20, conflicts_with = "rate")]
    window: u64,
    /// Most messages in one write; all that the window allows if left out.
    #[arg(long, conflicts_with = "rate")]
    burst: Option<u64>,
    /// Measured time.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Time before anything is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up: f64,
    /// Version of MQTT.
    #[arg(long, value_enum, default_value = "3.1.1")]
    mqtt: Mqtt,
    /// User name.
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// Password.
    #[arg(long, env = "SLUICE_BENCH_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Speak TLS 1.3 to the broker with this certificate, or one it signed (PEM).
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// The name in the broker's certificate.
    #[arg(long, value_name = "NAME", default_value = "localhost", requires = "tls")]
    tls_name: String,
    /// The broker's process on this machine: its processor time is measured then.
    #[arg(long)]
    pid: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn load(arguments: &LoadArguments) -> Result<()> {
    raise_open_files();
    let flow = flow(arguments)?;
    let credentials = arguments.user.as_ref().map(|user| Credentials {
        user: user.clone(),
        password: arguments.password.clone().unwrap_or_default(),
    });
    let mut fleet = Fleet::new(Door {
        address: arguments.address,
        version: arguments.mqtt.version(),
        encryption: encryption(arguments)?,
    })?;
    tell("connecting");
    let mut traffic = Traffic::prepare(&mut fleet, flow, credentials.as_ref())?;
    tell("measuring");
    let probe = || arguments.pid.map_or_else(|| Ok(CpuTime::default()), cpu_time);
    let figures = Figures::default().with_outcome(&traffic.run(&mut fleet, &probe)?);
    let figures = if arguments.pid.is_none() {
        figures
            .without(Measure::CpuMicrosPerMessage)
            .without(Measure::UserMicrosPerMessage)
            .without(Measure::SystemMicrosPerMessage)
    } else {
        figures
    };
    if arguments.json {
        return say_json(&figures);
    }
    let mut text = figures_text(&figures);
    for (name, measure) in [
        ("p99.9", Measure::LatencyP999Micros),
        ("longest", Measure::LatencyMaxMicros),
    ] {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            ", {name} {:.0} µs",
            figures.get(measure).unwrap_or_default()
        );
    }
    say(&text);
    Ok(())
}

fn encryption(arguments: &LoadArguments) -> Result<Option<Encryption>> {
    let Some(file) = &arguments.tls else {
        return Ok(None);
    };
    let pem = std::fs::read(file).during(file.display())?;
    Encryption::trusting_pem(&pem, &arguments.tls_name)
        .during(file.display())
        .map(Some)
}

fn flow(arguments: &LoadArguments) -> Result<Flow> {
    let shape = match arguments.pairs {
        Some(pairs) => Shape::Pairs(pairs),
        None => Shape::Fan {
            publishers: arguments.publishers,
            subscribers: arguments.subscribers,
        },
    };
    if shape.publishers() == 0 || shape.subscribers() == 0 {
        return Err(Failure::new("a load needs a publisher and a subscriber"));
    }
    let pace = match arguments.rate {
        Some(rate) if rate > 0.0 => Pace::PerSecond(rate),
        Some(_) => return Err(Failure::new("--rate is more than 0")),
        None => Pace::Window {
            until: Until::Delivered,
            outstanding: arguments.window,
            batch: arguments.burst.map_or(Batch::All, Batch::AtMost),
        },
    };
    Ok(Flow {
        shape,
        qos: arguments.qos,
        payload_bytes: arguments.payload,
        pace,
        warm_up: duration(arguments.warm_up)?,
        measured: duration(arguments.seconds)?,
    })
}

/// Seconds of the command line.
pub(super) fn duration(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| Failure::new(format!("{seconds} s is no time")))
}

//! The log on standard error: one line for each event, for people or for machines.
//!
//! A thread of its own writes the lines, so that a slow terminal or a stuck log daemon never stops a client. When it
//! does not keep up, lines are lost and their number is written as soon as there is room again.

mod format;

use format::{Layout, LineLayer};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

/// Keeps the log going; when it is dropped, what is still to be written is written.
#[derive(Debug)]
#[must_use]
pub struct Logging {
    lines: SyncSender<Order>,
    ended: Receiver<()>,
}

/// Starts the log of this process. `is_json` is for machines or for people; `None`: JSON unless standard error is a
/// terminal.
///
/// # Errors
/// When `SLUICE_LOG` makes no sense, or there is a log already.
pub fn start(level: Level, is_json: Option<bool>) -> Result<Logging, String> {
    let from_environment = std::env::var("SLUICE_LOG").ok().filter(|text| !text.is_empty());
    let filter = match &from_environment {
        Some(text) => parse_filter(text)?,
        None => filter_of(level),
    };
    let layout = layout(is_json);
    let (lines, orders) = sync_channel(LINES_WAITING_MAX);
    let (tell_end, ended) = sync_channel(1);
    let lost = Arc::new(AtomicU64::new(0));
    let writer = Writer {
        layout,
        orders,
        lost: Arc::clone(&lost),
    };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            writer.run(&mut std::io::stderr().lock());
            // Nobody waits for it if the guard was leaked.
            let _ = tell_end.send(());
        })
        .map_err(|error| format!("the log's thread cannot start: {error}"))?;

    let sender = lines.clone();
    let layer = LineLayer::new(layout, move |line| {
        if let Err(TrySendError::Full(_)) = sender.try_send(Order::Line(line)) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    subscriber
        .try_init()
        .map_err(|error| format!("the log cannot start: {error}"))?;
    if from_environment.is_none() {
        // The operator who sets SLUICE_LOG wants just that, whatever the configuration becomes.
        let _ = LEVEL.set(handle);
    }
    Ok(Logging { lines, ended })
}

/// Changes the least important level that is written, unless `SLUICE_LOG` rules.
pub fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get() {
        // It fails when the subscriber is gone, with the process.
        let _ = handle.reload(filter_of(level));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // A reader that takes nothing must not keep the process from ending.
        if self.lines.try_send(Order::End).is_ok() {
            let _ = self.ended.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

enum Order {
    Line(String),
    End,
}

struct Writer {
    layout: Layout,
    orders: Receiver<Order>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    fn run(self, out: &mut impl Write) {
        // Without a reader of the log there is nobody to tell.
        while let Ok(Order::Line(line)) = self.orders.recv() {
            let _ = out.write_all(line.as_bytes());
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let _ = out.write_all(self.layout.lines_lost(lost).as_bytes());
            }
        }
        let _ = out.flush();
    }
}

/// Ours at this level; what others have to say only when it is a warning at least.
fn filter_of(level: Level) -> EnvFilter {
    let others = level.min(Level::WARN);
    EnvFilter::new(format!("{others},sluice={level},sluice_mqtt={level}"))
}

fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    if let Ok(level) = text.parse::<Level>() {
        return Ok(filter_of(level));
    }
    let examples = "use error, warn, info, debug or trace, or directives such as \"info,sluice=debug\"";
    EnvFilter::try_new(text)
        .map_err(|error| format!("SLUICE_LOG=\"{text}\" is not understood: {error}; {examples}"))
}

fn layout(is_json: Option<bool>) -> Layout {
    let is_terminal = std::io::stderr().is_terminal();
    if is_json.unwrap_or(!is_terminal) {
        return Layout::Json;
    }
    let is_colourful = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Layout::Human { is_colourful }
}

static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
/// Lines that wait for the writer, about 1 KiB each at most: 4 MiB.
const LINES_WAITING_MAX: usize = 4_096;
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_of_the_environment_is_ours_alone() {
        assert_eq!(
            parse_filter("debug").expect("a level").to_string(),
            filter_of(Level::DEBUG).to_string()
        );
        assert!(parse_filter("info,wasmtime=debug").is_ok());
        let error = parse_filter("sluice=loud").expect_err("no level");
        assert!(
            error.starts_with("SLUICE_LOG=\"sluice=loud\" is not understood"),
            "{error}"
        );
    }

    #[test]
    fn what_was_lost_is_said_when_there_is_room_again() {
        let (lines, orders) = sync_channel(8);
        let lost = Arc::new(AtomicU64::new(3));
        let writer = Writer {
            layout: Layout::Json,
            orders,
            lost,
        };
        lines.send(Order::Line("first\n".to_owned())).expect("room");
        lines.send(Order::Line("second\n".to_owned())).expect("room");
        lines.send(Order::End).expect("room");
        let mut out = Vec::new();
        writer.run(&mut out);
        let text = String::from_utf8(out).expect("text");
        let written: Vec<_> = text.lines().collect();
        assert_eq!(written.len(), 3, "{text}");
        assert_eq!((written[0], written[2]), ("first", "second"));
        assert!(
            written[1].contains(r#""event":"log_lines_lost","count":3"#),
            "{text}"
        );
    }
}

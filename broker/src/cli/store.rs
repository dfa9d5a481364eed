//! `sluice store`: checks, repairs and writes out the store of a broker that does not run. `sluice backup` copies that
//! of one that does; `sluice restore` puts a copy back.

use super::client::{number, tell};
use super::terminal::{amount, bytes, complain, say, say_json};
use super::{Failure, Outcome, Reach, broker};
use crate::admin::Request;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sluice_store::care::{self, Report, TableReport};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Which store.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Where {
    /// A `data_dir`, or a copy that `sluice backup` made.
    path: Option<PathBuf>,
    /// The configuration whose `data_dir` it is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Look at every row, and change nothing.
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        place: Where,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Drop what cannot be read; the store as it was is kept beside it.
    Repair {
        #[command(flatten)]
        place: Where,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write all of it to standard output, one JSON object on a line.
    #[command(after_help = EXPORT_HELP)]
    Export {
        #[command(flatten)]
        place: Where,
    },
}

#[derive(Args)]
pub(super) struct BackupArguments {
    #[command(flatten)]
    reach: Reach,
    /// The file to make. It must not exist.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RestoreArguments {
    /// What `sluice backup` made.
    file: PathBuf,
    #[command(flatten)]
    place: Where,
}

impl Where {
    fn path(&self) -> Result<PathBuf, Failure> {
        let Some(file) = &self.config else {
            return Ok(self.path.clone().unwrap_or_default());
        };
        let config = broker::read_config(Some(file), &[]).map_err(|problems| broker::refuse(&problems))?;
        let missing = || Failure::because(format!("{}: there is no data_dir in it", file.display()));
        config.data_dir.ok_or_else(missing)
    }
}

pub(super) fn store(command: StoreCommand) -> Outcome {
    match command {
        StoreCommand::Check { place, json } => {
            let report = care::check(&place.path()?).map_err(Failure::because)?;
            show(&report, &Value::Null, json, "nothing is wrong with it");
            if report.is_sound() {
                Ok(())
            } else {
                Err(Failure::Told)
            }
        }
        StoreCommand::Repair { place, json } => {
            let repaired = care::repair(&place.path()?).map_err(Failure::because)?;
            let done = match &repaired.original {
                Some(original) => format!(
                    "{} kept; the store as it was is {}",
                    amount(repaired.kept, "row"),
                    original.display()
                ),
                None => "nothing is wrong with it, and nothing was done".to_owned(),
            };
            let more = json!({ "kept": repaired.kept, "original": repaired.original });
            show(&repaired.report, &more, json, &done);
            Ok(())
        }
        StoreCommand::Export { place } => {
            let mut out = BufWriter::new(io::stdout().lock());
            care::export(&place.path()?, &mut out, &output()).map_err(Failure::because)
        }
    }
}

/// What standard output is called: the file that it goes to, if it goes to one.
fn output() -> PathBuf {
    let file = std::fs::read_link("/proc/self/fd/1").ok();
    let file = file.filter(|file| file.is_absolute());
    file.unwrap_or_else(|| PathBuf::from("standard output"))
}

fn show(report: &Report, more: &Value, json: bool, done: &str) {
    if json {
        let mut value = report_json(report);
        if let (Some(fields), Some(more)) = (value.as_object_mut(), more.as_object()) {
            fields.extend(more.clone());
        }
        say_json(&value);
        return;
    }
    for finding in &report.findings {
        complain(finding);
    }
    let unsaid = report.findings_total - report.findings.len() as u64;
    if unsaid > 0 {
        complain(&format!("... and {unsaid} more"));
    }
    if report.is_sound() || !more.is_null() {
        say(done);
    }
}

fn report_json(report: &Report) -> Value {
    let table =
        |table: &TableReport| json!({ "table": table.table, "rows": table.rows, "damaged": table.damaged });
    json!({
        "ok": report.is_sound(),
        "tables": report.tables.iter().map(table).collect::<Vec<_>>(),
        "findings": report.findings,
        "findings_total": report.findings_total,
    })
}

/// The broker can write to its `data_dir` only, so the copy is made there and moved from here.
pub(super) fn backup(arguments: &BackupArguments) -> Outcome {
    let exists = arguments.file.try_exists().map_err(Failure::because)?;
    if exists {
        let file = arguments.file.display();
        return Err(Failure::because(format!("{file} exists and is not overwritten")));
    }
    let mut connection = arguments.reach.connect()?;
    connection.be_patient().map_err(Failure::because)?;
    let mut answer = connection.call(&Request::Backup, &[]).map_err(Failure::because)?;
    let made = PathBuf::from(answer.get("path").and_then(Value::as_str).unwrap_or_default());
    let wrong = |error: io::Error| {
        let (made, file) = (made.display(), arguments.file.display());
        Failure::because(format!("{made} cannot be moved to {file}: {error}"))
    };
    move_to(&made, &arguments.file).map_err(wrong)?;
    if let Some(path) = answer.get_mut("path") {
        *path = json!(arguments.file.display().to_string());
    }
    tell(&answer, arguments.json, |answer| {
        let size = bytes(number(answer, "bytes"));
        let rows = amount(number(answer, "rows"), "row");
        format!("{}: {rows}, {size}", arguments.file.display())
    })
}

fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    let copied = File::open(from)
        .and_then(|mut source| io::copy(&mut source, &mut target))
        .and_then(|_| target.sync_all());
    if copied.is_err() {
        // Half a copy is none.
        std::fs::remove_file(to).ok();
    }
    copied?;
    std::fs::remove_file(from)
}

pub(super) fn restore(arguments: &RestoreArguments) -> Outcome {
    let data_dir = arguments.place.path()?;
    care::restore(&arguments.file, &data_dir).map_err(Failure::because)?;
    say(&format!(
        "{} is in place in {}",
        arguments.file.display(),
        data_dir.display()
    ));
    Ok(())
}

pub(super) const STORE_HELP: &str = "\
For a broker that does not run; see `sluice session` and `sluice retained` for one that does, and
`sluice backup` to copy its store.

Examples:
  sluice store check --config /etc/sluice/sluice.toml
  sluice store repair /var/lib/sluice
  sluice store export /var/lib/sluice | jq 'select(.kind == \"session\")'";

const CHECK_HELP: &str = "\
Exit codes: 0 nothing is wrong, 1 something is, and each problem is said.";

const EXPORT_HELP: &str = "\
Payloads and other bytes are in Base64, times in milliseconds since 1970.";

pub(super) const BACKUP_HELP: &str = "\
The broker goes on meanwhile; what was acknowledged before is in the copy. It is a store of its own:
`sluice store check FILE` looks at it.

Examples:
  sluice backup /backup/sluice-$(date +%F)
  sluice restore /backup/sluice-2026-11-27 --config /etc/sluice/sluice.toml";

pub(super) const RESTORE_HELP: &str = "\
Nothing is overwritten: move the store.redb that is there away.

Examples:
  sluice restore /backup/sluice-2026-11-27 --config /etc/sluice/sluice.toml
  sluice restore /backup/sluice-2026-11-27 /var/lib/sluice";

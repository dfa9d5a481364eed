//! Sluice: one worker, limits raised as far as the cases need.

use super::identity::{CERTIFICATE, KEY};
use super::{Gate, Launch, Queues, Setup, Storage, Transport, first_line};
use crate::failure::{During, Failure, Result};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = "sluice.toml";
const ADMIN: &str = "admin.sock";

pub(super) fn version(program: &Path) -> Result<String> {
    first_line(program, &["--version"])
}

pub(super) fn launch(
    program: &Path,
    policy: &Path,
    setup: Setup,
    port: u16,
    directory: &Path,
) -> Result<Launch> {
    let policy = std::path::absolute(policy).during(policy.display())?;
    if setup.gate != Gate::Plain && !policy.is_file() {
        return Err(Failure::new(format!(
            "{} is missing: build bench/policy first",
            policy.display()
        )));
    }
    let mut command = Command::new(program);
    // Benchmarks are often run as root, which a broker refuses unless it is told.
    command
        .args(["run", "--allow-root", "--config"])
        .arg(directory.join(CONFIG));
    let admin = directory.join(ADMIN);
    Ok(Launch {
        files: vec![(CONFIG, config(&policy, setup, port, &admin))],
        admin: Some(admin),
        ..Launch::of(command)
    })
}

fn config(policy: &Path, setup: Setup, port: u16, admin: &Path) -> String {
    let mut text = String::from("workers = 1\nsys_interval = \"off\"\n");
    let settings = match setup.gate {
        Gate::Grants(grants) => Some(format!("{{ decide = \"grants\", grants = {grants} }}")),
        Gate::Cached => Some("{ decide = \"cached\" }".into()),
        Gate::Asked => Some("{ decide = \"asked\" }".into()),
        Gate::Plain | Gate::Passwords { .. } => None,
    };
    if settings.is_some() {
        text.push_str("policies = [\"bench\"]\n");
    }
    // Relative paths start from the directory of the configuration.
    if setup.storage == Storage::Disk {
        text.push_str("data_dir = \"data\"\n");
    }
    let tls = match setup.transport {
        Transport::Tcp => String::new(),
        Transport::Tls => format!("tls = {{ certificate = {CERTIFICATE:?}, key = {KEY:?} }}\n"),
    };
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\n[[listener]]\nname = \"bench\"\naddress = \"127.0.0.1:{port}\"\n{tls}\n\
         [limits]\nconnections_max = 100_000\nsessions_max = 200_000\nsubscriptions_max = 1_000_000\n\
         inflight_max = 1_000\nreceive_max = 1_000\nretained_messages_max = 4_000_000\nretained_bytes_max = \"8 GiB\"\n"
    );
    if setup.queues == Queues::Raised {
        text.push_str("queue_messages_max = 4_000_000\nqueue_bytes_max = \"8 GiB\"\n");
    }
    if setup.storage == Storage::Disk {
        text.push_str("\n[store]\ndurability = \"always\"\n");
    }
    let _ = write!(
        text,
        "\n[admin]\nsocket = {admin:?}\n\n[log]\nlevel = \"warn\"\nformat = \"json\"\n"
    );
    if let Some(settings) = settings {
        let _ = write!(
            text,
            "\n[policy.bench]\nfile = {policy:?}\nsettings = {settings}\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Version;

    const PLAIN: Setup = Setup {
        gate: Gate::Plain,
        queues: Queues::Raised,
        transport: Transport::Tcp,
        storage: Storage::Memory,
        version: Version::V311,
    };

    fn text(setup: Setup) -> String {
        config(Path::new("/p.wasm"), setup, 7, Path::new("/a.sock"))
    }

    #[test]
    fn the_plain_broker_keeps_its_own_policy() {
        let plain = text(PLAIN);
        assert!(plain.contains("127.0.0.1:7") && plain.contains("socket = \"/a.sock\""));
        assert!(!plain.contains("policies") && !plain.contains("[policy"));
    }

    #[test]
    fn a_gate_is_a_policy_and_its_settings() {
        let gate = Gate::Grants(10);
        let grants = text(Setup { gate, ..PLAIN });
        assert!(grants.contains("policies = [\"bench\"]"));
        assert!(grants.ends_with("file = \"/p.wasm\"\nsettings = { decide = \"grants\", grants = 10 }\n"));
    }

    #[test]
    fn encryption_and_storage_are_said_where_they_are_wanted() {
        let plain = text(PLAIN);
        assert!(!plain.contains("tls") && !plain.contains("data_dir"));
        let (transport, storage) = (Transport::Tls, Storage::Disk);
        let both = text(Setup {
            transport,
            storage,
            ..PLAIN
        });
        let tls = "\ntls = { certificate = \"certificate.pem\", key = \"key.pem\" }\n\n[limits]";
        assert!(both.contains(tls), "{both}");
        assert!(both.contains("\ndata_dir = \"data\"\n\n[[listener]]"), "{both}");
        assert!(both.contains("\n[store]\ndurability = \"always\"\n"), "{both}");
    }

    #[test]
    fn default_queues_are_not_mentioned() {
        assert!(text(PLAIN).contains("queue_bytes_max"));
        let queues = Queues::Default;
        assert!(!text(Setup { queues, ..PLAIN }).contains("queue_"));
    }
}

//! Mosquitto: sessions in memory, without Nagle's delays, queues raised.

use super::identity::{CERTIFICATE, KEY};
use super::{Gate, Launch, Queues, Setup, Storage, Transport, first_line};
use crate::failure::Result;
use crate::wire::Credentials;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = "mosquitto.conf";
const PASSWORDS: &str = "passwords";
const ACL: &str = "acl";
/// Is also the first level of the topics of all loads, so that `%u` in a pattern matches them.
const USER: &str = "bench";

pub(super) fn version(program: &Path) -> Result<String> {
    first_line(program, &["-h"])
}

pub(super) fn launch(program: &Path, setup: Setup, port: u16, directory: &Path) -> Launch {
    let mut command = Command::new(program);
    command.arg("-c").arg(directory.join(CONFIG));
    let mut launch = Launch {
        files: vec![(CONFIG, config(setup, port, directory))],
        ..Launch::of(command)
    };
    if let Gate::Passwords { acl_patterns } = setup.gate {
        launch.files.push((PASSWORDS, format!("{USER}:{USER}\n")));
        launch.files.push((ACL, acl(acl_patterns)));
        // Replaces the passwords in the file by their hashes.
        let mut hash = Command::new("mosquitto_passwd");
        hash.arg("-U").arg(directory.join(PASSWORDS));
        launch.preparations.push(hash);
        launch.credentials = Some(Credentials {
            user: USER.into(),
            password: USER.into(),
        });
    }
    launch
}

fn config(setup: Setup, port: u16, directory: &Path) -> String {
    let file = |name| directory.join(name).display().to_string();
    let mut text = format!(
        "listener {port} 127.0.0.1\nset_tcp_nodelay true\nmax_connections -1\n\
         sys_interval 0\nlog_type error\nlog_type warning\n"
    );
    // Writing to a string does not fail.
    let _ = match setup.storage {
        Storage::Memory => writeln!(text, "persistence false"),
        Storage::Disk => writeln!(
            text,
            "persistence true\npersistence_location {}/",
            directory.display()
        ),
    };
    if setup.transport == Transport::Tls {
        let _ = writeln!(text, "certfile {}\nkeyfile {}", file(CERTIFICATE), file(KEY));
    }
    if rustix::process::getuid().is_root() {
        // Otherwise it becomes a user who may not read these files.
        text.push_str("user root\n");
    }
    if setup.queues == Queues::Raised {
        // 0 would be without a bound in flight, with which 2.0 slows down and grows.
        text.push_str("max_inflight_messages 1000\nmax_queued_messages 0\n");
    }
    let _ = match setup.gate {
        Gate::Passwords { acl_patterns } => {
            let acl = (acl_patterns > 0).then(|| format!("acl_file {}\n", file(ACL)));
            write!(
                text,
                "allow_anonymous false\npassword_file {}\n{}",
                file(PASSWORDS),
                acl.unwrap_or_default()
            )
        }
        _ => writeln!(text, "allow_anonymous true"),
    };
    text
}

/// Patterns of which the last matches.
fn acl(patterns: u32) -> String {
    let mut text = String::new();
    for number in 1..patterns {
        let _ = writeln!(text, "pattern readwrite other/{number}/%u/#");
    }
    text.push_str("pattern readwrite %u/#\n");
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

    #[test]
    fn encryption_and_storage_are_said_where_they_are_wanted() {
        let text = |transport, storage| {
            let setup = Setup {
                transport,
                storage,
                ..PLAIN
            };
            config(setup, 7, Path::new("/d"))
        };
        let plain = text(Transport::Tcp, Storage::Memory);
        assert!(plain.contains("persistence false\n") && !plain.contains("certfile"));
        let both = text(Transport::Tls, Storage::Disk);
        assert!(both.contains("persistence true\npersistence_location /d/\n"));
        assert!(both.contains("certfile /d/certificate.pem\nkeyfile /d/key.pem\n"));
    }

    #[test]
    fn the_pattern_that_matches_is_the_last() {
        assert_eq!(acl(1), "pattern readwrite %u/#\n");
        assert_eq!(acl(100).lines().count(), 100);
        assert_eq!(acl(100).lines().last(), Some("pattern readwrite %u/#"));
    }

    #[test]
    fn passwords_end_anonymous_access() {
        let text = |gate| config(Setup { gate, ..PLAIN }, 7, Path::new("/d"));
        assert!(text(Gate::Plain).contains("allow_anonymous true"));
        let passwords = text(Gate::Passwords { acl_patterns: 0 });
        assert!(passwords.contains("allow_anonymous false\npassword_file /d/passwords\n"));
        assert!(!passwords.contains("acl_file"));
        assert!(text(Gate::Passwords { acl_patterns: 1 }).contains("acl_file /d/acl\n"));
    }
}

//! rumqttd: its router's limits raised, no pause between two connections.

use super::{Launch, Setup, first_line};
use crate::failure::Result;
use crate::wire::Version;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = "rumqttd.toml";

pub(super) fn version(program: &Path) -> Result<String> {
    first_line(program, &["--version"])
}

pub(super) fn launch(program: &Path, setup: Setup, port: u16, directory: &Path) -> Launch {
    let mut command = Command::new(program);
    command.arg("--config").arg(directory.join(CONFIG)).arg("--quiet");
    Launch {
        files: vec![(CONFIG, config(port, setup.version))],
        ..Launch::of(command)
    }
}

/// A listener speaks one version.
fn config(port: u16, version: Version) -> String {
    let table = match version {
        Version::V311 => "v4",
        Version::V5 => "v5",
    };
    format!(
        "id = 0\n\n[router]\nid = 0\nmax_connections = 20000\nmax_outgoing_packet_count = 200\n\
         max_segment_size = 104857600\nmax_segment_count = 10\n\n\
         [{table}.1]\nname = \"bench\"\nlisten = \"127.0.0.1:{port}\"\nnext_connection_delay_ms = 0\n\n\
         [{table}.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 1048576\n\
         max_inflight_count = 1000\ndynamic_filters = true\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_speaks_the_version_of_the_clients() {
        assert!(config(7, Version::V311).contains("[v4.1.connections]"));
        assert!(config(7, Version::V5).contains("[v5.1]\nname = \"bench\"\nlisten = \"127.0.0.1:7\""));
    }
}

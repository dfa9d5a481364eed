//! A disk that is full: eight megabytes in memory, mounted as `data_dir`.

use super::failing::{Fate, expect_half_a_broker, publish_one};
use sluice_tests::broker::{Broker, Signal, new_dir};
use sluice_tests::eventually;
use sluice_tests::packet::{V5, connect};
use sluice_tests::receiving::{everything, payloads};
use std::path::{Path, PathBuf};
use std::process::Command;

const DISK: &str = "size=8m";
/// Takes room that comes back.
const BALLAST_BYTES: usize = 3 << 20;
/// Makes a message fill the disk soon.
const FILLING_BYTES: usize = 64 * 1024;

/// A mounted disk; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir(at).expect("a directory to mount it on");
        let mounting = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "none"])
            .arg(at)
            .output();
        let mounted = mounting.expect("mount can be run");
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(mounted.status.success(), "mounting takes root: {said}");
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: after a failure the broker may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_refuses_what_is_to_last_until_there_is_room_again() {
    let dir = new_dir();
    let disk = SmallDisk::mount(&dir.path().join("data"));
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).expect("there is room for it");
    let mut broker = Broker::durable_in(dir, "");
    let away = connect(V5, "away").lasting();
    let (mut client, _) = broker.join(&away);
    client.subscribe("t", 1);
    client.leave();

    let filling = "x".repeat(FILLING_BYTES);
    let mut acknowledged = Vec::new();
    let mut next = 0..;
    let mut publish = |acknowledged: &mut Vec<usize>, broker: &Broker| {
        let number = next.next().unwrap_or_default();
        let fate = publish_one(broker, &format!("{number} {filling}"));
        if fate == Fate::Acknowledged {
            acknowledged.push(number);
        }
        fate
    };
    while publish(&mut acknowledged, &broker) == Fate::Acknowledged {}
    assert!(
        acknowledged.len() > 3,
        "there was room at first: {acknowledged:?}"
    );
    broker.wait_for_log("that the disk is full", |line| line.is("store_failing"));
    expect_half_a_broker(&broker);

    std::fs::remove_file(&ballast).expect("the ballast is there");
    let before = acknowledged.len();
    eventually("messages are acknowledged again", || {
        publish(&mut acknowledged, &broker) == Fate::Acknowledged
    });
    broker.wait_for_log("that there is room again", |line| line.is("store_recovered"));
    assert!(acknowledged.len() > before);
    broker.restart(Signal::KILL);
    let (mut client, _) = broker.join(&away);
    let came = payloads(&everything(&mut client));
    let came: Vec<usize> = came
        .iter()
        .filter_map(|payload| payload.split(' ').next()?.parse().ok())
        .collect();
    assert!(came.is_sorted(), "in order: {came:?}");
    let missing: Vec<_> = acknowledged
        .iter()
        .filter(|number| !came.contains(number))
        .collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    drop(broker);
    drop(disk);
}

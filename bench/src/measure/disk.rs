//! What a disk can do at best, and what was asked of it.

use crate::clock::{nanos, now, seconds};
use crate::failure::{During, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Records per second that a log on this disk takes when every `batch` of them is appended with one write and synced
/// (`fdatasync`) before the next: what no broker can exceed that syncs before it acknowledges `batch` publishers with a
/// message each. The file is gone afterwards.
///
/// # Errors
/// When the directory cannot be written to.
pub fn log_rate(directory: &Path, batch: u64, record_bytes: usize, measured: Duration) -> Result<f64> {
    let path = directory.join("raw-log");
    let what = path.display().to_string();
    let mut log = File::create(&path).during(&what)?;
    let bytes = vec![b'.'; usize::try_from(batch).unwrap_or(1) * record_bytes];
    let begun = now();
    let end = begun + nanos(measured);
    let mut records = 0_u64;
    while now() < end {
        log.write_all(&bytes).during(&what)?;
        log.sync_data().during(&what)?;
        records += batch;
    }
    let rate = float(records) / seconds(now() - begun);
    std::fs::remove_file(&path).during(what)?;
    Ok(rate)
}

/// How often the disk of a directory was told to empty its cache so far, by anybody. `None` where the kernel does not
/// count that, which it does not for a disk without such a cache.
pub fn flushes(directory: &Path) -> Option<u64> {
    let device = std::fs::metadata(directory).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let device = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let is_part = device.join("partition").exists();
    let disk = if is_part { device.parent()? } else { &device };
    let cache = std::fs::read_to_string(disk.join("queue/write_cache")).ok()?;
    if cache.trim() != "write back" {
        return None;
    }
    flushes_of(&std::fs::read_to_string(disk.join("stat")).ok()?)
}

/// The 16th number: flush requests that were completed.
fn flushes_of(stat: &str) -> Option<u64> {
    stat.split_ascii_whitespace().nth(15)?.parse().ok()
}

/// Bytes that a process has had written to disk so far.
///
/// # Errors
/// When there is no such process, or it belongs to somebody else.
pub fn bytes_written(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = std::fs::read_to_string(&path).during(&path)?;
    let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    value.unwrap_or_default().parse().during(path)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a run writes far fewer than 2^53 records"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_written_and_leaves_nothing_behind() {
        let directory = std::env::temp_dir().join(format!("sluice-bench-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let before = bytes_written(std::process::id()).unwrap();
        assert!(log_rate(&directory, 3, 100, Duration::from_millis(1)).unwrap() > 0.0);
        assert!(bytes_written(std::process::id()).unwrap() >= before);
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn flushes_are_the_sixteenth_number() {
        let stat = "  10 0 80 5 20 0 160 7 0 9 12 1 0 8 0 42 3\n";
        assert_eq!(flushes_of(stat), Some(42));
        assert_eq!(flushes_of("10 0 80 5 20 0 160 7 0 9 12"), None);
    }
}

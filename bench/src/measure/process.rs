//! What the kernel knows of a process: processor time and memory.

use crate::failure::{During, Failure, Result};

/// Ticks of `/proc` in a second: the same for every processor Linux runs on that brokers run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of all threads of a process, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// In its own code.
    pub user_seconds: f64,
    /// In the kernel.
    pub system_seconds: f64,
}

impl CpuTime {
    /// What was used after an earlier moment.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_seconds: self.user_seconds - earlier.user_seconds,
            system_seconds: self.system_seconds - earlier.system_seconds,
        }
    }

    /// Both.
    pub fn seconds(self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Resident at most, since it began or since [`forget_peak`].
    pub peak: u64,
}

/// Processor time that a process has used so far.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> Result<CpuTime> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).during(&path)?;
    parse_stat(&text).ok_or_else(|| Failure::new(format!("{path} cannot be understood")))
}

/// Memory of a process.
///
/// # Errors
/// When there is no such process.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).during(&path)?;
    parse_status(&text).ok_or_else(|| Failure::new(format!("{path} cannot be understood")))
}

/// Lets the peak begin anew: starting up, compiling policies for instance, is not what is measured.
///
/// # Errors
/// When there is no such process, or it belongs to somebody else.
pub fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").during(&path)
}

/// The 14th and 15th field; the second is a name in parentheses that may hold anything.
fn parse_stat(text: &str) -> Option<CpuTime> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some(CpuTime {
        user_seconds: ticks()? / TICKS_PER_SECOND,
        system_seconds: ticks()? / TICKS_PER_SECOND,
    })
}

fn parse_status(text: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory {
        resident: bytes("VmRSS:")?,
        peak: bytes("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 250 125 7 8 20 0 1 0 9 9 9";
        let cpu = parse_stat(stat).unwrap();
        assert_eq!((cpu.user_seconds, cpu.system_seconds), (2.5, 1.25));
        assert_eq!(parse_stat("42 (x"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let expected = Memory {
            resident: 1 << 20,
            peak: 2 << 20,
        };
        assert_eq!(parse_status(status), Some(expected));
        assert_eq!(parse_status("Name:\tzombie\n"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        assert!(cpu_time(std::process::id()).is_ok());
    }
}

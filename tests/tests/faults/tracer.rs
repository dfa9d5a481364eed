//! strace, attached to a broker that runs.

use super::trace::Trace;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Watches a process, or lies to it. Dropping it lets the process go.
pub struct Tracer {
    child: Child,
    file: PathBuf,
    _dir: TempDir,
}

impl Tracer {
    /// Writes down these system calls of all threads, with the bytes that pass.
    pub fn watch(pid: u32, calls: &str) -> Self {
        Self::attach(pid, &["-e", &format!("trace={calls}")])
    }

    /// Lets a system call fail, whoever makes it.
    pub fn fail(pid: u32, call: &str, error: &str) -> Self {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}"));
        Self::attach(pid, &["-e", &trace, "-e", &inject])
    }

    fn attach(pid: u32, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("trace");
        let mut child = Command::new("strace")
            .args(["-f", "-ttt", "-T", "-s", "65536", "-o"])
            .arg(&file)
            .args(["-p", &pid.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("strace does not start ({why}); .ci/faults installs it"));
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut said = String::new();
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let attached = lines.by_ref().any(|line| {
            said.push_str(&line);
            line.contains("attached")
        });
        assert!(attached, "strace could not attach, which takes root: {said}");
        // Whatever else it says, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            file,
            _dir: dir,
        }
    }

    /// Lets the process go; what it did meanwhile.
    pub fn detach(mut self) -> Trace {
        self.let_go();
        let bytes = std::fs::read(&self.file).expect("strace writes a file");
        Trace::new(&String::from_utf8_lossy(&bytes))
    }

    fn let_go(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.let_go();
    }
}

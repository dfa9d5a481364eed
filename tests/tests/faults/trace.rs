//! What strace wrote down, as calls with a beginning and an end.

use std::collections::HashMap;

/// A system call of some thread.
#[derive(Clone, Debug)]
pub struct Call {
    /// `pwrite64`, `fdatasync` and so on.
    pub name: String,
    /// As strace writes them, the file descriptor first.
    pub arguments: String,
    /// Seconds since 1970: not before this did it begin.
    pub began: f64,
    /// Not after this did it end; `None`: it had not ended when strace left.
    pub ended: Option<f64>,
    /// Whether it reported no error.
    pub is_success: bool,
}

/// All calls, in the order in which they began.
pub struct Trace {
    /// The calls.
    pub calls: Vec<Call>,
}

impl Trace {
    /// Takes what `strace -f -ttt -T` wrote.
    pub fn new(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        // Of each thread, the call that was interrupted by another thread's line.
        let mut unfinished: HashMap<&str, usize> = HashMap::new();
        for line in text.lines() {
            let Some((thread, time, rest)) = split(line) else {
                continue;
            };
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some(call) = unfinished.remove(thread).and_then(|index| calls.get_mut(index)) else {
                    continue;
                };
                let (_, more) = resumed.split_once(" resumed>").unwrap_or((resumed, ""));
                call.arguments.push_str(more);
                call.ended = Some(time);
                call.is_success = succeeded(more);
                continue;
            }
            let Some((name, arguments)) = rest.split_once('(') else {
                continue;
            };
            let interrupted = arguments.strip_suffix(" <unfinished ...>");
            if interrupted.is_some() {
                unfinished.insert(thread, calls.len());
            }
            calls.push(Call {
                name: name.to_owned(),
                arguments: interrupted.unwrap_or(arguments).to_owned(),
                began: time,
                ended: interrupted.is_none().then(|| time + duration(arguments)),
                is_success: interrupted.is_none() && succeeded(arguments),
            });
        }
        Self { calls }
    }

    /// The first of these calls that mentions this text, and began after that moment.
    pub fn first(&self, names: &[&str], text: &str, after: f64) -> Option<&Call> {
        self.find(names, after, |call| call.arguments.contains(text))
    }

    /// The first of these calls on this descriptor that began after that moment.
    pub fn first_on(&self, names: &[&str], descriptor: &str, after: f64) -> Option<&Call> {
        self.find(names, after, |call| call.descriptor() == descriptor)
    }

    fn find(&self, names: &[&str], after: f64, fits: impl Fn(&Call) -> bool) -> Option<&Call> {
        let mut calls = self.calls.iter();
        calls.find(|call| names.contains(&&*call.name) && call.began >= after && fits(call))
    }

    /// How many calls of this name there are.
    pub fn count(&self, name: &str) -> usize {
        self.calls.iter().filter(|call| call.name == name).count()
    }
}

impl Call {
    /// The file descriptor.
    pub fn descriptor(&self) -> &str {
        let end = self.arguments.find(|c: char| !c.is_ascii_digit());
        end.and_then(|end| self.arguments.get(..end))
            .unwrap_or(&self.arguments)
    }
}

/// Thread, time and call.
fn split(line: &str) -> Option<(&str, f64, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (time, call) = rest.trim_start().split_once(' ')?;
    Some((thread, time.parse().ok()?, call))
}

fn succeeded(text: &str) -> bool {
    text.rsplit_once(" = ")
        .is_some_and(|(_, result)| !result.starts_with('-'))
}

/// In angle brackets at the end.
fn duration(text: &str) -> f64 {
    let inside = text
        .rsplit_once('<')
        .and_then(|(_, inside)| inside.strip_suffix('>'));
    inside.and_then(|inside| inside.parse().ok()).unwrap_or(0.0)
}

#[test]
fn calls_are_put_together_from_what_strace_says() {
    let trace = Trace::new(
        "7 10.5 pwrite64(3, \"a = b\", 5, 0) = 5 <0.25>\n8 10.6 fdatasync(3 <unfinished ...>\n\
         7 10.7 fdatasync(4) = -1 EIO (Input/output error) (INJECTED) <0.000002>\n8 10.9 <... fdatasync resumed>) = 0 \
         <0.3>\n9 11.0 writev(5, [{iov_base=\"x\", iov_len=1}], 1 <unfinished ...>\n",
    );
    let seen: Vec<_> = trace
        .calls
        .iter()
        .map(|call| {
            (
                &*call.name,
                call.descriptor(),
                call.began,
                call.ended,
                call.is_success,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("pwrite64", "3", 10.5, Some(10.75), true),
            ("fdatasync", "3", 10.6, Some(10.9), true),
            ("fdatasync", "4", 10.7, Some(10.700_002), false),
            ("writev", "5", 11.0, None, false),
        ]
    );
    assert_eq!(
        trace.first(&["pwrite64"], "a = b", 0.0).map(|call| call.began),
        Some(10.5)
    );
    assert_eq!(trace.count("fdatasync"), 2);
}

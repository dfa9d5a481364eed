//! What is wrong with a configuration, said so that it can be put right.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One problem: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1; `None` when the problem is not in one place.
    pub line: Option<usize>,
    /// Dotted path of the key, empty when the problem is the file itself.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do, empty when that is plain.
    pub remedy: String,
}

impl Problem {
    /// A problem with a file as a whole.
    #[must_use]
    pub fn of_file(file: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self {
            file: Some(file.to_owned()),
            line: None,
            key: String::new(),
            what,
            remedy,
        }
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "file": self.file.as_ref().map(|file| file.display().to_string()),
            "line": self.line,
            "key": self.key,
            "problem": self.what,
            "remedy": self.remedy,
        })
    }
}

/// `sluice.toml:12: limits.receive_max: 0 is too small: use 1 to 65535`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, ": {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The line in which each key of a file stands, for problems that show only after it was read.
#[derive(Clone, Debug, Default)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(super) fn note(&mut self, key: &str, line: usize) {
        self.0.entry(key.to_owned()).or_insert(line);
    }

    /// The line of a key by its dotted path, or of the nearest table or list around it that stands in the file. A whole
    /// section says too little of where something is to count.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<usize> {
        let mut around = key;
        while !self.0.contains_key(around) {
            around = around.get(..around.rfind(['.', '['])?)?;
        }
        let is_section = around != key && !around.contains(['.', '[']);
        self.0.get(around).filter(|_| !is_section).copied()
    }
}

/// Where something is written makes no difference to what it says.
impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

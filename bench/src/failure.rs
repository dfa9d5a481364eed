//! Why something could not be measured: a text for whoever runs the benchmark.

use std::fmt;

/// A sentence that says what went wrong, with what.
#[derive(Debug)]
pub struct Failure(String);

/// What can fail here.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure in these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self(format!("the system refused: {error}"))
    }
}

/// Says what was being done when an error came.
pub trait During<T> {
    /// Puts `what` before the error.
    ///
    /// # Errors
    /// The same as before, in more words.
    fn during(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

//! The thread that writes batches.

use crate::change::StoredMessage;
use crate::error::{OpenError, ReadError};
use crate::journal::Journal;
use crate::observer::Observer;
use crate::options::Options;
use crate::recovered::Recovered;
use std::io;
use std::sync::Arc;

/// A store that is open.
pub(crate) struct Running {
    pub(crate) journal: Arc<Journal>,
}

impl Running {
    pub(crate) fn open(
        options: Options,
        _observer: Arc<dyn Observer>,
    ) -> Result<(Self, Recovered), OpenError> {
        Err(OpenError::Io {
            path: options.data_dir,
            error: io::Error::from(io::ErrorKind::Unsupported),
        })
    }

    pub(crate) fn read(
        &self,
        seq: u64,
        session: u64,
        position: Option<u64>,
    ) -> Result<Option<StoredMessage>, ReadError> {
        Ok(self
            .journal
            .find(seq)
            .and_then(|kept| kept.copy_for(session, position)))
    }

    pub(crate) fn close(&self) {
        self.journal.close();
    }
}

//! A disk in memory that knows what is on it and what only seems to be.
//!
//! Writes are seen at once and are on the plate after a sync. Whatever goes wrong, each sector of 512 bytes that was
//! written since may have come to the plate or not.

use super::Dice;
use crate::engine::Disk;
use parking_lot::{Condvar, Mutex};
use redb::{Builder, Database, DatabaseError, StorageBackend};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

const SECTOR_BYTES: usize = 512;
/// What the file system gives a file at a time.
const BLOCK_BYTES: u64 = 4096;

/// A disk. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct Plate(Arc<Mutex<Inner>>, Arc<Brake>);

/// Holds up syncs.
#[derive(Debug, Default)]
struct Brake {
    on: Mutex<bool>,
    off: Condvar,
}

#[derive(Debug)]
struct Inner {
    /// What is on it.
    durable: Vec<u8>,
    /// What is seen.
    seen: Vec<u8>,
    /// What came since the last sync, in order.
    unsynced: Vec<Unsynced>,
    dice: Dice,
    trouble: Option<Trouble>,
    powered: bool,
    /// Changes with each loss of power: who opened it before is cut off.
    era: u64,
    /// Blocks that were ever written.
    blocks: BTreeSet<u64>,
    blocks_max: u64,
    happened: u64,
}

/// A disk whose syncs are held up.
#[derive(Debug)]
pub struct Braked(Arc<Brake>);

impl Drop for Braked {
    fn drop(&mut self) {
        *self.0.on.lock() = false;
        self.0.off.notify_all();
    }
}

/// What is to go wrong, after so many more operations that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The power goes.
    PowerLoss {
        /// Writes, syncs and changes of the length until then.
        after: u64,
    },
    /// A sync fails, and the system forgets that what was written is not on disk; then so many more syncs fail.
    FailedSync {
        /// Syncs until then.
        after: u64,
        /// Syncs that fail behind the first.
        more: u64,
    },
    /// A write fails.
    FailedWrite {
        /// Writes until then.
        after: u64,
    },
}

#[derive(Debug)]
enum Unsynced {
    Write(u64, Vec<u8>),
    Length(usize),
}

impl Plate {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_image(seed, Vec::new())
    }

    /// A disk with these bytes on it.
    #[must_use]
    pub fn with_image(seed: u64, image: Vec<u8>) -> Self {
        let blocks = (0..(image.len() as u64).div_ceil(BLOCK_BYTES)).collect();
        Self(
            Arc::new(Mutex::new(Inner {
                seen: image.clone(),
                durable: image,
                unsynced: Vec::new(),
                dice: Dice::new(seed),
                trouble: None,
                powered: true,
                era: 0,
                blocks,
                blocks_max: u64::MAX,
                happened: 0,
            })),
            Arc::default(),
        )
    }

    /// Holds up syncs as long as what is returned lives.
    #[must_use = "syncs go on when it is dropped"]
    pub fn brake(&self) -> Braked {
        *self.1.on.lock() = true;
        Braked(Arc::clone(&self.1))
    }

    /// What is on it now.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.0.lock().durable.clone()
    }

    /// Makes what is on it other than what was written.
    pub fn alter(&self, change: impl FnOnce(&mut [u8])) {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        change(&mut inner.durable);
        inner.seen.clone_from(&inner.durable);
        inner.unsynced.clear();
    }

    /// Sets what goes wrong next.
    pub fn expect(&self, trouble: Option<Trouble>) {
        self.0.lock().trouble = trouble;
    }

    /// How often something went wrong.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.0.lock().happened
    }

    /// Lets no more than so many bytes be used beyond those that are; `None`: as many as there are.
    pub fn limit(&self, free_bytes: Option<u64>) {
        let mut inner = self.0.lock();
        let used = inner.blocks.len() as u64;
        inner.blocks_max = free_bytes.map_or(u64::MAX, |free| used + free / BLOCK_BYTES);
    }

    /// The power goes now.
    pub fn cut_power(&self) {
        self.0.lock().cut_power();
    }

    /// It is back, or was never gone.
    pub fn restore_power(&self) {
        let mut inner = self.0.lock();
        inner.powered = true;
        inner.trouble = None;
    }

    /// Whether there is power.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.0.lock().powered
    }
}

impl Disk for Plate {
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        let era = self.0.lock().era;
        builder.create_with_backend(Head {
            plate: self.clone(),
            era,
        })
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        inner.seen.clone_from(&inner.durable);
        for unsynced in &inner.unsynced {
            unsynced.apply(&mut inner.seen);
        }
        Ok(())
    }
}

/// What one who opened the disk has of it.
#[derive(Debug)]
struct Head {
    plate: Plate,
    era: u64,
}

impl Head {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.plate.0.lock();
        if !inner.powered || inner.era != self.era {
            return Err(io::Error::other("there is no power"));
        }
        work(&mut inner)
    }
}

impl StorageBackend for Head {
    fn len(&self) -> io::Result<u64> {
        self.with(|inner| Ok(inner.seen.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|inner| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = inner.seen.get(start..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|inner| {
            inner.count()?;
            let len = usize::try_from(len).map_err(io::Error::other)?;
            inner.take(Unsynced::Length(len));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut on = self.plate.1.on.lock();
        while *on {
            self.plate.1.off.wait(&mut on);
        }
        drop(on);
        self.with(|inner| {
            inner.count()?;
            if inner.sync_fails() {
                inner.happened += 1;
                inner.scatter();
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            for unsynced in std::mem::take(&mut inner.unsynced) {
                unsynced.apply(&mut inner.durable);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|inner| {
            inner.count()?;
            if inner.write_fails() {
                inner.happened += 1;
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            inner.allot(offset, data.len() as u64)?;
            inner.take(Unsynced::Write(offset, data.to_vec()));
            Ok(())
        })
    }
}

impl Inner {
    /// Counts an operation that changes something.
    fn count(&mut self) -> io::Result<()> {
        if let Some(Trouble::PowerLoss { after }) = &mut self.trouble {
            if *after == 0 {
                self.cut_power();
                return Err(io::Error::other("the power is gone"));
            }
            *after -= 1;
        }
        Ok(())
    }

    fn sync_fails(&mut self) -> bool {
        match &mut self.trouble {
            Some(Trouble::FailedSync { after: 0, more: 0 }) => {
                self.trouble = None;
                true
            }
            Some(Trouble::FailedSync { after: 0, more }) => {
                *more -= 1;
                true
            }
            Some(Trouble::FailedSync { after, .. }) => {
                *after -= 1;
                false
            }
            _ => false,
        }
    }

    fn write_fails(&mut self) -> bool {
        match &mut self.trouble {
            Some(Trouble::FailedWrite { after: 0 }) => {
                self.trouble = None;
                true
            }
            Some(Trouble::FailedWrite { after }) => {
                *after -= 1;
                false
            }
            _ => false,
        }
    }

    fn allot(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        let blocks = offset / BLOCK_BYTES..(offset + bytes).div_ceil(BLOCK_BYTES);
        for block in blocks {
            if self.blocks.contains(&block) {
                continue;
            }
            if self.blocks.len() as u64 >= self.blocks_max {
                self.happened += 1;
                return Err(io::Error::from_raw_os_error(
                    rustix::io::Errno::NOSPC.raw_os_error(),
                ));
            }
            self.blocks.insert(block);
        }
        Ok(())
    }

    fn take(&mut self, unsynced: Unsynced) {
        unsynced.apply(&mut self.seen);
        self.unsynced.push(unsynced);
    }

    fn cut_power(&mut self) {
        self.happened += 1;
        self.trouble = None;
        self.powered = false;
        self.era += 1;
        self.scatter();
        self.seen.clone_from(&self.durable);
    }

    /// Some of what was not synced comes to the plate, the rest never does.
    fn scatter(&mut self) {
        let all = self.dice.below(4);
        for unsynced in std::mem::take(&mut self.unsynced) {
            // Sometimes all of it or nothing, which is what most disks do.
            let kept = |dice: &mut Dice| match all {
                0 => false,
                1 => true,
                _ => dice.one_in(2),
            };
            match &unsynced {
                Unsynced::Length(_) => {
                    if kept(&mut self.dice) {
                        unsynced.apply(&mut self.durable);
                    }
                }
                Unsynced::Write(offset, data) => {
                    let mut at = *offset;
                    for sector in data.chunks(SECTOR_BYTES) {
                        if kept(&mut self.dice) {
                            Unsynced::Write(at, sector.to_vec()).apply(&mut self.durable);
                        }
                        at += sector.len() as u64;
                    }
                }
            }
        }
    }
}

impl Unsynced {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(len) => bytes.resize(*len, 0),
            Self::Write(offset, data) => {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(place) = bytes.get_mut(start..end) {
                    place.copy_from_slice(data);
                }
            }
        }
    }
}

//! A file that is read, and what is written to it kept in memory.

use crate::engine::Disk;
use parking_lot::Mutex;
use redb::{Builder, Database, DatabaseError, StorageBackend};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A file that stays as it is.
#[derive(Debug)]
pub(super) struct Overlay {
    path: PathBuf,
    opened: Mutex<Option<Arc<Covered>>>,
}

impl Overlay {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            opened: Mutex::new(None),
        }
    }
}

impl Disk for Overlay {
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        let file = File::open(&self.path)?;
        let len = file.metadata()?.len();
        let covered = Arc::new(Covered::new(file, len));
        *self.opened.lock() = Some(Arc::clone(&covered));
        builder.create_with_backend(Handle(covered))
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }

    fn abandoned(&self) {
        if let Some(covered) = self.opened.lock().take() {
            let mut changed = covered.changed.lock();
            changed.file = None;
            changed.blocks = BTreeMap::new();
        }
    }
}

#[derive(Debug)]
struct Handle(Arc<Covered>);

#[derive(Debug)]
struct Covered {
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    /// `None`: nobody looks at it any more.
    file: Option<File>,
    len: u64,
    /// What of the file is still seen.
    file_len: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

const BLOCK_BYTES: usize = 4096;

impl Covered {
    fn new(file: File, len: u64) -> Self {
        Self {
            changed: Mutex::new(Changed {
                file: Some(file),
                len,
                file_len: len,
                blocks: BTreeMap::new(),
            }),
        }
    }

    /// A block as it is seen: the file's, or zeros behind its end.
    fn block(changed: &Changed, number: u64) -> io::Result<Box<[u8]>> {
        if let Some(block) = changed.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK_BYTES].into_boxed_slice();
        let offset = number * BLOCK_BYTES as u64;
        let there = changed.file_len.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        if let Some(part) = block.get_mut(..there) {
            let file = changed.file.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            file.read_exact_at(part, offset)?;
        }
        Ok(block)
    }

    /// Goes through the blocks of a range: number of the block, where in it, how many bytes.
    fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
        let mut at = offset;
        let end = offset + len as u64;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let within = usize::try_from(at % BLOCK_BYTES as u64).unwrap_or_default();
            let left = usize::try_from(end - at).unwrap_or(BLOCK_BYTES);
            let part = (at / BLOCK_BYTES as u64, within, left.min(BLOCK_BYTES - within));
            at += part.2 as u64;
            Some(part)
        })
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.changed.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changed = self.0.changed.lock();
        if offset + out.len() as u64 > changed.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = out.len();
        let mut rest = out;
        for (number, within, bytes) in Covered::parts(offset, len) {
            let block = Covered::block(&changed, number)?;
            let (place, behind) = rest
                .split_at_mut_checked(bytes)
                .ok_or(io::ErrorKind::InvalidInput)?;
            let part = block
                .get(within..within + bytes)
                .ok_or(io::ErrorKind::InvalidInput)?;
            place.copy_from_slice(part);
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = self.0.changed.lock();
        if len < changed.len {
            // What is cut off is not seen again, should it grow.
            let first = len / BLOCK_BYTES as u64;
            let mut block = Covered::block(&changed, first)?;
            let within = usize::try_from(len % BLOCK_BYTES as u64).unwrap_or_default();
            block.iter_mut().skip(within).for_each(|byte| *byte = 0);
            changed.blocks.split_off(&first);
            changed.blocks.insert(first, block);
            changed.file_len = changed.file_len.min(len);
        }
        changed.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changed = self.0.changed.lock();
        let mut rest = data;
        for (number, within, bytes) in Covered::parts(offset, data.len()) {
            let mut block = Covered::block(&changed, number)?;
            let (part, behind) = rest.split_at_checked(bytes).ok_or(io::ErrorKind::InvalidInput)?;
            let place = block.get_mut(within..within + bytes);
            place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(part);
            changed.blocks.insert(number, block);
            rest = behind;
        }
        changed.len = changed.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;
    use std::io::Write;

    #[test]
    fn what_is_written_is_seen_and_the_file_stays_as_it_is() {
        let mut dice = Dice::new(1);
        let original: Vec<u8> = (0..20_000u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&original).unwrap();
        let covered = Handle(Arc::new(Covered::new(file.reopen().unwrap(), 20_000)));
        let mut expected = original.clone();
        for _ in 0..500 {
            if dice.one_in(20) {
                let len = dice.index(40_000);
                covered.set_len(len as u64).unwrap();
                expected.resize(len, 0);
            }
            let start = dice.index(expected.len() + 1);
            let len = dice.index((expected.len() - start).min(9_000) + 1);
            let data = vec![dice.throw().to_le_bytes()[0]; len];
            covered.write(start as u64, &data).unwrap();
            expected[start..start + len].copy_from_slice(&data);
            let mut seen = vec![0; expected.len()];
            covered.read(0, &mut seen).unwrap();
            assert!(seen == expected);
        }
        assert!(covered.read(expected.len() as u64, &mut [0]).is_err());
        assert!(std::fs::read(file.path()).unwrap() == original);
    }
}

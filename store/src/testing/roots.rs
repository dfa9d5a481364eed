//! Tables that look empty because one bit of redb's table of tables is not what it was.

const PAGE_BYTES: usize = 4096;
/// The first byte of a page that has rows.
const LEAF: u8 = 1;
/// Where a row of the table of tables says whether the table has a root: behind its kind and its length.
const HAS_ROOT: usize = 9;

/// Takes the root from a table wherever the image of a database has a row that says where it is, so that the table looks
/// empty; returns how many rows there were. Rows of earlier states are there too.
pub fn lose_root(image: &mut [u8], table: &str) -> usize {
    let rows = image.chunks_exact_mut(PAGE_BYTES).filter_map(|page| {
        let at = value_of(page, table.as_bytes())?;
        let has_root = page.get_mut(at + HAS_ROOT)?;
        *has_root ^= 1;
        (*has_root == 0).then_some(())
    });
    rows.count()
}

/// Where the value of a key begins in a page of rows of variable length: the number of rows, the ends of the keys, the
/// ends of the values, the keys, the values.
fn value_of(page: &[u8], key: &[u8]) -> Option<usize> {
    let (head, _) = page.split_first_chunk::<4>()?;
    let rows = usize::from(u16::from_le_bytes([head[2], head[3]]));
    if head[0] != LEAF || rows == 0 {
        return None;
    }
    let end = |index: usize| {
        let (end, _) = page.get(4 + 4 * index..)?.split_first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*end)).ok()
    };
    let begin_of_key = |row: usize| row.checked_sub(1).map_or(Some(4 + 8 * rows), end);
    let row = (0..rows).find(|row| {
        let found = begin_of_key(*row).zip(end(*row));
        found.and_then(|(begin, end)| page.get(begin..end)) == Some(key)
    })?;
    // The values begin where the last key ends.
    end(rows + row - 1)
}

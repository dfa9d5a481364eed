//! From older formats to the one that this version writes.

#[cfg(test)]
mod tests;

use super::{Engine, FORMAT_VERSION, Fault, Meta, make_all};
use redb::WriteTransaction;

/// Makes rows of one version those of the next.
type Step = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The first leads from version 1 to 2, and so on. Who raises [`FORMAT_VERSION`] has to add one, and a store of the
/// version before to `tests/formats`.
const STEPS: [Step; FORMAT_VERSION as usize - 1] = [make_all];

/// Makes a store one of this version, in one transaction: after a crash it is as it was, or all of it is new. What is
/// of this version is not touched.
pub(crate) fn upgrade(engine: &Engine, meta: Meta) -> Result<Meta, Fault> {
    upgrade_by(engine, meta, &STEPS)
}

fn upgrade_by(engine: &Engine, meta: Meta, steps: &[Step]) -> Result<Meta, Fault> {
    let done = usize::try_from(meta.format)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let Some(steps @ [_, ..]) = steps.get(done..) else {
        return Ok(meta);
    };
    let format = steps
        .iter()
        .fold(meta.format, |format, _| format.saturating_add(1));
    let upgraded = Meta { format, ..meta };
    engine.transaction(|transaction| {
        steps.iter().try_for_each(|step| step(transaction))?;
        upgraded.write(transaction)
    })?;
    Ok(upgraded)
}

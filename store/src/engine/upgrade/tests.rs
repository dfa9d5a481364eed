//! Stores that are behind.

use super::*;
use crate::engine::{FACTS, Trust, all_are_there};
use crate::observer::Unobserved;
use crate::recovery::{Refusal, meta};
use crate::testing::{Plate, Trouble};
use redb::ReadableTableMetadata;
use std::sync::Arc;

/// Written by the version that wrote format 1; see `starting::a_store_of_any_format_gives_back_what_it_was_told`.
const OLD: &[u8] = include_bytes!("../../../tests/formats/1.redb");

fn opened(plate: &Plate) -> Engine {
    let engine = Engine::new(Box::new(plate.clone()), Arc::new(Unobserved), Trust::File);
    engine.open().unwrap();
    engine
}

/// Its format, and how many facts it has.
fn look(engine: &Engine) -> (u32, u64) {
    let found = engine.read(|transaction| -> Result<_, Refusal> {
        let format = Meta::read(transaction).ok().unwrap().format;
        Ok((format, transaction.open_table(FACTS)?.len()?))
    });
    found.ok().unwrap()
}

fn one_more(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut facts = transaction.open_table(FACTS)?;
    let kind = u8::try_from(facts.len()?).unwrap();
    facts.insert((100 + kind, b"new".as_slice()), b"row".as_slice())?;
    Ok(())
}

fn fails(_: &WriteTransaction) -> Result<(), redb::Error> {
    Err(redb::Error::Io(std::io::Error::other("no")))
}

#[test]
fn a_store_goes_through_every_version_up_to_the_last() {
    let plate = Plate::with_image(1, OLD.to_vec());
    let engine = opened(&plate);
    let before = engine.read(meta).ok().unwrap();
    assert_eq!(look(&engine), (1, 1));
    let after = upgrade_by(&engine, before, &[one_more, one_more]).unwrap();
    assert_eq!((after.format, after.boot), (3, before.boot));
    assert_eq!(look(&engine), (3, 3));
    let again = upgrade_by(&engine, after, &[one_more, one_more]).unwrap();
    assert_eq!(
        (again, look(&engine)),
        (after, (3, 3)),
        "it is of the last version"
    );
    upgrade_by(&engine, after, &[fails, fails, one_more]).unwrap();
    assert_eq!(look(&engine), (4, 4), "only what is missing is done");
}

#[test]
fn a_store_of_format_1_gets_a_witness_for_every_table() {
    let plate = Plate::with_image(1, OLD.to_vec());
    let engine = opened(&plate);
    assert!(engine.read(all_are_there).is_err());
    let before = engine.read(meta).ok().unwrap();
    let after = upgrade(&engine, before).unwrap();
    assert_eq!((after.format, after.boot), (2, before.boot));
    engine.read(all_are_there).unwrap();
    assert_eq!(look(&engine), (2, 2), "a fact and a witness");
}

#[test]
fn an_upgrade_that_fails_leaves_the_store_as_it_was() {
    let plate = Plate::with_image(1, OLD.to_vec());
    let engine = opened(&plate);
    let before = engine.read(meta).ok().unwrap();
    assert!(upgrade_by(&engine, before, &[one_more, fails]).is_err());
    assert_eq!(look(&engine), (1, 1));
}

#[test]
fn the_power_may_go_at_any_moment_of_an_upgrade() {
    let mut found = [0, 0];
    for after in 0..40 {
        let plate = Plate::with_image(after, OLD.to_vec());
        let engine = opened(&plate);
        let before = engine.read(meta).ok().unwrap();
        plate.expect(Some(Trouble::PowerLoss { after }));
        upgrade_by(&engine, before, &[one_more, one_more]).ok();
        plate.cut_power();
        drop(engine);
        plate.restore_power();
        match look(&opened(&plate)) {
            (1, 1) => found[0] += 1,
            (3, 3) => found[1] += 1,
            other => panic!("after {after}: {other:?}"),
        }
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

//! Bits that are not what they were: a store is refused, or says what it cannot read, or was not hit.

use super::block_on;
use super::run::Run;
use super::world::{Damage, World};
use super::{Dice, Kind, Plate, Tally};
use crate::care::{self, CareError};
use crate::engine::Trust;
use crate::observer::Unobserved;
use crate::options::Options;
use crate::recovered::Recovered;
use crate::store::Store;
use crate::ticket::Ticket;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(seed: u64, trust: Trust) -> Result<Tally, String> {
    let run = closed(seed)?;
    let mut tally = Tally::default();
    let mut dice = Dice::new(seed);
    for flips in FLIPS {
        let image = flipped(&run.plate.image(), flips, &mut dice);
        tally += look(&run, Plate::with_image(0, image), trust)?;
    }
    Ok(tally)
}

/// What a repair leaves is sound, and nothing of it is other than it was.
pub(super) fn repairs(seed: u64) -> Result<Tally, String> {
    let run = closed(seed)?;
    let name = format!("sluice-store-{}-{seed}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let mut tally = Tally::default();
    let mut dice = Dice::new(seed);
    let mut outcome = Ok(());
    for flips in FLIPS {
        let image = flipped(&run.plate.image(), flips, &mut dice);
        let repaired = std::fs::write(dir.join("store.redb"), image)
            .map_err(|error| error.to_string())
            .and_then(|()| repaired(&run, &dir));
        match repaired {
            Ok(part) => tally += part,
            Err(error) => outcome = Err(error),
        }
    }
    std::fs::remove_dir_all(&dir).ok();
    outcome.map(|()| tally)
}

/// How many bits are not what they were.
const FLIPS: [u32; 4] = [1, 1, 8, 64];

/// A store that was closed.
fn closed(seed: u64) -> Result<Run, String> {
    let mut run = Run::new(Kind::BitFlips, seed)?;
    let store = run.open()?;
    for _ in 0..8 {
        let ticket = run.batch(&store);
        block_on(store.wait(ticket)).map_err(|doubt| doubt.to_string())?;
    }
    store.close();
    Ok(run)
}

fn repaired(run: &Run, dir: &Path) -> Result<Tally, String> {
    let mut tally = Tally {
        troubles: 1,
        ..Tally::default()
    };
    let options = Options::new(dir);
    match care::repair(dir) {
        Ok(_) => {}
        Err(CareError::Damaged(_) | CareError::Open(_)) => {
            tally.refused = 1;
            return Ok(tally);
        }
        Err(error) => return Err(error.to_string()),
    }
    let report = care::check(dir).map_err(|error| error.to_string())?;
    if !report.is_sound() {
        return Err(format!("not sound after the repair: {report:?}"));
    }
    let (store, recovered) = Store::open(options, Arc::new(Unobserved)).map_err(|error| error.to_string())?;
    // Looks at every message.
    let found = World::of(&store, &recovered, Damage::None)?;
    store.close();
    if !found.is_part_of(&run.now) {
        return Err(format!("found {found:#?}\nexpected {:#?}", run.now));
    }
    tally.compared = 1;
    Ok(tally)
}

fn flipped(image: &[u8], flips: u32, dice: &mut Dice) -> Vec<u8> {
    let mut image = image.to_vec();
    for _ in 0..flips {
        let index = dice.index(image.len());
        if let Some(byte) = image.get_mut(index) {
            *byte ^= 1 << dice.below(8);
        }
    }
    image
}

fn look(run: &Run, plate: Plate, trust: Trust) -> Result<Tally, String> {
    let mut tally = Tally {
        troubles: 1,
        ..Tally::default()
    };
    let options = Options::new("");
    let disk = Box::new(plate);
    let (store, recovered) = match Store::open_trusting(disk, &options, Arc::new(Unobserved), trust) {
        Ok(opened) => opened,
        Err(_) => {
            tally.refused = 1;
            return Ok(tally);
        }
    };
    compare(&run.now, &store, &recovered)?;
    tally.compared = 1;
    // Whether this succeeds or not, it ends.
    let ticket = store.submit(crate::Change::RetainedCleared("none".to_owned()));
    block_on(store.wait(ticket.max(Ticket::NONE))).ok();
    store.close();
    Ok(tally)
}

/// Beside messages that it says it cannot read, all has to be as it was.
fn compare(expected: &World, store: &Store, recovered: &Recovered) -> Result<(), String> {
    let found = World::of(store, recovered, Damage::Some)?;
    let same = |left: &World, right: &World| {
        let strip = |world: &World| {
            let mut world = world.clone();
            for client in world.sessions.values_mut() {
                let held = client.inflight.iter_mut().filter_map(|sent| sent.held.as_mut());
                for copy in held.map(|(_, copy)| copy).chain(client.queue.values_mut()) {
                    copy.retain = false;
                    copy.ids = Vec::new();
                }
            }
            world
        };
        strip(left) == strip(right)
    };
    if same(expected, &found) {
        Ok(())
    } else {
        Err(format!("found {found:#?}\nexpected {expected:#?}"))
    }
}

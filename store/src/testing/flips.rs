//! Bits that are not what they were: a store is refused, or says what it cannot read, or was not hit.

use super::run::{Run, block_on};
use super::world::{Damage, World};
use super::{Dice, Kind, Plate, Tally};
use crate::engine::Trust;
use crate::observer::Unobserved;
use crate::options::Options;
use crate::recovered::Recovered;
use crate::store::Store;
use crate::ticket::Ticket;
use std::sync::Arc;

pub(super) fn run(seed: u64, trust: Trust) -> Result<Tally, String> {
    let mut run = Run::new(Kind::BitFlips, seed)?;
    let store = run.open()?;
    for _ in 0..8 {
        let ticket = run.batch(&store);
        block_on(store.wait(ticket)).map_err(|doubt| doubt.to_string())?;
    }
    store.close();
    let mut tally = Tally::default();
    let image = run.plate.image();
    let mut dice = Dice::new(seed);
    for flips in [1, 1, 8, 64] {
        tally += look(&run, flipped(&image, flips, &mut dice), trust)?;
    }
    Ok(tally)
}

fn flipped(image: &[u8], flips: u32, dice: &mut Dice) -> Plate {
    let mut image = image.to_vec();
    for _ in 0..flips {
        let index = dice.index(image.len());
        if let Some(byte) = image.get_mut(index) {
            *byte ^= 1 << dice.below(8);
        }
    }
    Plate::with_image(0, image)
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

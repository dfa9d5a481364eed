//! One run: a broker that lives a few times on a disk that fails, and what it finds each time.

use super::flips;
use super::world::{Client, Copy, Damage, World, happen, message, record};
use super::{Dice, Plate, Trouble};
use crate::change::{Change, MessageRecord};
use crate::engine::Trust;
use crate::journal::Health;
use crate::observer::{Committed, Observer};
use crate::options::{Durability, Options};
use crate::park::block_on;
use crate::recovered::Recovered;
use crate::store::{Store, Submission};
use crate::ticket::{InDoubt, Ticket};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The power goes, at any write or sync.
    PowerLoss,
    /// Writes and syncs fail, and what was written is not on disk although it seems so; the power goes later.
    FailedSync,
    /// There is no room for a while.
    DiskFull,
    /// Bits of a closed store are not what they were. Redb may abort the process: run it in one of its own.
    BitFlips,
    /// The same, opened as after a start that ended in the middle: the file is not trusted.
    BitFlipsChecked,
    /// The same, repaired. Writes files to the directory for temporary ones.
    Repairs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PowerLoss,
        Self::FailedSync,
        Self::DiskFull,
        Self::BitFlips,
        Self::BitFlipsChecked,
        Self::Repairs,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerLoss => "power-loss",
            Self::FailedSync => "failed-sync",
            Self::DiskFull => "disk-full",
            Self::BitFlips => "bit-flips",
            Self::BitFlipsChecked => "bit-flips-checked",
            Self::Repairs => "repairs",
        })
    }
}

/// What happened in a run, to see that it proves something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// Times that something went wrong.
    pub troubles: u64,
    /// Times that a store was opened and compared.
    pub compared: u64,
    /// Stores that were refused because they are damaged.
    pub refused: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.troubles += other.troubles;
        self.compared += other.compared;
        self.refused += other.refused;
    }
}

/// Runs one.
///
/// # Errors
/// How the store broke a promise.
pub fn run(kind: Kind, seed: u64) -> Result<Tally, String> {
    match kind {
        Kind::BitFlips => return flips::run(seed, Trust::File),
        Kind::BitFlipsChecked => return flips::run(seed, Trust::Nothing),
        Kind::Repairs => return flips::repairs(seed),
        Kind::PowerLoss | Kind::FailedSync | Kind::DiskFull => {}
    }
    let mut run = Run::new(kind, seed)?;
    let lives = 1 + run.dice.below(3);
    for _ in 0..lives {
        run.live()?;
    }
    run.plate.restore_power();
    run.plate.limit(None);
    run.open()?.close();
    run.tally.troubles = run.plate.happened();
    Ok(run.tally)
}

/// A broker and its disk, over several lives.
pub(super) struct Run {
    kind: Kind,
    pub(super) dice: Dice,
    pub(super) plate: Plate,
    /// As the broker has it.
    pub(super) now: World,
    /// As it has to be found at least: what was acknowledged last.
    acknowledged: World,
    /// Whether a batch that brings all up to `now` was written and not acknowledged.
    in_doubt: bool,
    first_number: u64,
    sessions: u64,
    tally: Tally,
    ear: Arc<Ear>,
    recovered: Receiver<()>,
}

/// Hears when a store has recovered.
struct Ear(Mutex<Sender<()>>);

impl Observer for Ear {
    fn failing(&self, _why: &str) {}
    fn recovered(&self) {
        self.0.lock().send(()).ok();
    }
    fn unreadable(&self, _seq: u64, _why: &str) {}
    fn progress(&self, _what: &str, _done: u64, _total: u64) {}
    fn committed(&self, _commit: &Committed) {}
}

/// Longer than anything takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

impl Run {
    pub(super) fn new(kind: Kind, seed: u64) -> Result<Self, String> {
        let plate = Plate::new(seed);
        Store::format(Box::new(plate.clone())).map_err(|error| error.to_string())?;
        let (sender, recovered) = mpsc::channel();
        Ok(Self {
            kind,
            dice: Dice::new(!seed),
            plate,
            now: World::default(),
            acknowledged: World::default(),
            in_doubt: false,
            first_number: 0,
            sessions: 0,
            tally: Tally::default(),
            ear: Arc::new(Ear(Mutex::new(sender))),
            recovered,
        })
    }

    /// From the start of a broker to its end, whatever that is.
    fn live(&mut self) -> Result<(), String> {
        self.plate.restore_power();
        self.plate.limit(None);
        let store = self.open()?;
        let trouble = self.trouble();
        self.plate.expect(trouble);
        if self.kind == Kind::DiskFull {
            self.plate.limit(Some(self.dice.below(100_000)));
        }
        while self.recovered.try_recv().is_ok() {}
        let mut ticket = Ticket::NONE;
        for _ in 0..4 + self.dice.below(12) {
            ticket = ticket.max(self.batch(&store));
            if self.dice.one_in(8) {
                continue;
            }
            match block_on(store.wait(ticket)) {
                Ok(()) => self.acknowledge(),
                Err(InDoubt) => {
                    self.in_doubt = true;
                    if !self.plate.is_powered() {
                        return Ok(());
                    }
                    self.await_recovery(&store, ticket)?;
                }
            }
        }
        if self.dice.one_in(3) {
            self.plate.cut_power();
            return Ok(());
        }
        store.close();
        match block_on(store.wait(ticket)) {
            Ok(()) => self.acknowledge(),
            Err(InDoubt) => self.in_doubt = true,
        }
        Ok(())
    }

    fn trouble(&mut self) -> Option<Trouble> {
        match self.kind {
            Kind::PowerLoss => Some(Trouble::PowerLoss {
                after: self.dice.below(80),
            }),
            Kind::FailedSync if self.dice.one_in(3) => Some(Trouble::FailedWrite {
                after: self.dice.below(60),
            }),
            Kind::FailedSync => Some(Trouble::FailedSync {
                after: self.dice.below(16),
                more: self.dice.below(3),
            }),
            Kind::DiskFull | Kind::BitFlips | Kind::BitFlipsChecked | Kind::Repairs => None,
        }
    }

    fn acknowledge(&mut self) {
        self.acknowledged = self.now.clone();
        self.in_doubt = false;
        self.tally.acknowledged += 1;
    }

    /// The disk failed: the store says so, and recovers by itself once the disk works.
    fn await_recovery(&mut self, store: &Store, ticket: Ticket) -> Result<(), String> {
        if self.kind == Kind::DiskFull {
            if store.health() != Health::Failing {
                return Err("a ticket is in doubt, and the store says it is well".to_owned());
            }
            self.plate.limit(None);
        }
        loop {
            let heard = self.recovered.recv_timeout(PATIENCE);
            heard.map_err(|_| "the store does not recover".to_owned())?;
            if block_on(store.wait(ticket)).is_ok() {
                self.acknowledge();
                return Ok(());
            }
        }
    }

    /// Opens the store and compares what it has with what it promised.
    pub(super) fn open(&mut self) -> Result<Store, String> {
        let options = Options {
            durability: Durability::Always,
            commit_delay: Duration::ZERO,
            commit_bytes: u64::MAX,
            // Only what is waited for is written, so that a run depends on its seed alone.
            commit_interval: Duration::from_secs(100_000),
            backlog_bytes_max: u64::MAX,
            retry_interval: Duration::from_millis(u64::from(self.kind == Kind::DiskFull)),
            ..Options::new("")
        };
        let disk = Box::new(self.plate.clone());
        let opened = Store::open_on(disk, options, self.ear.clone());
        let (store, recovered) = opened.map_err(|error| error.to_string())?;
        self.compare(&store, &recovered)?;
        Ok(store)
    }

    fn compare(&mut self, store: &Store, recovered: &Recovered) -> Result<(), String> {
        let found = World::of(store, recovered, Damage::None)?;
        let is_promised = found == self.acknowledged || (self.in_doubt && found == self.now);
        if !is_promised {
            return Err(format!(
                "found {found:#?}\nacknowledged {:#?}\nin doubt: {} {:#?}",
                self.acknowledged, self.in_doubt, self.now
            ));
        }
        self.acknowledged = found.clone();
        self.now = found;
        self.in_doubt = false;
        self.first_number = recovered.first_number;
        self.sessions = 0;
        self.tally.compared += 1;
        Ok(())
    }

    /// A few things that happen, under one ticket.
    pub(super) fn batch(&mut self, store: &Store) -> Ticket {
        let mut ticket = Ticket::NONE;
        for _ in 0..1 + self.dice.below(5) {
            let mut submission = store.begin();
            self.happen(store, &mut submission);
            ticket = ticket.max(submission.end());
        }
        ticket
    }

    fn happen(&mut self, store: &Store, submission: &mut Submission) {
        let choice = self.dice.below(20);
        match choice {
            0 => self.open_session(submission),
            1 if self.sessions > 3 => self.end_session(submission),
            2 => {
                let seq = store.next_seq();
                let message = message(seq);
                self.now.retained.insert(message.topic().to_owned(), seq);
                submission.change(Change::Retained(message));
            }
            3 => {
                if let Some((topic, _)) = self.now.retained.pop_first() {
                    submission.change(Change::RetainedCleared(topic));
                }
            }
            4 => self.fact(submission),
            5..=11 => self.publish(store, submission),
            _ => {
                let Some(number) = self.any_session() else {
                    return self.open_session(submission);
                };
                let client = self.now.sessions.get_mut(&number);
                if let Some(change) = client.and_then(|client| happen(client, &mut self.dice)) {
                    submission.change(change);
                }
            }
        }
    }

    fn any_session(&mut self) -> Option<u64> {
        let index = self.dice.index(self.now.sessions.len().max(1));
        self.now.sessions.keys().nth(index).copied()
    }

    fn open_session(&mut self, submission: &mut Submission) {
        let number = self.first_number + self.sessions;
        self.sessions += 1;
        let record = record(number, &mut self.dice);
        self.now.sessions.insert(number, Client::new(record.clone()));
        submission.change(Change::SessionOpened(Box::new(record)));
    }

    fn end_session(&mut self, submission: &mut Submission) {
        if let Some(session) = self.any_session() {
            self.now.sessions.remove(&session);
            submission.change(Change::SessionEnded { session });
        }
    }

    fn fact(&mut self, submission: &mut Submission) {
        let kind = u8::try_from(1 + self.dice.below(2)).unwrap_or_default();
        let key = vec![1; self.dice.index(4)];
        let value = (!self.dice.one_in(3)).then(|| vec![2; self.dice.index(90)]);
        let at = (kind, key.clone());
        match &value {
            Some(value) => self.now.facts.insert(at, value.clone()),
            None => self.now.facts.remove(&at),
        };
        submission.change(Change::Fact { kind, key, value });
    }

    fn publish(&mut self, store: &Store, submission: &mut Submission) {
        let seq = store.next_seq();
        let mut recipients = Vec::new();
        for (number, client) in &mut self.now.sessions {
            // Sometimes twice, as for a shared subscription beside one of its own.
            let copies = match self.dice.below(5) {
                0 => 0,
                1 => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let copy = Copy::new(seq, &mut self.dice);
                let position = client.next_position;
                client.next_position += 1;
                recipients.push(copy.recipient(*number, position));
                client.queue.insert(position, copy);
            }
        }
        submission.message(MessageRecord {
            seq,
            message: &message(seq),
            recipients,
        });
    }
}

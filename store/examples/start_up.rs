//! How long a store with so many queued messages takes to open: `start_up DIRECTORY [MESSAGES] [PAYLOAD BYTES]`. It is
//! made first if the directory is empty. Opened twice: as a broker that was stopped and started, and as after a restart
//! of the machine, with nothing cached.

// Its output is what it is for.
#![allow(clippy::print_stdout)]

use bytes::Bytes;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::QoS;
use sluice_store::testing::{block_on, offline_session};
use sluice_store::{Change, Committed, MessageRecord, Observer, Options, Recipient, Store, Ticket};
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const SESSIONS: u64 = 1_000;

struct Told;

impl Observer for Told {
    fn failing(&self, why: &str) {
        println!("failing: {why}");
    }
    fn recovered(&self) {}
    fn unreadable(&self, seq: u64, why: &str) {
        println!("{seq}: {why}");
    }
    fn progress(&self, what: &str, done: u64, total: u64) {
        println!("{what}: {done} of {total}");
    }
    fn committed(&self, _commit: &Committed) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let messages: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let payload_bytes: usize = arguments.next().map_or(Ok(1_024), |text| text.parse())?;
    if !dir.join("store.redb").exists() {
        fill(&dir, messages, payload_bytes)?;
    }
    let file = dir.join("store.redb");
    println!("the file has {} MiB", std::fs::metadata(&file)?.len() >> 20);
    open(&dir, "as it is")?;
    open(&dir, "opened again")?;
    let file = File::open(&file)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    open(&dir, "with nothing cached")
}

fn open(dir: &Path, how: &str) -> Result<(), Box<dyn Error>> {
    let before = resident()?;
    let began = Instant::now();
    let (store, recovered) = Store::open(Options::new(dir), Arc::new(Told))?;
    let took = began.elapsed();
    let queued: usize = recovered.sessions.iter().map(|session| session.queue.len()).sum();
    let sessions = recovered.sessions.len();
    println!(
        "{how}: {queued} messages of {sessions} sessions in {took:.2?}, {} MiB more memory",
        (resident()? - before) >> 20
    );
    let began = Instant::now();
    let mut read = 0;
    for session in &recovered.sessions {
        for stored in session.queue.iter().take(10) {
            let number = session.record.number;
            read += u32::from(store.read_at(stored.seq, number, stored.position)?.is_some());
        }
    }
    println!("{read} messages read, {:.1?} each", began.elapsed() / read.max(1));
    let began = Instant::now();
    store.close();
    println!("closed in {:.2?}", began.elapsed());
    Ok(())
}

fn fill(dir: &Path, messages: u64, payload_bytes: usize) -> Result<(), Box<dyn Error>> {
    let (store, recovered) = Store::open(Options::new(dir), Arc::new(Told))?;
    let began = Instant::now();
    let message = Message::own(
        "plant/7/line/3",
        Bytes::from(vec![7; payload_bytes]),
        QoS::AtLeastOnce,
        false,
    );
    for number in 0..SESSIONS {
        let session = offline_session(recovered.first_number + number);
        store.submit(Change::SessionOpened(Box::new(session)));
    }
    let mut ticket = Ticket::NONE;
    for index in 0..messages {
        let mut submission = store.begin();
        submission.message(MessageRecord {
            seq: store.next_seq(),
            message: &message,
            recipients: vec![Recipient {
                session: recovered.first_number + index % SESSIONS,
                position: index / SESSIONS,
                qos: 1,
                retain: false,
                subscription_ids: Vec::new(),
            }],
        });
        let now = submission.end();
        if now != ticket && store.is_congested() {
            block_on(store.wait(now))?;
        }
        ticket = now;
    }
    block_on(store.wait(ticket))?;
    println!("made in {:.1?}", began.elapsed());
    store.close();
    Ok(())
}

fn resident() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .ok_or("statm has no second field")?
        .parse()?;
    Ok(pages * 4096)
}

//! How fast the store commits, beside the disk's own speed: so many messages of 256 bytes at a time are appended and as
//! many older ones acknowledged, or appended to a plain file and synced.
//! `commit_speed DIRECTORY [BACKLOG] [SECONDS] [BATCH,..]`

// Its output is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use bytes::Bytes;
use sluice_mqtt::message::Message;
use sluice_mqtt::packet::QoS;
use sluice_store::testing::{block_on, offline_session};
use sluice_store::{Change, Committed, MessageRecord, Observer, Options, Recipient, Store};
use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PAYLOAD_BYTES: usize = 256;
/// What a log would write for each: the payload, a topic, a head.
const RECORD_BYTES: usize = PAYLOAD_BYTES + 64;
const SESSIONS: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let backlog: u64 = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let batches = arguments.next().unwrap_or_else(|| "1,64,128,1000".to_owned());
    let batches: Vec<u32> = batches.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let data_dir = dir.join("commit_speed");
    std::fs::remove_dir_all(&data_dir).ok();
    let mut bench = Bench::new(&data_dir, backlog)?;
    println!("backlog {backlog}, payload {PAYLOAD_BYTES} bytes, {SESSIONS} sessions");
    println!(
        "batch | raw commits/s | raw messages/s | store commits/s | store messages/s | commit us | rows B/message | cpu us/message"
    );
    for batch in batches {
        let raw = raw(&dir, batch, time)?;
        bench.run(batch, time)?;
        let store = bench.run(batch, time)?;
        let size = f64::from(batch);
        println!(
            "{batch:5} | {raw:13.0} | {:14.0} | {:15.0} | {:16.0} | {:9.0} | {:14.0} | {:14.1}",
            raw * size,
            store.commits,
            store.commits * size,
            store.commit_microseconds,
            store.row_bytes,
            store.cpu_microseconds,
        );
    }
    bench.store.close();
    std::fs::remove_dir_all(&data_dir)?;
    Ok(())
}

/// Appends and syncs; returns how often in a second.
fn raw(dir: &Path, batch: u32, time: Duration) -> Result<f64, Box<dyn Error>> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join("raw_floor");
    let mut file = File::create(&path)?;
    let bytes = vec![7; RECORD_BYTES * batch as usize];
    let began = Instant::now();
    let mut commits = 0.0;
    while began.elapsed() < time {
        file.write_all(&bytes)?;
        file.sync_data()?;
        commits += 1.0;
    }
    std::fs::remove_file(path)?;
    Ok(commits / began.elapsed().as_secs_f64())
}

struct Bench {
    store: Store,
    first_session: u64,
    ear: Arc<Ear>,
    message: Message,
    positions: Vec<u64>,
    queued: VecDeque<(u64, u64, u64)>,
}

#[derive(Default)]
struct Ear {
    bytes: AtomicU64,
    commits: AtomicU64,
    microseconds: AtomicU64,
}

impl Observer for Ear {
    fn failing(&self, why: &str) {
        eprintln!("failing: {why}");
    }
    fn recovered(&self) {}
    fn unreadable(&self, _seq: u64, _why: &str) {}
    fn progress(&self, _what: &str, _done: u64, _total: u64) {}
    fn committed(&self, commit: &Committed) {
        self.bytes.fetch_add(commit.bytes, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(commit.duration.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }
}

struct Measured {
    commits: f64,
    /// From when a batch was closed until it was durable.
    commit_microseconds: f64,
    row_bytes: f64,
    cpu_microseconds: f64,
}

impl Bench {
    fn new(data_dir: &Path, backlog: u64) -> Result<Self, Box<dyn Error>> {
        let ear = Arc::new(Ear::default());
        let (store, recovered) = Store::open(Options::new(data_dir), ear.clone())?;
        let mut bench = Self {
            store,
            first_session: recovered.first_number,
            ear,
            message: Message::own(
                "plant/7/line/3",
                Bytes::from(vec![7; PAYLOAD_BYTES]),
                QoS::AtLeastOnce,
                false,
            ),
            positions: vec![0; usize::try_from(SESSIONS)?],
            queued: VecDeque::new(),
        };
        for number in 0..SESSIONS {
            let session = offline_session(recovered.first_number + number);
            bench.store.submit(Change::SessionOpened(Box::new(session)));
        }
        while (bench.queued.len() as u64) < backlog {
            for _ in 0..1_000 {
                bench.publish();
            }
            let ticket = bench.publish();
            block_on(bench.store.wait(ticket))?;
        }
        Ok(bench)
    }

    fn publish(&mut self) -> sluice_store::Ticket {
        let seq = self.store.next_seq();
        let index = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) % SESSIONS;
        let session = self.first_session + index;
        let place = usize::try_from(index)
            .ok()
            .and_then(|index| self.positions.get_mut(index));
        let position = place.map_or(0, |next| {
            *next += 1;
            *next
        });
        let mut submission = self.store.begin();
        submission.message(MessageRecord {
            seq,
            message: &self.message,
            recipients: vec![Recipient {
                session,
                position,
                qos: 1,
                retain: false,
                subscription_ids: Vec::new(),
            }],
        });
        self.queued.push_back((session, position, seq));
        submission.end()
    }

    fn deliver(&mut self) {
        let Some((session, position, seq)) = self.queued.pop_front() else {
            return;
        };
        self.store.submit(Change::Sent {
            session,
            position,
            seq,
            packet_id: 1,
            qos2: false,
        });
        self.store.submit(Change::Acknowledged {
            session,
            packet_id: 1,
        });
    }

    fn run(&mut self, batch: u32, time: Duration) -> Result<Measured, Box<dyn Error>> {
        let (bytes, commits, microseconds) = (
            self.ear.bytes.load(Ordering::Relaxed),
            self.ear.commits.load(Ordering::Relaxed),
            self.ear.microseconds.load(Ordering::Relaxed),
        );
        let (began, cpu) = (Instant::now(), cpu());
        let mut messages = 0.0;
        while began.elapsed() < time {
            let mut ticket = sluice_store::Ticket::NONE;
            for _ in 0..batch {
                ticket = self.publish();
                self.deliver();
                messages += 1.0;
            }
            block_on(self.store.wait(ticket))?;
        }
        let count =
            |now: &AtomicU64, before: u64| u32::try_from(now.load(Ordering::Relaxed) - before).map(f64::from);
        let made = count(&self.ear.commits, commits)?;
        Ok(Measured {
            commits: made / began.elapsed().as_secs_f64(),
            commit_microseconds: count(&self.ear.microseconds, microseconds)? / made,
            row_bytes: count(&self.ear.bytes, bytes)? / messages,
            cpu_microseconds: (self::cpu() - cpu).as_secs_f64() * 1e6 / messages,
        })
    }
}

/// What the whole process has used.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

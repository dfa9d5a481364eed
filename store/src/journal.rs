//! What is submitted and not durable yet, and who waits for it.
//!
//! One batch is current and takes what comes. When somebody waits for it, or it is old or large, the commit thread
//! closes it: at the first moment when no submission is open it takes all of it and makes the next one current. So
//! batches hold what was submitted in the order in which it was, and a submission is never in two of them. A batch
//! that waits for that moment stops nobody: submissions last microseconds, and soon none is open.

use crate::batch::{Batch, Kept, Messages};
use crate::change::Change;
use crate::options::{Durability, Options};
use crate::park::block_on;
use crate::ticket::{InDoubt, Ticket};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Whether the store takes durable work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Open,
    /// A write or a sync failed and has not succeeded since, or the store is closed.
    Failing,
}

const OPEN: u8 = 0;
const FAILING: u8 = 1;
const CLOSED: u8 = 2;

#[derive(Debug)]
pub(crate) struct Journal {
    state: Mutex<State>,
    /// There may be something to do for the commit thread.
    work: Condvar,
    /// A message that was announced may be here now.
    filed: Condvar,
    /// Tickets up to this one are durable.
    durable: AtomicU64,
    health: AtomicU8,
    backlog_bytes: AtomicU64,
    next_seq: AtomicU64,
    pace: Pace,
}

/// When a batch is closed, see [`Options`].
#[derive(Debug)]
struct Pace {
    durability: Durability,
    commit_delay: Duration,
    commit_bytes: u64,
    commit_interval: Duration,
    backlog_bytes_max: u64,
}

#[derive(Debug)]
struct State {
    current: Batch,
    /// Ticket of the current batch.
    number: u64,
    /// Submissions that are not ended.
    open: u32,
    /// Numbers of the messages they are about: at most one for each thread.
    announced: Vec<u64>,
    /// When the first change came into the current batch.
    began: Option<Instant>,
    /// When it was first waited for.
    wanted: Option<Instant>,
    /// The commit thread sleeps until somebody tells it that something is there.
    idle: bool,
    /// The commit thread sleeps until no submission is open.
    sealing: bool,
    closing: bool,
    /// Messages of batches that are closed and not durable, oldest first.
    committing: Vec<Arc<Messages>>,
    /// By ticket and by what makes a waker itself: one that asks again takes no more room. So there are at most as
    /// many as there are tasks, times the two tickets that can be waited for.
    waiters: BTreeMap<(u64, usize, usize), Waker>,
}

/// A batch that is closed.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) batch: Batch,
    /// Its ticket.
    pub(crate) number: u64,
    /// The last one: the store is being closed.
    pub(crate) last: bool,
}

impl Journal {
    /// A journal whose first number is above all that came before.
    pub(crate) fn new(options: &Options, first_seq: u64) -> Self {
        Self {
            state: Mutex::new(State {
                current: Batch::default(),
                number: 1,
                open: 0,
                announced: Vec::new(),
                began: None,
                wanted: None,
                idle: false,
                sealing: false,
                closing: false,
                committing: Vec::new(),
                waiters: BTreeMap::new(),
            }),
            work: Condvar::new(),
            filed: Condvar::new(),
            durable: AtomicU64::new(0),
            health: AtomicU8::new(OPEN),
            backlog_bytes: AtomicU64::new(0),
            next_seq: AtomicU64::new(first_seq),
            pace: Pace {
                durability: options.durability,
                commit_delay: options.commit_delay,
                commit_bytes: options.commit_bytes,
                commit_interval: options.commit_interval,
                backlog_bytes_max: options.backlog_bytes_max,
            },
        }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn health(&self) -> Health {
        if self.health.load(Ordering::Acquire) == OPEN {
            Health::Open
        } else {
            Health::Failing
        }
    }

    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.backlog_bytes() > self.pace.backlog_bytes_max
    }

    /// Opens a submission: what the current batch holds is not taken until it is ended.
    pub(crate) fn begin(&self) -> Ticket {
        let mut state = self.state.lock();
        state.open += 1;
        Ticket(state.number)
    }

    /// [`Journal::begin`] for a message, with its number: who looks for it meanwhile waits until it is there.
    pub(crate) fn begin_message(&self) -> (Ticket, u64) {
        let mut state = self.state.lock();
        state.open += 1;
        let seq = self.next_seq();
        state.announced.push(seq);
        (Ticket(state.number), seq)
    }

    pub(crate) fn end(&self, announced: Option<u64>) {
        let mut state = self.state.lock();
        state.open -= 1;
        if let Some(seq) = announced {
            state.announced.retain(|other| *other != seq);
            self.filed.notify_all();
        }
        if state.open == 0 && state.sealing {
            self.work.notify_one();
        }
    }

    pub(crate) fn message(&self, seq: u64, kept: Arc<Kept>) {
        self.add(|batch| batch.add_message(seq, kept));
    }

    pub(crate) fn change(&self, change: Change) -> Ticket {
        self.add(|batch| batch.add_change(change))
    }

    fn add(&self, add: impl FnOnce(&mut Batch) -> u64) -> Ticket {
        let mut state = self.state.lock();
        let bytes = add(&mut state.current);
        self.backlog_bytes.fetch_add(bytes, Ordering::Relaxed);
        if state.began.is_none() {
            state.began = Some(Instant::now());
        }
        if state.idle || state.current.bytes >= self.pace.commit_bytes {
            self.wake_thread(&mut state);
        }
        Ticket(state.number)
    }

    pub(crate) fn poll_durable(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), InDoubt>> {
        match self.outcome(ticket) {
            Poll::Pending if self.pace.durability == Durability::Interval => Poll::Ready(Ok(())),
            Poll::Pending => self.poll_on_disk(ticket, waker),
            ready => ready,
        }
    }

    /// Waits until all that was submitted so far is on disk, whatever the durability is.
    pub(crate) fn flush(&self) -> Result<(), InDoubt> {
        let ticket = self.latest();
        block_on(poll_fn(|context| self.poll_on_disk(ticket, context.waker())))
    }

    fn poll_on_disk(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), InDoubt>> {
        let mut state = self.state.lock();
        // It changes under the lock only: what is not decided now wakes this waker.
        if let Poll::Ready(outcome) = self.outcome(ticket) {
            return Poll::Ready(outcome);
        }
        let identity = (
            ticket.0,
            waker.data().addr(),
            std::ptr::from_ref(waker.vtable()).addr(),
        );
        state.waiters.entry(identity).or_insert_with(|| waker.clone());
        if ticket.0 >= state.number && state.wanted.is_none() {
            state.wanted = Some(Instant::now());
            self.wake_thread(&mut state);
        }
        Poll::Pending
    }

    fn outcome(&self, ticket: Ticket) -> Poll<Result<(), InDoubt>> {
        if ticket.0 <= self.durable.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        match self.health() {
            Health::Failing => Poll::Ready(Err(InDoubt)),
            Health::Open => Poll::Pending,
        }
    }

    pub(crate) fn latest(&self) -> Ticket {
        let state = self.state.lock();
        Ticket(state.number - u64::from(state.current.is_empty()))
    }

    /// A message that is not durable yet. Blocks for the microseconds that its submission lasts.
    pub(crate) fn find(&self, seq: u64) -> Option<Arc<Kept>> {
        let mut state = self.state.lock();
        while state.announced.contains(&seq) {
            self.filed.wait(&mut state);
        }
        let mut batches = std::iter::once(&state.current.messages).chain(&state.committing);
        batches.find_map(|messages| messages.get(&seq)).cloned()
    }

    fn wake_thread(&self, state: &mut MutexGuard<'_, State>) {
        state.idle = false;
        self.work.notify_one();
    }
}

/// What the commit thread does with it.
impl Journal {
    /// Waits until a batch is to be written, and closes it.
    pub(crate) fn next(&self) -> Closed {
        let mut state = self.state.lock();
        loop {
            match self.due(&state) {
                Due::Now => break,
                Due::At(at) => {
                    self.work.wait_until(&mut state, at);
                }
                Due::Never => {
                    state.idle = true;
                    self.work.wait(&mut state);
                    state.idle = false;
                }
            }
        }
        self.close_batch(&mut state)
    }

    /// Waits while the disk fails: until `until`, or until the store is being closed, which it returns. Then closes
    /// the current batch if it is so large that it had better join what is to be written already.
    pub(crate) fn pause(&self, until: Instant) -> (bool, Option<Closed>) {
        let mut state = self.state.lock();
        while !state.closing {
            if self.work.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        let closing = state.closing;
        let more = closing || state.current.bytes >= self.pace.commit_bytes;
        let closed = (more && !state.current.is_empty()).then(|| self.close_batch(&mut state));
        (closing, closed)
    }

    fn due(&self, state: &State) -> Due {
        if state.closing {
            return Due::Now;
        }
        let Some(began) = state.began else {
            return Due::Never;
        };
        if state.current.bytes >= self.pace.commit_bytes {
            return Due::Now;
        }
        let unasked = began + self.pace.commit_interval;
        let at = match state.wanted {
            Some(wanted) => unasked.min(wanted + self.pace.commit_delay),
            None => unasked,
        };
        if at <= Instant::now() {
            Due::Now
        } else {
            Due::At(at)
        }
    }

    fn close_batch(&self, state: &mut MutexGuard<'_, State>) -> Closed {
        while state.open > 0 {
            state.sealing = true;
            self.work.wait(state);
        }
        state.sealing = false;
        let batch = std::mem::take(&mut state.current);
        let number = state.number;
        state.number += 1;
        state.began = None;
        state.wanted = None;
        if !batch.messages.is_empty() {
            state.committing.push(Arc::clone(&batch.messages));
        }
        Closed {
            batch,
            number,
            last: state.closing,
        }
    }

    /// Everything up to this ticket is durable, and so many bytes less wait.
    pub(crate) fn committed(&self, number: u64, bytes: u64) {
        let mut state = self.state.lock();
        self.durable.store(number, Ordering::Release);
        self.backlog_bytes.fetch_sub(bytes, Ordering::Relaxed);
        state.committing.clear();
        let later = state.waiters.split_off(&(number + 1, 0, 0));
        let ready = std::mem::replace(&mut state.waiters, later);
        drop(state);
        wake(ready);
    }

    /// Nothing becomes durable for now.
    pub(crate) fn fail(&self) {
        self.doubt(FAILING);
    }

    /// What could not be written can be.
    pub(crate) fn recovered(&self) {
        let _state = self.state.lock();
        self.health.store(OPEN, Ordering::Release);
    }

    /// Nothing becomes durable any more.
    pub(crate) fn closed(&self) {
        self.doubt(CLOSED);
    }

    fn doubt(&self, health: u8) {
        let mut state = self.state.lock();
        self.health.store(health, Ordering::Release);
        let in_doubt = std::mem::take(&mut state.waiters);
        drop(state);
        wake(in_doubt);
    }

    /// Asks the commit thread to write what there is and to end.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_one();
    }
}

enum Due {
    Now,
    At(Instant),
    Never,
}

/// Without the lock: a waker may drop what it wakes, and that may be the last to hold the store.
fn wake(waiters: BTreeMap<(u64, usize, usize), Waker>) {
    for waker in waiters.into_values() {
        waker.wake();
    }
}

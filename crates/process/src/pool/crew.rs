//! The pool's workers and what each of them has to do: the state behind the pool's one lock.
//!
//! A worker has at most two chunks: the one it runs, and the next, so that it does not wait for the pool
//! between them. The second is only offered, and taken back for a worker that would have nothing to do (see
//! `link.rs`).

use super::batch::Chunk;
use super::error::TaskError;
use super::job::{Job, JobResult, Results};
use super::link::{AHEAD, Lease, Link};
use super::wire::{Answer, ChunkHeader, Order, compose_order};
use crate::panicked::Panic;
use crate::process::Process;
use procession_channel::{LaneReader, LaneWriter, codec};
use procession_sys::Deadline;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many workers may die one after the other before they were ready, until the pool gives up.
const MAX_FAILED_STARTS: u32 = 8;
/// How many workers may die one after the other with work of one job and without a result, until the job is
/// given up.
const MAX_BARREN: u32 = 4;
/// How many workers without a result are replaced at once, and how long the pool waits with the later ones.
const FREE_STARTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How far the pool is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolState {
    Open,
    /// Takes no more work, and lets its workers go when all is done.
    Closed,
    /// The workers are being killed.
    Terminated,
}

/// A worker, as the pool sees it.
#[derive(Debug)]
pub(crate) struct WorkerView {
    pub(crate) process: Arc<Process<()>>,
    link: Link,
    writer: LaneWriter,
    reader: LaneReader,
    /// The chunks that it was given and has not finished; first the one that it runs.
    assigned: VecDeque<Assigned>,
    next_seq: u64,
    /// How many records came from it.
    received: u64,
    /// The job whose state it has.
    knows: Option<u64>,
    /// Whether it was told to leave.
    leaving: bool,
}

#[derive(Debug)]
struct Assigned {
    lease: Lease,
    chunk: Chunk,
    /// How many of its items are done.
    done: usize,
}

impl WorkerView {
    pub(crate) fn new(process: Process<()>, link: Link) -> Self {
        let (writer, reader) = link.pool_ends();
        Self {
            process: Arc::new(process),
            link,
            writer,
            reader,
            assigned: VecDeque::new(),
            next_seq: 0,
            received: 0,
            knows: None,
            leaving: false,
        }
    }

    /// How it ended, in words.
    fn end(&self) -> String {
        self.process.exit_status().map_or_else(String::new, |how| how.to_string())
    }

    /// A lease in a cell that none of its chunks uses.
    fn next_lease(&mut self) -> Lease {
        let seq = self.next_seq;
        self.next_seq += 1;
        let is_free = |cell: &u8| self.assigned.iter().all(|assigned| assigned.lease.cell != *cell);
        Lease { cell: (0..=u8::MAX).find(is_free).unwrap_or(u8::MAX), seq }
    }

    fn send(&mut self, order: &Order, items: &[u8]) -> Result<(), codec::EncodeError> {
        let message = compose_order(order, items)?;
        if !self.writer.try_write(&message) {
            self.writer.enqueue(message);
            self.writer.pump();
        }
        self.writer.notify_data();
        Ok(())
    }
}

/// Everything that the pool's lock guards.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) state: PoolState,
    /// `None` while a dead worker is being replaced, and at the end.
    pub(crate) workers: Vec<Option<WorkerView>>,
    /// By number, so that the oldest is served first.
    pub(crate) jobs: BTreeMap<u64, Job>,
    /// Workers without anything to do, the one that was busy last at the end: it may still be awake.
    idle: Vec<usize>,
    next_job: u64,
    retries: u32,
    failed_starts: u32,
    /// How many workers have ended since the last result without one of their own.
    fruitless: u32,
    /// When the next worker may be started: those that only die are not replaced as fast as that goes.
    pub(crate) next_start: Deadline,
    /// When a terminated pool waits no longer for workers that do not end.
    pub(crate) give_up: Deadline,
    /// Whether the pool's thread has ended.
    pub(crate) is_over: bool,
    /// Why no worker can be started any more.
    pub(crate) broken: Option<String>,
    /// Threads that look after the outboxes themselves while they wait.
    pub(crate) helpers: u32,
    record: Vec<u8>,
}

impl Crew {
    pub(crate) fn new(count: usize, retries: u32) -> Self {
        Self {
            state: PoolState::Open,
            workers: (0..count).map(|_| None).collect(),
            jobs: BTreeMap::new(),
            idle: Vec::new(),
            next_job: 0,
            retries,
            failed_starts: 0,
            fruitless: 0,
            next_start: Deadline::PASSED,
            give_up: Deadline::NEVER,
            is_over: false,
            broken: None,
            helpers: 0,
            record: Vec::new(),
        }
    }

    /// Puts a worker into its place.
    pub(crate) fn install(&mut self, place: usize, worker: WorkerView) {
        self.workers[place] = Some(worker);
        // It starts up now: the others come first.
        self.idle.insert(0, place);
        self.dispatch();
    }

    /// Takes in a new job.
    pub(crate) fn open_job(&mut self, job: Job) -> Result<u64, TaskError> {
        match (&self.broken, self.state) {
            (Some(reason), _) => Err(TaskError::Broken { reason: reason.clone() }),
            (None, PoolState::Open) => {
                let id = self.next_job;
                self.next_job += 1;
                self.jobs.insert(id, job);
                Ok(id)
            }
            (None, PoolState::Closed | PoolState::Terminated) => Err(TaskError::Closed),
        }
    }

    /// Gives a job more items.
    pub(crate) fn add(&mut self, chunk: Chunk) {
        let (state, broken) = (self.state, self.broken.clone());
        let Some(job) = self.jobs.get_mut(&chunk.job) else { return };
        job.open += chunk.range.len();
        if let Some(error) = job.doomed.clone() {
            job.fail_chunk(&chunk, &error);
        } else if state == PoolState::Terminated || broken.is_some() {
            let error = broken.map_or(TaskError::Cancelled, |reason| TaskError::Broken { reason });
            job.fail_chunk(&chunk, &error);
        } else {
            job.pending.push_back(chunk);
            self.dispatch();
        }
    }

    /// Takes the outcome of a job, if it is all there; then the job is over.
    pub(crate) fn take_outcome(&mut self, id: u64) -> Option<JobResult> {
        let Some(job) = self.jobs.get(&id) else { return Some(JobResult::One(Err(TaskError::Cancelled))) };
        if !job.is_over() {
            return None;
        }
        match self.jobs.remove(&id)?.results {
            Results::Collected(collected) => Some(JobResult::All(collected)),
            Results::Streamed(mut ready) => Some(JobResult::One(ready.pop_front()?.1)),
        }
    }

    /// Whether the outcome of a job is all there, or was taken.
    pub(crate) fn is_over(&self, id: u64) -> bool {
        self.jobs.get(&id).is_none_or(Job::is_over)
    }

    /// Cancels what no worker has begun of a job; whether there was any.
    pub(super) fn cancel(&mut self, id: u64) -> bool {
        let unbegun = self.take_back_unbegun(id, Link::revoke);
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        unbegun.iter().for_each(|chunk| job.fail_chunk(chunk, &TaskError::Cancelled));
        !unbegun.is_empty()
    }

    /// The chunks of a job that no worker has begun, which none will begin now.
    fn take_back_unbegun(&mut self, id: u64, revoke: fn(&Link, Lease) -> bool) -> Vec<Chunk> {
        let Self { workers, jobs, idle, .. } = self;
        let Some(job) = jobs.get_mut(&id) else { return Vec::new() };
        let mut unbegun: Vec<Chunk> = job.pending.drain(..).collect();
        for (place, worker) in workers.iter_mut().enumerate() {
            let Some(worker) = worker else { continue };
            let before = worker.assigned.len();
            let link = &worker.link;
            worker.assigned.retain(|Assigned { lease, chunk, .. }| {
                let is_taken_back = chunk.job == id && revoke(link, *lease);
                unbegun.extend(is_taken_back.then(|| chunk.clone()));
                !is_taken_back
            });
            if before > 0 && worker.assigned.is_empty() {
                idle.push(place);
            }
        }
        unbegun
    }

    /// An item of the job has failed before it could be given to anybody.
    pub(crate) fn fail_unsent(&mut self, job: u64, index: usize, error: TaskError) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.open += 1;
            job.fail(index, error);
        }
    }

    /// Reads what the workers have answered and gives them more to do; whether any item was finished. Only
    /// the [`Foreman`](super::foreman::Foreman) calls it: it tells those who wait.
    pub(super) fn step(&mut self) -> bool {
        let mut finished = false;
        for place in 0..self.workers.len() {
            finished |= self.drain(place);
        }
        if finished {
            (self.fruitless, self.next_start) = (0, Deadline::PASSED);
            self.forget_abandoned();
        }
        self.dispatch();
        finished
    }

    /// Gives up a job that nobody waits for any more: items that are not begun are not run. Returns whether
    /// there is such a job.
    pub(super) fn abandon(&mut self, id: u64) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        job.abandoned = true;
        job.feeding = false;
        let unbegun = self.take_back_unbegun(id, Link::revoke_or_cut);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.open = job.open.saturating_sub(unbegun.iter().map(|chunk| chunk.range.len()).sum());
        }
        self.forget_abandoned();
        true
    }

    fn forget_abandoned(&mut self) {
        self.jobs.retain(|_, job| !(job.abandoned && job.open == 0));
    }

    /// Reads one worker's outbox to its end; whether any item was finished.
    fn drain(&mut self, place: usize) -> bool {
        let Self { workers, jobs, idle, record, .. } = self;
        let Some(worker) = workers[place].as_mut() else { return false };
        let mut finished = false;
        'chunks: while let Some(current) = worker.assigned.front_mut() {
            let mut job = jobs.get_mut(&current.chunk.job);
            // Each record is for the next item of the worker's first chunk.
            while current.done < current.chunk.range.len() {
                match worker.reader.try_read(record) {
                    Ok(true) => {}
                    Ok(false) => break 'chunks,
                    Err(_) => {
                        // A worker that writes nonsense is as good as dead; soon it is.
                        drop(worker.process.kill());
                        break 'chunks;
                    }
                }
                if let Some(job) = &mut job {
                    take_in(job, current.chunk.index(current.done), record);
                }
                current.done += 1;
                worker.received += 1;
                finished = true;
            }
            worker.assigned.pop_front();
            if worker.assigned.is_empty() {
                idle.push(place);
            }
        }
        worker.reader.give_room();
        if worker.writer.pump() {
            worker.writer.notify_data();
        }
        if !worker.writer.is_idle() && worker.writer.is_corrupt() {
            drop(worker.process.kill());
        }
        finished
    }

    /// Gives out what there is to do.
    fn dispatch(&mut self) {
        while let Some(&place) = self.idle.last() {
            let Some(chunk) = self.next_chunk(0).or_else(|| self.take_back()) else { break };
            self.idle.pop();
            self.assign(place, chunk);
        }
        if self.idle.is_empty() {
            for place in 0..self.workers.len() {
                let has_room = |worker: &WorkerView| {
                    (1..AHEAD).contains(&worker.assigned.len()) && worker.writer.is_idle()
                };
                if self.workers[place].as_ref().is_some_and(has_room)
                    && let Some(chunk) = self.next_chunk(self.workers.len())
                {
                    self.assign(place, chunk);
                }
            }
        }
        if self.state == PoolState::Closed && self.jobs.values().all(Job::is_over) {
            self.dismiss();
        }
    }

    /// The next chunk of the oldest job that has more than `spare` of them.
    fn next_chunk(&mut self, spare: usize) -> Option<Chunk> {
        let job = self.jobs.values_mut().find(|job| !job.pending.is_empty())?;
        if job.pending.len() > spare { job.pending.pop_front() } else { None }
    }

    /// A chunk that a busy worker was only offered.
    fn take_back(&mut self) -> Option<Chunk> {
        let mut busy = self.workers.iter_mut().flatten().filter(|worker| worker.assigned.len() > 1);
        busy.find_map(|worker| {
            let offered = worker.assigned.back()?;
            worker.link.revoke(offered.lease).then(|| worker.assigned.pop_back())?
        })
        .map(|assigned| assigned.chunk)
    }

    fn assign(&mut self, place: usize, chunk: Chunk) {
        let (Some(worker), Some(job)) = (self.workers[place].as_mut(), self.jobs.get_mut(&chunk.job)) else {
            return;
        };
        let lease = worker.next_lease();
        let state = (worker.knows != Some(chunk.job)).then(|| job.state.as_ref().clone());
        worker.link.offer(lease);
        let header = ChunkHeader { lease, job: chunk.job, entry: job.function.entry, state };
        match worker.send(&Order::Chunk(header), chunk.bytes()) {
            Ok(()) => {
                worker.knows = Some(chunk.job);
                worker.assigned.push_back(Assigned { lease, chunk, done: 0 });
            }
            Err(error) => {
                for nth in 0..chunk.range.len() {
                    let index = chunk.index(nth);
                    job.fail(index, TaskError::encode(job.item(index), &error));
                }
                if worker.assigned.is_empty() {
                    self.idle.push(place);
                }
            }
        }
    }

    /// Lets every worker go.
    pub(crate) fn dismiss(&mut self) {
        for worker in self.workers.iter_mut().flatten().filter(|worker| !worker.leaving) {
            worker.leaving = true;
            // `Leave` is one byte: there is nothing in it that cannot be encoded.
            drop(worker.send(&Order::Leave, &[]));
        }
    }

    /// The worker at `place` has ended: settles what it had.
    pub(crate) fn bury(&mut self, place: usize) {
        self.drain(place);
        let Some(worker) = self.workers[place].take() else { return };
        self.idle.retain(|&idle| idle != place);
        // SYNC: pool.begun. The worker is gone, and its last store is what counts.
        let begun = worker.link.body.begun.load(Ordering::Acquire);
        let was_running = begun > worker.received;
        if begun == 0 && !worker.leaving && self.state != PoolState::Terminated {
            self.note_fruitless(&worker);
        }
        for (nth, assigned) in worker.assigned.iter().enumerate().rev() {
            self.recover(&worker, assigned, nth == 0 && was_running);
        }
        self.forget_abandoned();
        if worker.link.is_ready() || worker.leaving {
            self.failed_starts = 0;
        } else {
            self.note_failed_start(&format!("workers end before they are ready ({})", worker.end()));
        }
        self.dispatch();
    }

    /// A worker has ended and begun nothing: that must not go on for ever, nor as fast as it can.
    fn note_fruitless(&mut self, worker: &WorkerView) {
        self.fruitless += 1;
        if let Some(doublings) = self.fruitless.checked_sub(FREE_STARTS) {
            let pause = FIRST_PAUSE * (1 << doublings.min(7));
            self.next_start = Deadline::after(pause.min(LONGEST_PAUSE));
        }
        let preparing = worker.link.preparing();
        let given = worker.assigned.front().map(|assigned| assigned.chunk.job);
        // One that never came up says nothing of the job.
        let Some(id) = preparing.or(given).filter(|_| worker.link.is_ready()) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.barren += 1;
        if job.barren >= MAX_BARREN {
            let when =
                if preparing.is_some() { "while it decoded the state" } else { "before its first item" };
            let reason = format!("the last of {} {when} ({})", job.barren, worker.end());
            job.doom(TaskError::NeverBegun { function: job.function.path, reason });
        }
    }

    /// Whether dead workers are to be replaced.
    pub(crate) fn wants_workers(&self) -> bool {
        let has_work = || self.jobs.values().any(|job| job.open > 0 || job.feeding);
        self.broken.is_none()
            && (self.state == PoolState::Open || self.state == PoolState::Closed && has_work())
    }

    /// A worker did not come up; after too many in a row nothing that is open will ever be done.
    pub(crate) fn note_failed_start(&mut self, why: &str) {
        self.failed_starts += 1;
        if self.failed_starts > MAX_FAILED_STARTS {
            self.break_down(why.to_owned());
        }
    }

    /// Puts back what is left of a dead worker's chunk, but for the item it died in.
    fn recover(&mut self, worker: &WorkerView, assigned: &Assigned, was_running: bool) {
        let Assigned { chunk, done, .. } = assigned;
        let Some(job) = self.jobs.get_mut(&chunk.job) else { return };
        if job.abandoned {
            job.open = job.open.saturating_sub(chunk.range.len() - done);
            return;
        }
        let rest = chunk.part(*done + usize::from(was_running)..chunk.range.len());
        match (rest, job.doomed.clone()) {
            (Some(rest), None) => job.pending.push_front(rest),
            (Some(rest), Some(error)) => job.fail_chunk(&rest, &error),
            (None, _) => {}
        }
        if !was_running {
            return;
        }
        let index = chunk.index(*done);
        if let Some(panic) = worker.process.reported_panic() {
            // The program is built to abort: a panic ends the worker, and is not tried again all the same.
            return job.fail(index, TaskError::panicked(job.item(index), panic));
        }
        if job.may_retry(index, self.retries) {
            job.pending.extend(chunk.part(*done..*done + 1));
            return;
        }
        let item = job.item(index);
        let (label, status) = (worker.process.label().running(item.function), worker.process.exit_status());
        let error = match status.and_then(|status| status.code()) {
            Some(code) => TaskError::WorkerExited { item, worker: label, code },
            None => {
                let signal = status.and_then(|status| status.signal()).unwrap_or(0);
                TaskError::WorkerDied { item, worker: label, signal }
            }
        };
        job.fail(index, error);
    }

    /// No worker can be started any more: nothing that is open will ever be done.
    pub(crate) fn break_down(&mut self, reason: String) {
        self.fail_everything(&TaskError::Broken { reason: reason.clone() });
        self.broken = Some(reason);
    }

    /// Ends all work now; the workers are the caller's to kill.
    pub(crate) fn terminate(&mut self) {
        self.state = PoolState::Terminated;
        self.fail_everything(&TaskError::Cancelled);
    }

    fn fail_everything(&mut self, error: &TaskError) {
        let assigned = self.workers.iter_mut().flatten().flat_map(|worker| {
            worker
                .assigned
                .drain(..)
                .filter_map(|assigned| assigned.chunk.part(assigned.done..assigned.chunk.range.len()))
        });
        let mut lost: Vec<Chunk> = assigned.collect();
        lost.extend(self.jobs.values_mut().flat_map(|job| job.pending.drain(..)));
        for chunk in lost {
            let Some(job) = self.jobs.get_mut(&chunk.job) else { continue };
            job.fail_chunk(&chunk, error);
        }
    }

    /// Says to every worker whether the pool wants to be rung for.
    pub(crate) fn set_sleeping(&self, sleeping: bool) {
        self.workers.iter().flatten().for_each(|worker| worker.link.set_pool_sleeps(sleeping));
    }
}

/// Hands a job what a worker answered for one of its items.
fn take_in(job: &mut Job, index: usize, record: &[u8]) {
    let (kind, text) = record.split_first().unwrap_or((&u8::MAX, &[]));
    match Answer::from_byte(*kind) {
        Some(Answer::Done) => job.finish(index, text),
        Some(Answer::Panicked) => match codec::decode::<Panic>(text) {
            Ok(panic) => job.fail(index, TaskError::panicked(job.item(index), panic)),
            Err(error) => job.fail(index, TaskError::decode(job.item(index), &error)),
        },
        Some(Answer::Refused) => {
            let reason = String::from_utf8_lossy(text).into_owned();
            job.fail(index, TaskError::Refused { item: job.item(index), reason });
        }
        None => {
            let reason = "the worker's answer makes no sense".to_owned();
            job.fail(index, TaskError::Refused { item: job.item(index), reason });
        }
    }
}

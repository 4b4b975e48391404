//! The pool's workers and what each of them has to do: the state behind the pool's one lock.
//!
//! A worker has the chunk that it runs and some more, so that it does not wait for the pool between them.
//! Those are only offered, and taken back for a worker that would have nothing to do (see `link.rs`).

use super::batch::Chunk;
use super::error::{PoolError, TaskError, TaskItem};
use super::job::Job;
use super::jobs::Jobs;
use super::link::{AHEAD, Lease, Link};
use super::plan::Plan;
use super::progress::Progress;
use super::view::{Assigned, WorkerView};
use super::wire::{Answer, ChunkHeader, Order};
use crate::pacing::Budget;
use crate::panicked::Panic;
use crate::process::Process;
use procession_channel::codec;
use procession_sys::Deadline;
use procession_sys::errno::EAGAIN;
use std::io;

/// How many processes there can be on any Linux.
const MOST_WORKERS: usize = 1 << 22;

/// Whether a pool can have so many workers.
///
/// # Errors
/// [`PoolError::NoWorkers`], and [`PoolError::Kernel`] for more than there can be processes.
pub(crate) fn can_have(workers: usize) -> Result<(), PoolError> {
    match workers {
        0 => Err(PoolError::NoWorkers),
        1..=MOST_WORKERS => Ok(()),
        _ => Err(io::Error::from_raw_os_error(EAGAIN).into()),
    }
}

/// How far the pool is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolState {
    Open,
    /// Takes no more work, and lets its workers go when all is done.
    Closed,
    /// The workers are being killed.
    Terminated,
}

/// Everything that the pool's lock guards.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) state: PoolState,
    /// `None` while a dead worker is being replaced, and at the end.
    pub(crate) workers: Vec<Option<WorkerView>>,
    /// How many workers there are to be now; those in higher places leave.
    pub(crate) target: usize,
    /// How many there may be.
    pub(crate) most: usize,
    /// How many items a worker runs before it is replaced.
    max_tasks: u64,
    pub(super) budget: Option<Budget>,
    /// The path of the initializer.
    pub(super) initializer: Option<&'static str>,
    /// When an item is to be tried again, or may have taken too long.
    pub(crate) next_alarm: Deadline,
    /// When the pool's thread looks again without being rung for.
    pub(crate) next_look: Deadline,
    pub(crate) jobs: Jobs,
    /// Workers without anything to do, the one that was busy last at the end: it may still be awake.
    pub(super) idle: Vec<usize>,
    pub(super) failed_starts: u32,
    /// How many workers have ended since the last result without one of their own.
    pub(super) fruitless: u32,
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
    /// How often a worker came or went.
    pub(crate) changes_of_staff: u64,
    /// How many chunks workers have finished.
    pub(crate) finished_chunks: u64,
    record: Vec<u8>,
}

impl Crew {
    pub(crate) fn new(most: usize, plan: &Plan) -> Self {
        let target = if plan.on_demand { 0 } else { most };
        Self {
            state: PoolState::Open,
            workers: (0..target).map(|_| None).collect(),
            target,
            most,
            max_tasks: plan.max_tasks,
            budget: plan.budget.clone(),
            initializer: plan.initializer.as_ref().map(|initializer| initializer.path),
            next_alarm: Deadline::NEVER,
            next_look: Deadline::NEVER,
            jobs: Jobs::default(),
            idle: Vec::new(),
            failed_starts: 0,
            fruitless: 0,
            next_start: Deadline::PASSED,
            give_up: Deadline::NEVER,
            is_over: false,
            broken: None,
            helpers: 0,
            finished_chunks: 0,
            changes_of_staff: 0,
            record: Vec::new(),
        }
    }

    /// Puts a worker into its place.
    pub(crate) fn install(&mut self, place: usize, worker: WorkerView) {
        self.workers[place] = Some(worker);
        self.changes_of_staff += 1;
        if place < self.target {
            // It starts up now: the others come first.
            self.idle.insert(0, place);
            self.dispatch();
        } else {
            // The pool became smaller meanwhile.
            self.rest(place);
        }
    }

    /// The worker at `place` has nothing to do: it waits for work, or leaves.
    fn rest(&mut self, place: usize) {
        let is_extra = place >= self.target;
        let Some(worker) = self.workers[place].as_mut() else { return };
        if is_extra || worker.received >= self.max_tasks {
            worker.dismiss();
        } else {
            self.idle.push(place);
        }
    }

    /// Changes how many workers there are to be. Those that are too many leave when they have done what they
    /// are at.
    pub(crate) fn resize(&mut self, most: usize) {
        // Where all that there might be are there, all that there may be now are to be.
        let target = if self.target == self.most { most } else { self.target.min(most) };
        (self.target, self.most) = (target, most);
        if self.workers.len() < target {
            self.workers.resize_with(target, || None);
        }
        self.idle.retain(|&place| place < target);
        let Self { workers, jobs, .. } = self;
        for worker in workers.iter_mut().skip(target).flatten() {
            while worker.assigned.back().is_some_and(|last| worker.link.revoke(last.lease)) {
                let Some(Assigned { chunk, .. }) = worker.assigned.pop_back() else { break };
                jobs.push_front(chunk);
            }
            if worker.assigned.is_empty() {
                worker.dismiss();
            }
        }
        self.dispatch();
    }

    /// Takes in a new job.
    pub(crate) fn open_job(&mut self, job: Job) -> Result<u64, TaskError> {
        match (&self.broken, self.state) {
            (Some(reason), _) => Err(TaskError::Broken { reason: reason.clone() }),
            (None, PoolState::Open) => Ok(self.jobs.open(job)),
            (None, PoolState::Closed | PoolState::Terminated) => Err(TaskError::Closed),
        }
    }

    /// Gives a job more items.
    pub(crate) fn add(&mut self, chunk: Chunk) {
        let (state, broken) = (self.state, self.broken.clone());
        let Some(job) = self.jobs.get_mut(chunk.job) else { return };
        job.expect(chunk.range.len());
        if let Some(error) = job.doomed.clone() {
            job.fail_chunk(&chunk, &error);
        } else if state == PoolState::Terminated || broken.is_some() {
            let error = broken.map_or(TaskError::Cancelled, |reason| TaskError::Broken { reason });
            job.fail_chunk(&chunk, &error);
        } else {
            self.jobs.push_back(chunk);
            self.dispatch();
        }
    }

    /// Cancels what no worker has begun of any job. Of a pool that is closed, that is also what calls which are under way
    /// would still give it.
    pub(super) fn cancel_all(&mut self) {
        for id in self.jobs.ids() {
            self.cancel(id);
            if self.state == PoolState::Closed
                && let Some(job) = self.jobs.get_mut(id)
            {
                job.doom(TaskError::Cancelled);
            }
        }
    }

    /// Cancels what no worker has begun of a job; whether there was any.
    pub(super) fn cancel(&mut self, id: u64) -> bool {
        let unbegun = self.take_back_unbegun(id, Link::revoke);
        let Some(job) = self.jobs.get_mut(id) else { return false };
        unbegun.iter().for_each(|chunk| job.fail_chunk(chunk, &TaskError::Cancelled));
        self.jobs.forget(id);
        !unbegun.is_empty()
    }

    /// Whether a worker has begun the job, which is not over.
    pub(super) fn is_running(&self, id: u64) -> bool {
        let is_begun = |worker: &WorkerView| {
            worker.assigned.iter().any(|one| one.chunk.job == id && worker.link.is_taken(one.lease))
        };
        !self.jobs.is_over(id) && self.workers.iter().flatten().any(is_begun)
    }

    /// Nobody will ask about the job, which is to be done all the same.
    pub(super) fn detach(&mut self, id: u64) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.detached = true;
        }
        self.jobs.forget(id);
    }

    /// The chunks of a job that no worker has begun, which none will begin now.
    fn take_back_unbegun(&mut self, id: u64, revoke: fn(&Link, Lease) -> bool) -> Vec<Chunk> {
        let Self { workers, jobs, .. } = self;
        let Some(job) = jobs.get_mut(id) else { return Vec::new() };
        let mut unbegun = job.take_waiting();
        let mut at_rest = Vec::new();
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
                at_rest.push(place);
            }
        }
        at_rest.into_iter().for_each(|place| self.rest(place));
        unbegun
    }

    /// An item of the job has failed before it could be given to anybody.
    pub(crate) fn fail_unsent(&mut self, job: u64, index: usize, error: TaskError) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.expect(1);
            job.fail(index, error);
        }
    }

    /// Reads what the workers have answered and gives them more to do; whether that is what somebody may wait
    /// for. Only the [`Foreman`](super::foreman::Foreman) calls it: it tells those who wait.
    pub(super) fn step(&mut self) -> bool {
        let mut is_news = false;
        for place in 0..self.workers.len() {
            is_news |= self.drain(place);
        }
        self.dispatch();
        is_news
    }

    /// Gives up a job that nobody waits for any more: items that are not begun are not run. Returns whether
    /// there is such a job.
    pub(super) fn abandon(&mut self, id: u64) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        job.abandoned = true;
        job.end_feeding();
        let unbegun = self.take_back_unbegun(id, Link::revoke_or_cut);
        if let Some(job) = self.jobs.get_mut(id) {
            job.give_up(unbegun.iter().map(|chunk| chunk.range.len()).sum());
        }
        self.jobs.forget(id);
        true
    }

    /// How far the pool has come.
    pub(crate) fn progress(&self) -> Progress {
        let tally = self.jobs.tally();
        let there = || self.workers.iter().flatten();
        Progress {
            done: tally.given - tally.failed - tally.open,
            total: tally.given,
            failed: tally.failed,
            workers: there().count(),
            busy: there().filter(|worker| !worker.assigned.is_empty()).count(),
        }
    }

    /// Reads one worker's outbox to its end; whether there was what somebody may wait for.
    pub(super) fn drain(&mut self, place: usize) -> bool {
        let Self { workers, jobs, record, finished_chunks, .. } = self;
        let Some(worker) = workers[place].as_mut() else { return false };
        let (mut finished, mut is_news, mut is_at_rest) = (false, false, false);
        'chunks: while let Some(current) = worker.assigned.front_mut() {
            let mut job = jobs.get_mut(current.chunk.job);
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
                    take_in(job, current.chunk.index(current.done), &worker.process, record);
                    is_news |= job.is_news();
                }
                current.done += 1;
                worker.received += 1;
                finished = true;
            }
            if let Some(done) = worker.assigned.pop_front() {
                jobs.forget(done.chunk.job);
            }
            *finished_chunks += 1;
            is_at_rest = worker.assigned.is_empty();
        }
        worker.reader.give_room();
        if worker.writer.pump() {
            worker.writer.notify_data();
        }
        if !worker.writer.is_idle() && worker.writer.is_corrupt() {
            drop(worker.process.kill());
        }
        if finished {
            (self.fruitless, self.next_start) = (0, Deadline::PASSED);
        }
        if is_at_rest {
            self.rest(place);
        }
        is_news
    }

    /// Has lost items tried again whose time has come, and kills workers whose items take too long.
    pub(crate) fn keep_time(&mut self) {
        let Self { workers, jobs, .. } = self;
        let mut next = Deadline::NEVER;
        for worker in workers.iter_mut().flatten() {
            if let Some(timeout) = worker.timeout(|job| jobs.get(job)?.policy.timeout) {
                next = next.min(worker.hold_to(timeout));
            }
        }
        self.next_alarm = next.min(jobs.wake_delayed());
        self.dispatch();
    }

    /// Gives out what there is to do.
    pub(super) fn dispatch(&mut self) {
        while let Some(&place) = self.idle.last() {
            let Some(chunk) = self.jobs.next_chunk().or_else(|| self.take_back()) else { break };
            self.idle.pop();
            self.assign(place, chunk);
        }
        if self.idle.is_empty() {
            while self.offer_ahead() {}
        }
        if self.state == PoolState::Closed && !self.has_work() {
            self.dismiss();
        }
        if self.target < self.most {
            self.demand_another();
        }
    }

    /// Has another worker started if there is more to do than for those that are there, or are being started.
    #[cold]
    fn demand_another(&mut self) {
        let missing = self.workers.iter().take(self.target).filter(|worker| worker.is_none()).count();
        if self.broken.is_none() && self.jobs.has_more_chunks_than(missing) {
            self.target += 1;
            if self.workers.len() < self.target {
                self.workers.resize_with(self.target, || None);
            }
            // The pool's thread starts it.
            self.next_alarm = Deadline::PASSED;
        }
    }

    /// Whether anything is open, or may still be given to a closed pool. Most often that is seen without a
    /// look at all jobs.
    fn has_work(&self) -> bool {
        // A broken pool does no more than its workers are at.
        self.has_busy_workers()
            || self.broken.is_none() && (self.jobs.has_more_chunks_than(0) || self.jobs.need_workers())
    }

    /// Whether there is something to do now.
    pub(crate) fn is_busy(&self) -> bool {
        self.workers.len() < self.target || self.jobs.has_more_chunks_than(0) || self.has_busy_workers()
    }

    fn has_busy_workers(&self) -> bool {
        self.workers.iter().flatten().any(|worker| !worker.assigned.is_empty())
    }

    /// Offers each worker that has room another chunk, if there are enough for all; whether there was such a
    /// worker.
    fn offer_ahead(&mut self) -> bool {
        let mut has_offered = false;
        for place in 0..self.target {
            let has_room = |worker: &WorkerView| {
                (1..AHEAD).contains(&worker.assigned.len())
                    && worker.writer.is_idle()
                    && worker.load() < self.max_tasks
            };
            if self.workers[place].as_ref().is_some_and(has_room)
                && self.jobs.has_more_chunks_than(self.target)
                && let Some(chunk) = self.jobs.next_chunk()
            {
                self.assign(place, chunk);
                has_offered = true;
            }
        }
        has_offered
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
        let Some(worker) = self.workers[place].as_mut() else { return };
        let chunk = match usize::try_from(self.max_tasks - worker.load()) {
            Ok(room) if room < chunk.range.len() => {
                chunk.part(room..chunk.range.len()).into_iter().for_each(|rest| self.jobs.push_front(rest));
                let Some(part) = chunk.part(0..room) else { return };
                part
            }
            _ => chunk,
        };
        let Some(job) = self.jobs.get_mut(chunk.job) else { return };
        let lease = worker.next_lease();
        let state = (worker.knows != Some(chunk.job)).then(|| job.state.as_ref().clone());
        worker.link.offer(lease);
        let (entry, timeout) = (job.function.entry, job.policy.timeout);
        let header = ChunkHeader { lease, job: chunk.job, entry, is_timed: timeout.is_some(), state };
        match worker.send(&Order::Chunk(header), chunk.bytes()) {
            Ok(()) => {
                worker.knows = Some(chunk.job);
                worker.assigned.push_back(Assigned { lease, chunk, done: 0 });
                if let Some(timeout) = timeout {
                    self.next_alarm = self.next_alarm.min(Deadline::after(timeout));
                }
            }
            Err(error) => {
                for nth in 0..chunk.range.len() {
                    let index = chunk.index(nth);
                    job.fail(index, TaskError::encode(job.item(index), &error));
                }
                if worker.assigned.is_empty() {
                    self.rest(place);
                }
            }
        }
    }

    /// Lets every worker go.
    pub(crate) fn dismiss(&mut self) {
        self.workers.iter_mut().flatten().for_each(WorkerView::dismiss);
    }

    /// Whether dead workers are to be replaced.
    pub(crate) fn wants_workers(&self) -> bool {
        self.broken.is_none()
            && (self.state == PoolState::Open || self.state == PoolState::Closed && self.has_work())
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
        lost.extend(self.jobs.take_waiting());
        for chunk in lost {
            let Some(job) = self.jobs.get_mut(chunk.job) else { continue };
            job.fail_chunk(&chunk, error);
        }
        self.jobs.forget_all();
    }

    /// Says to every worker whether the pool wants to be rung for.
    pub(crate) fn set_sleeping(&self, sleeping: bool) {
        self.workers.iter().flatten().for_each(|worker| worker.link.set_pool_sleeps(sleeping));
    }
}

/// Hands a job what a worker answered for one of its items.
fn take_in(job: &mut Job, index: usize, process: &Process<()>, record: &[u8]) {
    let (kind, text) = record.split_first().unwrap_or((&u8::MAX, &[]));
    let kind = Answer::from_byte(*kind);
    if kind == Some(Answer::Done) {
        return job.finish(index, text, process.label());
    }
    job.fail(index, failure(kind, job.item(index), process, text));
}

#[cold]
fn failure(kind: Option<Answer>, item: TaskItem, process: &Process<()>, text: &[u8]) -> TaskError {
    let worker = process.label().running(item.function);
    let reason = || String::from_utf8_lossy(text).into_owned();
    match kind {
        Some(Answer::Panicked) => match codec::decode::<Panic>(text) {
            Ok(panic) => TaskError::panicked(item, worker, panic),
            Err(error) => TaskError::decode(item, &worker, &error),
        },
        Some(Answer::Undecodable) => TaskError::Undecodable { item, worker, reason: reason() },
        Some(Answer::Unencodable) => TaskError::Unencodable { item, worker, reason: reason() },
        Some(Answer::Refused) => TaskError::Refused { item, worker, reason: reason() },
        Some(Answer::Done) | None => {
            TaskError::Refused { item, worker, reason: "its answer makes no sense".to_owned() }
        }
    }
}

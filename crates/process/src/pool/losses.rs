//! Workers that end: what becomes of the items that they had, and of a pool whose workers only die.
//!
//! # A pool does not go on for ever
//! | what happens | what follows |
//! |---|---|
//! | workers end without a result, one after the other | after some, the pool waits between the next ones, longer each time |
//! | workers end before they are ready, one after the other | after some, the pool is broken |
//! | the initializer fails, or ends its worker otherwise than by SIGKILL or SIGTERM, which come from outside, or in a way that nobody can learn, which may be one of those | the pool is broken |
//! | workers end with work of one job and without a result, one after the other | after some, that job is given up |
//! | more workers end in some time than the pool was told to bear | the pool is broken |

use super::batch::Chunk;
use super::crew::{Crew, PoolState};
use super::error::TaskError;
use super::view::{Assigned, WorkerView};
use crate::error::{ProcessError, in_full};
use crate::pacing::pause;
use crate::status::ExitStatus;
use crate::trace;
use procession_sys::Deadline;
use procession_sys::signals::{SIGKILL, SIGTERM};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How many workers may die one after the other before they were ready, until the pool gives up.
const MAX_FAILED_STARTS: u32 = 8;
/// How many workers may die one after the other with work of one job and without a result, until the job is
/// given up.
const MAX_BARREN: u32 = 4;
/// How many workers without a result are replaced at once, and how long the pool waits with the later ones.
const FREE_STARTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Crew {
    /// The worker at `place` has ended: settles what it had.
    pub(crate) fn bury(&mut self, place: usize) {
        self.drain(place);
        let Some(worker) = self.workers[place].take() else { return };
        self.changes_of_staff += 1;
        self.idle.retain(|&idle| idle != place);
        // SYNC: pool.begun. The worker is gone, and its last store is what counts.
        let begun = worker.link.body.begun.load(Ordering::Acquire);
        let was_running = begun > worker.received;
        let was_wanted = !worker.leaving && self.state != PoolState::Terminated;
        if begun == 0 && was_wanted {
            self.note_fruitless(&worker);
        }
        for (nth, assigned) in worker.assigned.iter().enumerate().rev() {
            self.recover(&worker, assigned, nth == 0 && was_running);
        }
        if worker.link.is_ready() || worker.leaving {
            self.failed_starts = 0;
        } else {
            self.note_early_end(&worker);
        }
        if was_wanted && worker.condemned.is_none() {
            self.spend_budget(&worker);
        }
        self.dispatch();
    }

    /// A worker has ended before it was ready.
    fn note_early_end(&mut self, worker: &WorkerView) {
        if worker.link.is_initializing()
            && let Some(initializer) = self.initializer
        {
            let how = match worker.process.end_in(initializer) {
                // From outside, or it may be: who ignores SIGCHLD cannot learn more.
                Err(
                    ProcessError::Killed { signal: SIGKILL | SIGTERM, .. } | ProcessError::StatusLost { .. },
                ) => None,
                Err(error) => Some(in_full(&error)),
                Ok(status) => Some(status.to_string()),
            };
            if let Some(how) = how {
                return self.break_down(format!("its initializer failed: {how}"));
            }
        }
        self.note_failed_start(&format!("workers end before they are ready ({})", worker.end()));
    }

    /// Counts a worker that nobody has asked to end.
    fn spend_budget(&mut self, worker: &WorkerView) {
        let Some(budget) = &mut self.budget else { return };
        if let Err(count) = budget.spend(Instant::now()) {
            let within = budget.within;
            let label = worker.process.label();
            let last = format!("the last one, {:?} (pid {}): {}", label.name(), label.pid(), worker.end());
            self.break_down(format!("{count} workers have ended within {within:?}, {last}"));
        }
    }

    /// A worker has ended and begun nothing: that must not go on for ever, nor as fast as it can.
    fn note_fruitless(&mut self, worker: &WorkerView) {
        self.fruitless += 1;
        if let Some(doublings) = self.fruitless.checked_sub(FREE_STARTS) {
            self.next_start = Deadline::after(pause(FIRST_PAUSE, doublings, LONGEST_PAUSE));
        }
        let preparing = worker.link.preparing();
        let given = worker.assigned.front().map(|assigned| assigned.chunk.job);
        // One that never came up says nothing of the job.
        let Some(id) = preparing.or(given).filter(|_| worker.link.is_ready()) else { return };
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.barren += 1;
        if job.barren >= MAX_BARREN {
            let when =
                if preparing.is_some() { "while it decoded the state" } else { "before its first item" };
            let reason = format!("the last of {} {when} ({})", job.barren, worker.end());
            job.doom(TaskError::NeverBegun { function: job.function.path, reason });
            self.jobs.forget(id);
        }
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
        let Some(job) = self.jobs.get_mut(chunk.job) else { return };
        if job.abandoned {
            job.give_up(chunk.range.len() - done);
            return self.jobs.forget(chunk.job);
        }
        let rest = chunk.part(*done + usize::from(was_running)..chunk.range.len());
        match (rest, job.doomed.clone()) {
            (Some(rest), None) => self.jobs.push_front(rest),
            (Some(rest), Some(error)) => job.fail_chunk(&rest, &error),
            (None, _) => {}
        }
        if was_running && let Some(item) = chunk.part(*done..*done + 1) {
            self.settle_lost(worker, item);
        }
        self.jobs.forget(chunk.job);
    }

    /// The worker has ended in the item that this chunk is.
    fn settle_lost(&mut self, worker: &WorkerView, chunk: Chunk) {
        let panic = worker.process.reported_panic();
        // The panic of a program that is built to abort ends the worker, and is not tried again all the same.
        if panic.is_none() && self.jobs.retry(chunk.clone()) {
            trace::tried_again(worker.process.label(), chunk.index(0));
            return;
        }
        let Some(job) = self.jobs.get_mut(chunk.job) else { return };
        let (index, item) = (chunk.index(0), job.item(chunk.index(0)));
        let label = worker.process.label().running(item.function);
        let status = worker.process.exit_status();
        let (code, signal) = (status.and_then(ExitStatus::code), status.and_then(ExitStatus::signal));
        let error = match (panic, worker.condemned, code, signal) {
            (Some(panic), ..) => TaskError::panicked(item, label, panic),
            (None, Some(timeout), ..) => TaskError::TooSlow { item, worker: label, timeout },
            (None, None, Some(code), _) => TaskError::WorkerExited { item, worker: label, code },
            (None, None, None, Some(signal)) => TaskError::WorkerDied { item, worker: label, signal },
            (None, None, None, None) => TaskError::WorkerLost { item, worker: label },
        };
        job.fail(index, error);
    }
}

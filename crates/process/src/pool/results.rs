//! The handles that a caller holds while the pool works for it.

use super::batch::{BatchBuilder, Cargo};
use super::error::{Stopped, TaskError, TaskItem};
use super::foreman::Foreman;
use super::job::{JobResult, Results};
use procession_shm::carrying;
use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// How many chunks per worker a stream of results has on their way.
const IN_FLIGHT_PER_WORKER: usize = 4;

/// The result of a call, once it is there; made by [`Pool::apply_async`](crate::Pool::apply_async) and
/// [`Pool::map_async`](crate::Pool::map_async). Dropping it lets what is not begun go undone, and the rest be
/// done for nobody.
#[must_use = "the result is thrown away with this"]
pub struct AsyncResult<R> {
    foreman: Arc<Foreman>,
    /// The path of the function.
    function: &'static str,
    /// The pool's job, unless it took none.
    id: Option<u64>,
    /// The outcome, once it was taken from the pool.
    outcome: Option<JobResult>,
    decode: fn(&JobResult, &'static str) -> Result<R, TaskError>,
}

impl<R: DeserializeOwned> AsyncResult<R> {
    /// The result of one item.
    pub(crate) fn one(foreman: Arc<Foreman>, function: &'static str, job: Result<u64, TaskError>) -> Self {
        Self::new(foreman, function, job, |outcome, _| match outcome {
            JobResult::One(Ok(received)) => received.decode(),
            JobResult::One(Err(error)) => Err(error.clone()),
            JobResult::All(_) => Err(TaskError::Cancelled),
        })
    }
}

impl<R: DeserializeOwned> AsyncResult<Vec<R>> {
    /// The results of several items.
    pub(crate) fn all(foreman: Arc<Foreman>, function: &'static str, job: Result<u64, TaskError>) -> Self {
        Self::new(foreman, function, job, |outcome, function| match outcome {
            JobResult::All(collected) => collected.decode(function),
            JobResult::One(outcome) => Err(outcome.as_ref().err().cloned().unwrap_or(TaskError::Cancelled)),
        })
    }
}

impl<R> AsyncResult<R> {
    fn new(
        foreman: Arc<Foreman>,
        function: &'static str,
        job: Result<u64, TaskError>,
        decode: fn(&JobResult, &'static str) -> Result<R, TaskError>,
    ) -> Self {
        let (id, outcome) = match job {
            Ok(id) => (Some(id), None),
            Err(error) => (None, Some(JobResult::One(Err(error)))),
        };
        Self { foreman, function, id, outcome, decode }
    }

    /// Whether the result, or the error, is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_over = |id: u64| self.foreman.look().map_or(true, |crew| crew.is_over(id));
        self.outcome.is_some() || self.id.is_none_or(is_over)
    }

    /// Whether there is a result and no error; `None` while neither is there. A result that cannot be decoded
    /// here counts as one.
    #[must_use]
    pub fn is_successful(&mut self) -> Option<bool> {
        // In a forked child neither will ever be there, which `get` says.
        let _: Result<(), Stopped> = self.fetch(Deadline::PASSED);
        self.outcome.as_ref().map(|outcome| match outcome {
            JobResult::One(outcome) => outcome.is_ok(),
            JobResult::All(collected) => collected.is_success(),
        })
    }

    /// Lets those items go undone that no worker has begun, whose result is then [`TaskError::Cancelled`];
    /// whether there was any. What a worker is at goes on.
    pub fn cancel(&self) -> bool {
        self.id.is_some_and(|id| self.foreman.cancel(id))
    }

    /// Waits until the result, or the error, is there.
    ///
    /// # Errors
    /// [`TaskError::Interrupted`] for a thread with a hook; [`TaskError::Forked`] in a forked child.
    pub fn wait(&mut self) -> Result<(), TaskError> {
        self.fetch(Deadline::NEVER).map_err(|stopped| stopped.in_call_of(self.function))
    }

    /// Waits until the result, or the error, is there, at most for `timeout`.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`]; otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<(), TaskError> {
        self.fetch(Deadline::after(timeout)).map_err(|stopped| stopped.in_call_of(self.function))?;
        let item = self.item();
        self.outcome.as_ref().map(drop).ok_or(TaskError::TimedOut { item })
    }

    /// Takes the outcome from the pool, if it is there by then.
    fn fetch(&mut self, deadline: Deadline) -> Result<(), Stopped> {
        if self.outcome.is_none()
            && let Some(id) = self.id
        {
            self.outcome = self.foreman.wait_until(deadline, |crew| crew.take_outcome(id))?;
        }
        Ok(())
    }

    /// As errors name it that are about the call.
    fn item(&self) -> TaskItem {
        TaskItem { index: 0, function: self.function }
    }

    /// Waits for the result. It stays here, and can be got again; but an end of a pipe in it goes to whoever
    /// gets it first.
    ///
    /// # Errors
    /// The [`TaskError`] of the first item that has one. [`TaskError::Interrupted`] for a thread with a hook,
    /// which can call `get` again: the work goes on.
    pub fn get(&mut self) -> Result<R, TaskError> {
        self.get_by(Deadline::NEVER).unwrap_or(Err(TaskError::Cancelled))
    }

    /// Gets the result if it is there.
    ///
    /// # Errors
    /// [`TaskError::WouldBlock`] if it is not; otherwise as [`get`](Self::get).
    pub fn try_get(&mut self) -> Result<R, TaskError> {
        let item = self.item();
        self.get_by(Deadline::PASSED).unwrap_or(Err(TaskError::WouldBlock { item }))
    }

    /// Waits for the result, at most for `timeout`.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`] if it was not there by then: it can be waited for again. Otherwise as
    /// [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<R, TaskError> {
        let item = self.item();
        self.get_by(Deadline::after(timeout)).unwrap_or(Err(TaskError::TimedOut { item }))
    }

    /// The result, or why there is none; `None` if neither is there by `deadline`.
    fn get_by(&mut self, deadline: Deadline) -> Option<Result<R, TaskError>> {
        if let Err(stopped) = self.fetch(deadline) {
            return Some(Err(stopped.in_call_of(self.function)));
        }
        self.outcome.as_ref().map(|outcome| (self.decode)(outcome, self.function))
    }
}

impl<R> Drop for AsyncResult<R> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.foreman.abandon(id);
        }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.is_ready()).finish()
    }
}

/// Results as they are ready; made by [`Pool::imap_unordered`](crate::Pool::imap_unordered). Dropping it lets
/// go of the items not yet begun.
///
/// If the wait for the next result is interrupted (`procession::interrupt`), that is an element of its own,
/// [`TaskError::Interrupted`], with the index of an item that is still being done. The iteration can go on,
/// and then that item comes as if nothing had been.
#[must_use = "an iterator does nothing until it is asked for its next element"]
pub struct ImapUnordered<I, R> {
    foreman: Arc<Foreman>,
    /// The pool's job, or why it took none.
    job: Result<u64, TaskError>,
    /// The path of the function.
    function: &'static str,
    items: I,
    /// Whether `items` has ended.
    exhausted: bool,
    next_index: usize,
    in_flight: BTreeSet<usize>,
    chunk_size: usize,
    result: PhantomData<fn() -> R>,
}

impl<I: Iterator<Item: Serialize>, R> ImapUnordered<I, R> {
    pub(crate) fn new(
        foreman: Arc<Foreman>,
        job: Result<u64, TaskError>,
        (function, items): (&'static str, I),
        chunk_size: usize,
    ) -> Self {
        let (exhausted, next_index, in_flight) = (false, 0, BTreeSet::new());
        let mut imap = Self {
            foreman,
            job,
            function,
            items,
            exhausted,
            next_index,
            in_flight,
            chunk_size,
            result: PhantomData,
        };
        imap.refill(0);
        imap
    }

    /// Gives the pool as many items as may be on their way; as such count those, too, whose results are `held`
    /// by whoever asks.
    fn refill(&mut self, held: usize) {
        let Ok(id) = self.job else { return };
        let Ok(workers) = self.foreman.enter().map(|crew| crew.target) else { return };
        let most = workers.saturating_mul(IN_FLIGHT_PER_WORKER).saturating_mul(self.chunk_size);
        while !self.exhausted && self.in_flight.len() + held < most {
            let mut batch = BatchBuilder::new(self.next_index);
            let (filled, handles) = carrying(|| batch.fill(&mut self.items, self.chunk_size));
            let Ok(mut crew) = self.foreman.enter() else { return };
            self.in_flight.extend(self.next_index..batch.end());
            self.next_index = batch.end();
            if batch.len() > 0 {
                self.foreman.add(&mut crew, batch.finish(id, Cargo::of_handles(handles)));
            }
            match filled {
                Ok(is_end) => self.exhausted = is_end,
                Err(error) => {
                    let (index, function) = (self.next_index, self.function);
                    crew.fail_unsent(id, index, TaskError::encode(TaskItem { index, function }, &error));
                    self.in_flight.insert(index);
                    self.next_index += 1;
                }
            }
            drop(crew);
            if self.exhausted {
                self.foreman.end_feeding(id);
            }
        }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> ImapUnordered<I, R> {
    /// The next result that is there, for one who holds so many others.
    fn advance(&mut self, held: usize) -> Option<(usize, Result<R, TaskError>)> {
        if self.foreman.is_foreign() {
            self.job = Err(TaskError::Forked);
        }
        let id = match &self.job {
            Ok(id) => *id,
            Err(error) => {
                if let Some(index) = self.in_flight.pop_first() {
                    return Some((index, Err(error.clone())));
                }
                let refused = (self.next_index, Err(error.clone()));
                self.next_index += 1;
                return self.items.next().map(|_| refused);
            }
        };
        self.refill(held);
        if self.in_flight.is_empty() {
            return None;
        }
        let outcome = self.foreman.wait_until(Deadline::NEVER, |crew| {
            let Results::Streamed(ready) = &mut crew.jobs.get_mut(&id)?.results else { return None };
            ready.pop_front()
        });
        let (index, outcome) = match outcome {
            Ok(outcome) => outcome?,
            Err(stopped @ Stopped::Interrupted) => {
                let index = self.in_flight.first().copied()?;
                return Some((index, Err(stopped.in_call_of(self.function))));
            }
            // The next call says so.
            Err(Stopped::Forked) => return self.advance(held),
        };
        self.in_flight.remove(&index);
        self.refill(held);
        Some((index, outcome.and_then(|result| result.decode())))
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> Iterator for ImapUnordered<I, R> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.advance(0)
    }
}

impl<I, R> Drop for ImapUnordered<I, R> {
    fn drop(&mut self) {
        if let Ok(id) = self.job {
            self.foreman.abandon(id);
        }
    }
}

impl<I, R> fmt::Debug for ImapUnordered<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("given", &self.next_index)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

/// Results in the order of their items; made by [`Pool::imap`](crate::Pool::imap). Dropping it lets go of the
/// items not yet begun.
///
/// If the wait for the next result is interrupted (`procession::interrupt`), that is an element of its own,
/// [`TaskError::Interrupted`]. The iteration can go on, and then the result comes as if nothing had been.
#[must_use = "an iterator does nothing until it is asked for its next element"]
pub struct Imap<I, R> {
    results: ImapUnordered<I, R>,
    /// Results that came before their turn.
    early: BTreeMap<usize, Result<R, TaskError>>,
    /// The index of the item whose turn it is.
    turn: usize,
}

impl<I, R> Imap<I, R> {
    pub(crate) fn new(results: ImapUnordered<I, R>) -> Self {
        Self { results, early: BTreeMap::new(), turn: 0 }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> Iterator for Imap<I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.early.remove(&self.turn) {
                self.turn += 1;
                // The workers are not to wait until the last of the early ones was asked for.
                self.results.refill(self.early.len());
                return Some(result);
            }
            match self.results.advance(self.early.len())? {
                (_, Err(error @ TaskError::Interrupted { .. })) => return Some(Err(error)),
                (index, result) => drop(self.early.insert(index, result)),
            }
        }
    }
}

impl<I, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap")
            .field("turn", &self.turn)
            .field("early", &self.early.len())
            .field("results", &self.results)
            .finish()
    }
}

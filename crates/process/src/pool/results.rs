//! The handles that a caller holds while the pool works for it.

use super::batch::BatchBuilder;
use super::error::{Stopped, TaskError, TaskItem};
use super::foreman::Foreman;
use super::job::{ItemResult, Results};
use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The result of one item, once it is there; made by [`Pool::apply_async`](crate::Pool::apply_async).
/// Dropping it lets the item be done for nobody.
#[must_use = "the result is thrown away with this"]
pub struct AsyncResult<R> {
    foreman: Arc<Foreman>,
    item: TaskItem,
    /// The pool's job, unless it took none.
    id: Option<u64>,
    /// The outcome, once it was taken from the pool.
    outcome: Option<ItemResult>,
    result: PhantomData<fn() -> R>,
}

impl<R> AsyncResult<R> {
    pub(crate) fn new(foreman: Arc<Foreman>, item: TaskItem, job: Result<u64, TaskError>) -> Self {
        let (id, outcome) = match job {
            Ok(id) => (Some(id), None),
            Err(error) => (None, Some(Err(error))),
        };
        Self { foreman, item, id, outcome, result: PhantomData }
    }

    /// Whether the result, or the error, is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_done = |id: &u64| match self.foreman.look() {
            Ok(crew) => crew.jobs.get(id).is_none_or(|job| job.open == 0),
            Err(_) => true,
        };
        self.outcome.is_some() || self.id.as_ref().is_none_or(is_done)
    }

    /// Takes the outcome from the pool, if it is there by then.
    fn fetch(&mut self, deadline: Deadline) -> Result<(), Stopped> {
        if self.outcome.is_none()
            && let Some(id) = self.id
        {
            self.outcome = self.foreman.wait_until(deadline, |crew| crew.take_single(id))?;
        }
        Ok(())
    }
}

impl<R: DeserializeOwned> AsyncResult<R> {
    /// Waits for the result. It stays here, and can be got again; but an end of a pipe in it goes to whoever
    /// gets it first.
    ///
    /// # Errors
    /// The item's [`TaskError`]; its index is 0. [`TaskError::Interrupted`] for a thread with a hook, which
    /// can call `get` again: the item is still being done.
    pub fn get(&mut self) -> Result<R, TaskError> {
        self.get_by(Deadline::NEVER).unwrap_or(Err(TaskError::Cancelled))
    }

    /// Gets the result if it is there.
    ///
    /// # Errors
    /// [`TaskError::WouldBlock`] if it is not; otherwise as [`get`](Self::get).
    pub fn try_get(&mut self) -> Result<R, TaskError> {
        let item = self.item;
        self.get_by(Deadline::PASSED).unwrap_or(Err(TaskError::WouldBlock { item }))
    }

    /// Waits for the result, at most for `timeout`.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`] if it was not there by then: it can be waited for again. Otherwise as
    /// [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<R, TaskError> {
        let item = self.item;
        self.get_by(Deadline::after(timeout)).unwrap_or(Err(TaskError::TimedOut { item }))
    }

    /// The result, or why there is none; `None` if neither is there by `deadline`.
    fn get_by(&mut self, deadline: Deadline) -> Option<Result<R, TaskError>> {
        if let Err(stopped) = self.fetch(deadline) {
            return Some(Err(stopped.in_call_of(self.item.function)));
        }
        self.outcome.as_ref().map(|outcome| match outcome {
            Ok(received) => received.decode(),
            Err(error) => Err(error.clone()),
        })
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
pub struct ImapUnordered<'p, I, R> {
    foreman: &'p Foreman,
    /// The pool's job, or why it took none.
    job: Result<u64, TaskError>,
    /// The path of the function.
    function: &'static str,
    items: I,
    /// Whether `items` has ended.
    exhausted: bool,
    next_index: usize,
    in_flight: BTreeSet<usize>,
    most_in_flight: usize,
    result: PhantomData<fn() -> R>,
}

impl<'p, I: Iterator<Item: Serialize>, R> ImapUnordered<'p, I, R> {
    pub(crate) fn new(
        foreman: &'p Foreman,
        job: Result<u64, TaskError>,
        (function, items): (&'static str, I),
        most_in_flight: usize,
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
            most_in_flight,
            result: PhantomData,
        };
        imap.refill();
        imap
    }

    /// Gives the pool as many items as may be on their way.
    fn refill(&mut self) {
        let Ok(id) = self.job else { return };
        while !self.exhausted && self.in_flight.len() < self.most_in_flight {
            let Some(item) = self.items.next() else {
                self.exhausted = true;
                return self.foreman.end_feeding(id);
            };
            let index = self.next_index;
            let batch = BatchBuilder::of_one(TaskItem { index, function: self.function }, &item);
            let Ok(mut crew) = self.foreman.enter() else { return };
            match batch {
                Ok((batch, cargo)) => crew.add(batch.finish(id, cargo)),
                Err(error) => crew.fail_unsent(id, index, error),
            }
            drop(crew);
            self.next_index += 1;
            self.in_flight.insert(index);
        }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> Iterator for ImapUnordered<'_, I, R> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
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
        self.refill();
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
            Err(Stopped::Forked) => return self.next(),
        };
        self.in_flight.remove(&index);
        self.refill();
        Some((index, outcome.and_then(|result| result.decode())))
    }
}

impl<I, R> Drop for ImapUnordered<'_, I, R> {
    fn drop(&mut self) {
        if let Ok(id) = self.job {
            self.foreman.abandon(id);
        }
    }
}

impl<I, R> fmt::Debug for ImapUnordered<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("given", &self.next_index)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

//! Iterators over results.

use super::batch::{BatchBuilder, Cargo};
use super::error::{Stopped, TaskError, TaskItem};
use super::foreman::Foreman;
use super::job::Results;
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
const IN_FLIGHT_PER_WORKER: usize = 16;

/// Results as they are ready; made by [`Pool::imap_unordered`](crate::Calls::imap_unordered). Dropping it
/// lets go of the items not yet begun.
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

impl<I: Iterator<Item: Serialize + 'static>, R> ImapUnordered<I, R> {
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

    /// Gives the pool as many items as may be on their way; as such count those, too, whose results are
    /// `held` by whoever asks.
    fn refill(&mut self, held: usize) {
        let Ok(id) = self.job else { return };
        let Ok(workers) = self.foreman.enter().map(|crew| crew.most) else { return };
        let most = workers.saturating_mul(IN_FLIGHT_PER_WORKER).saturating_mul(self.chunk_size);
        if self.in_flight.len() + held > most / 2 {
            // Many at a time are faster than one by one.
            return;
        }
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

impl<I: Iterator<Item: Serialize + 'static>, R: DeserializeOwned + 'static> ImapUnordered<I, R> {
    /// The next result, waited for at most for `timeout`; `None` if all have come. With
    /// [`TaskError::TimedOut`] comes the index of an item that is still being done: its result comes later, as if
    /// nothing had been.
    ///
    /// ```
    /// # procession::test_support!();
    /// use procession::{Pool, TaskError};
    /// use std::time::Duration;
    ///
    /// # procession::init();
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap_unordered(|n: u64| n * n, 0..3);
    /// let mut sum = 0;
    /// while let Some((_index, square)) = squares.next_timeout(Duration::from_secs(10)) {
    ///     match square {
    ///         Ok(square) => sum += square,
    ///         Err(TaskError::TimedOut { item }) => println!("still waiting for {item}"),
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// assert_eq!(sum, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<(usize, Result<R, TaskError>)> {
        self.advance(0, Deadline::after(timeout))
    }

    /// The next result that is there by the deadline, for one who holds so many others.
    fn advance(&mut self, held: usize, deadline: Deadline) -> Option<(usize, Result<R, TaskError>)> {
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
        let outcome = self.foreman.wait_until(deadline, |crew| {
            let Results::Streamed(ready) = &mut crew.jobs.get_mut(id)?.results else { return None };
            ready.pop_front()
        });
        let (index, outcome) = match outcome {
            Ok(Some(outcome)) => outcome,
            Ok(None) => {
                let (index, function) = (self.in_flight.first().copied()?, self.function);
                return Some((index, Err(TaskError::TimedOut { item: TaskItem { index, function } })));
            }
            Err(stopped @ Stopped::Interrupted) => {
                let index = self.in_flight.first().copied()?;
                return Some((index, Err(stopped.in_call_of(self.function))));
            }
            // The next call says so.
            Err(Stopped::Forked) => return self.advance(held, deadline),
        };
        self.in_flight.remove(&index);
        self.refill(held);
        Some((index, outcome.and_then(|result| result.decode())))
    }
}

impl<I: Iterator<Item: Serialize + 'static>, R: DeserializeOwned + 'static> Iterator for ImapUnordered<I, R> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.advance(0, Deadline::NEVER)
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

/// Results in the order of their items; made by [`Pool::imap`](crate::Calls::imap). Dropping it lets go of
/// the items not yet begun.
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

impl<I: Iterator<Item: Serialize + 'static>, R: DeserializeOwned + 'static> Imap<I, R> {
    /// The next result, waited for at most for `timeout`; `None` if all have come. After [`TaskError::TimedOut`] it
    /// comes later, as if nothing had been.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.next_by(Deadline::after(timeout))
    }

    fn next_by(&mut self, deadline: Deadline) -> Option<Result<R, TaskError>> {
        loop {
            if let Some(result) = self.early.remove(&self.turn) {
                self.turn += 1;
                // The workers are not to wait until the last of the early ones was asked for.
                self.results.refill(self.early.len());
                return Some(result);
            }
            match self.results.advance(self.early.len(), deadline)? {
                (_, Err(error @ TaskError::Interrupted { .. })) => return Some(Err(error)),
                // The one whose turn it is.
                (_, Err(TaskError::TimedOut { item })) => {
                    return Some(Err(TaskError::TimedOut { item: TaskItem { index: self.turn, ..item } }));
                }
                (index, result) => drop(self.early.insert(index, result)),
            }
        }
    }
}

impl<I: Iterator<Item: Serialize + 'static>, R: DeserializeOwned + 'static> Iterator for Imap<I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_by(Deadline::NEVER)
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

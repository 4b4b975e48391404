//! A call on its way to the workers: its function and its items, encoded, and its results.

use super::batch::{BatchBuilder, Cargo, Chunk};
use super::crew::Crew;
use super::error::{TaskError, TaskItem};
use super::foreman::Foreman;
use super::job::{Collected, Job, JobFunction, JobResult, Results};
use super::results::{AsyncResult, ImapUnordered};
use super::runner::{JobEntry, job_with_state, plain_job};
use crate::crossing::Crossing;
use crate::entry::{EntryRef, must_carry_nothing};
use crate::error::in_full;
use crate::function::Function;
use procession_channel::codec;
use procession_shm::carrying;
use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::sync::{Arc, MutexGuard};

/// Into how many chunks per worker a call's items are divided at least.
const CHUNKS_PER_WORKER: usize = 32;
const MAX_CHUNK_ITEMS: usize = 8192;
/// How many items per worker a stream of results has on their way.
const IN_FLIGHT_PER_WORKER: usize = 4;

/// What a call has the workers do with its items.
pub(super) struct Work {
    function: JobFunction,
    /// The encoded state, and what that relies on.
    state: (Vec<u8>, Cargo),
}

impl Work {
    fn job(self, results: Results) -> Job {
        let (state, cargo) = self.state;
        Job::new(self.function, state, cargo, results)
    }
}

/// The call of a function to which an item is all of its arguments.
pub(super) fn plain<F, A, M>(f: F) -> Result<Work, TaskError>
where
    F: Function<A, M, Output: Crossing + 'static>,
    A: Crossing + 'static,
    M: 'static,
{
    const { must_carry_nothing::<F>() };
    // `f` has no bytes: its type says everything about it.
    let _ = f;
    let function = function::<F, A, F::Output>(plain_job::<F, A, M>)?;
    Ok(Work { function, state: (Vec::new(), Cargo::default()) })
}

/// The call of a function that is also given a state.
pub(super) fn stateful<F, S, A, R>(state: &S, f: F) -> Result<Work, TaskError>
where
    F: Fn(&S, A) -> R + Copy + 'static,
    S: Crossing + 'static,
    A: Crossing + 'static,
    R: Crossing + 'static,
{
    const { must_carry_nothing::<F>() };
    let _ = f;
    let function = function::<F, (S, A), R>(job_with_state::<F, S, A, R>)?;
    let mut bytes = Vec::new();
    let (encoded, cargo) = Cargo::of(|| codec::encode(state, &mut bytes));
    encoded.map_err(|error| TaskError::EncodeState { function: function.path, reason: in_full(&error) })?;
    Ok(Work { function, state: (bytes, cargo) })
}

fn function<F: 'static, A, R>(entry: JobEntry) -> Result<JobFunction, TaskError> {
    let entry = EntryRef::new::<F, A, R>(entry);
    let entry = entry.map_err(|error| TaskError::NotRunnable { reason: in_full(&error) })?;
    Ok(JobFunction { entry, path: type_name::<F>() })
}

impl Foreman {
    /// Gives one item to the workers and waits for its result.
    pub(super) fn run_one<A: Serialize, R: DeserializeOwned>(
        &self,
        work: Work,
        item: &A,
    ) -> Result<R, TaskError> {
        let path = work.function.path;
        let (crew, id, chunk) = self.open_one(work, item)?;
        let give = |crew: &mut Crew| crew.add(chunk);
        let outcome = self.give_and_wait(crew, give, Deadline::NEVER, |crew| crew.take_outcome(id));
        let outcome = outcome.map_err(|stopped| {
            self.abandon(id);
            stopped.in_call_of(path)
        })?;
        match outcome {
            Some(JobResult::One(outcome)) => outcome?.decode(),
            _ => Err(TaskError::Cancelled),
        }
    }

    /// Gives one item to the workers; its result can be asked for later.
    pub(super) fn run_one_later<A: Serialize, R: DeserializeOwned>(
        self: &Arc<Self>,
        work: Result<Work, TaskError>,
        path: &'static str,
        item: &A,
    ) -> AsyncResult<R> {
        let submit = |work: Work| {
            let (mut crew, id, chunk) = self.open_one(work, item)?;
            crew.add(chunk);
            Ok(id)
        };
        AsyncResult::one(Arc::clone(self), path, work.and_then(submit))
    }

    /// Opens the job of doing `work` with one item: the crew, the job, and what is to be added to it.
    fn open_one<A: Serialize>(
        &self,
        work: Work,
        item: &A,
    ) -> Result<(MutexGuard<'_, Crew>, u64, Chunk), TaskError> {
        let job = work.job(Results::Streamed(Default::default()));
        let (batch, cargo) = BatchBuilder::of_one(job.item(0), item)?;
        let mut crew = self.enter()?;
        let id = crew.open_job(job)?;
        Ok((crew, id, batch.finish(id, cargo)))
    }

    /// Gives all items to the workers and waits for all results.
    pub(super) fn collect<A: Serialize>(
        &self,
        work: Work,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Collected, TaskError> {
        let feed = self.feed(work, items)?;
        let outcome = self.wait_until(Deadline::NEVER, |crew| crew.take_outcome(feed.id));
        match outcome.map_err(|stopped| stopped.in_call_of(feed.function))? {
            Some(JobResult::All(collected)) => Ok(collected),
            _ => Err(TaskError::Cancelled),
        }
    }

    /// Gives all items to the workers; all results can be asked for later.
    pub(super) fn collect_later<A: Serialize, R: DeserializeOwned>(
        self: &Arc<Self>,
        work: Result<Work, TaskError>,
        path: &'static str,
        items: impl IntoIterator<Item = A>,
    ) -> AsyncResult<Vec<R>> {
        let id = work.and_then(|work| Ok(self.feed(work, items)?.keep()));
        AsyncResult::all(Arc::clone(self), path, id)
    }

    /// Gives all items to the workers.
    fn feed<A: Serialize>(
        &self,
        work: Work,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Feed<'_>, TaskError> {
        let mut items = items.into_iter();
        let most = (items.size_hint().0 / (self.count * CHUNKS_PER_WORKER)).clamp(1, MAX_CHUNK_ITEMS);
        let function = work.function.path;
        let id = self.enter()?.open_job(work.job(Results::Collected(Collected::default())).fed())?;
        let feed = Feed { foreman: self, id, function };
        let mut next = 0;
        let mut is_end = false;
        while !is_end {
            let mut batch = BatchBuilder::new(next);
            let (filled, handles) = carrying(|| batch.fill(&mut items, most));
            next = batch.end();
            feed.send(batch, Cargo::of_handles(handles));
            match filled {
                Ok(was_last) => is_end = was_last,
                Err(error) => {
                    feed.fail(next, &error);
                    next += 1;
                }
            }
        }
        self.end_feeding(id);
        Ok(feed)
    }

    /// Gives items to the workers as results are asked for.
    pub(super) fn stream<I: IntoIterator<Item: Serialize>, R>(
        &self,
        work: Result<Work, TaskError>,
        path: &'static str,
        items: I,
    ) -> ImapUnordered<'_, I::IntoIter, R> {
        let submit = |work: Work| {
            let job = work.job(Results::Streamed(Default::default()));
            self.enter()?.open_job(job.fed())
        };
        let most = self.count * IN_FLIGHT_PER_WORKER;
        ImapUnordered::new(self, work.and_then(submit), (path, items.into_iter()), most)
    }
}

/// A job that is forgotten if whoever started it does not finish it: its wait was interrupted, or an iterator
/// or an encoder panicked.
struct Feed<'a> {
    foreman: &'a Foreman,
    id: u64,
    function: &'static str,
}

impl Feed<'_> {
    /// The job's number; whoever has it finishes the job.
    fn keep(self) -> u64 {
        let id = self.id;
        std::mem::forget(self);
        id
    }

    fn send(&self, batch: BatchBuilder, cargo: Cargo) {
        // After a fork in the caller's iterator there is nobody to give it to; waiting for the results says
        // so.
        if batch.len() > 0
            && let Ok(mut crew) = self.foreman.enter()
        {
            crew.add(batch.finish(self.id, cargo));
        }
    }

    fn fail(&self, index: usize, error: &codec::EncodeError) {
        if let Ok(mut crew) = self.foreman.enter() {
            let item = TaskItem { index, function: self.function };
            crew.fail_unsent(self.id, index, TaskError::encode(item, error));
        }
    }
}

impl Drop for Feed<'_> {
    fn drop(&mut self) {
        self.foreman.abandon(self.id);
    }
}

//! A call on its way to the workers: its function and its items, encoded, and its results.

use super::async_result::AsyncResult;
use super::batch::{BatchBuilder, Cargo, Chunk};
use super::crew::Crew;
use super::error::{TaskError, TaskItem};
use super::foreman::Foreman;
use super::job::{Collected, Job, JobFunction, JobResult, Results};
use super::plan::Policy;
use super::results::ImapUnordered;
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

/// What a call has the workers do with its items.
pub(super) struct Work {
    function: JobFunction,
    /// The encoded state, and what that relies on.
    state: (Vec<u8>, Cargo),
}

/// Whoever calls: the pool, and what is said of the items.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) foreman: Arc<Foreman>,
    pub(super) policy: Policy,
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

impl Caller {
    fn job(&self, work: Work, results: Results) -> Job {
        let (state, cargo) = work.state;
        Job::new((work.function, self.policy), state, cargo, results)
    }

    /// Gives one item to the workers and waits for its result.
    pub(super) fn run_one<A: Serialize + 'static, R: DeserializeOwned + 'static>(
        &self,
        work: Work,
        item: &A,
    ) -> Result<R, TaskError> {
        let path = work.function.path;
        let (crew, id, chunk) = self.open_one(work, item)?;
        let give = |crew: &mut Crew| crew.add(chunk);
        let outcome =
            self.foreman.give_and_wait(crew, give, Deadline::NEVER, |crew| crew.jobs.take_outcome(id));
        let outcome = outcome.map_err(|stopped| {
            self.foreman.abandon(id);
            stopped.in_call_of(path)
        })?;
        match outcome {
            Some(JobResult::One(outcome)) => outcome?.decode(),
            _ => Err(TaskError::Cancelled),
        }
    }

    /// Gives one item to the workers; its result can be asked for later.
    pub(super) fn run_one_later<A: Serialize + 'static, R: DeserializeOwned + 'static>(
        &self,
        work: Result<Work, TaskError>,
        path: &'static str,
        item: &A,
    ) -> AsyncResult<R> {
        let submit = |work: Work| {
            let (mut crew, id, chunk) = self.open_one(work, item)?;
            self.foreman.add(&mut crew, chunk);
            Ok(id)
        };
        AsyncResult::one(Arc::clone(&self.foreman), path, work.and_then(submit))
    }

    /// Opens the job of doing `work` with one item: the crew, the job, and what is to be added to it.
    fn open_one<A: Serialize + 'static>(
        &self,
        work: Work,
        item: &A,
    ) -> Result<(MutexGuard<'_, Crew>, u64, Chunk), TaskError> {
        let job = self.job(work, Results::Streamed(Default::default()));
        let (batch, cargo) = BatchBuilder::of_one(job.item(0), item)?;
        let mut crew = self.foreman.admit()?;
        let id = crew.open_job(job)?;
        Ok((crew, id, batch.finish(id, cargo)))
    }

    /// Gives all items to the workers and waits for all results.
    pub(super) fn collect<A: Serialize + 'static>(
        &self,
        work: Work,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Collected, TaskError> {
        let feed = self.feed(work, items)?;
        let outcome = self.foreman.wait_until(Deadline::NEVER, |crew| crew.jobs.take_outcome(feed.id));
        match outcome.map_err(|stopped| stopped.in_call_of(feed.function))? {
            Some(JobResult::All(collected)) => Ok(collected),
            _ => Err(TaskError::Cancelled),
        }
    }

    /// Gives all items to the workers; all results can be asked for later.
    pub(super) fn collect_later<A: Serialize + 'static, R: DeserializeOwned + 'static>(
        &self,
        work: Result<Work, TaskError>,
        path: &'static str,
        items: impl IntoIterator<Item = A>,
    ) -> AsyncResult<Vec<R>> {
        let id = work.and_then(|work| Ok(self.feed(work, items)?.keep()));
        AsyncResult::all(Arc::clone(&self.foreman), path, id)
    }

    /// Gives all items to the workers.
    fn feed<A: Serialize + 'static>(
        &self,
        work: Work,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Feed<'_>, TaskError> {
        let mut items = items.into_iter();
        let function = work.function.path;
        let job = self.job(work, Results::Collected(Collected::default())).fed();
        let (id, workers) = {
            let mut crew = self.foreman.admit()?;
            (crew.open_job(job)?, crew.most)
        };
        let feed = Feed { foreman: &self.foreman, id, function };
        let mut next = 0;
        let mut is_end = false;
        while !is_end {
            let mut batch = BatchBuilder::new(next);
            let expected = next.saturating_add(items.size_hint().0);
            let most = self.policy.chunk_size.unwrap_or_else(|| automatic_chunk_size(expected, workers));
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
        self.foreman.end_feeding(id);
        Ok(feed)
    }

    /// Gives items to the workers as results are asked for.
    pub(super) fn stream<I: IntoIterator<Item: Serialize + 'static>, R>(
        &self,
        work: Result<Work, TaskError>,
        path: &'static str,
        items: I,
    ) -> ImapUnordered<I::IntoIter, R> {
        let submit = |work: Work| {
            let job = self.job(work, Results::Streamed(Default::default()));
            self.foreman.admit()?.open_job(job.fed())
        };
        let (foreman, chunk_size) = (Arc::clone(&self.foreman), self.policy.chunk_size.unwrap_or(1));
        ImapUnordered::new(foreman, work.and_then(submit), (path, items.into_iter()), chunk_size)
    }
}

/// How many items to give to one of so many workers at a time, where a call is known to have at least so many
/// items: few enough that all workers end at nearly the same time, although some items take longer than
/// others. An iterator that does not say how many items it has is given out in chunks that grow.
fn automatic_chunk_size(items: usize, workers: usize) -> usize {
    (items / (workers.max(1) * CHUNKS_PER_WORKER)).clamp(1, MAX_CHUNK_ITEMS)
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
            self.foreman.add(&mut crew, batch.finish(self.id, cargo));
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

#[cfg(test)]
mod tests {
    use super::automatic_chunk_size;

    #[test]
    fn chunks_are_a_small_part_of_what_there_is() {
        let sizes = [0, 63, 64, 6400, 1_000_000, usize::MAX].map(|items| automatic_chunk_size(items, 2));
        assert_eq!(sizes, [1, 1, 1, 100, 8192, 8192]);
        assert_eq!(automatic_chunk_size(10, 0), 1);
    }
}

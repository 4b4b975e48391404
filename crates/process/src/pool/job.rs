//! A job, the work of one call: its items on their way, and their results.

use super::batch::{Cargo, Chunk};
use super::error::{TaskError, TaskItem};
use super::runner::JobEntry;
use crate::entry::EntryRef;
use procession_channel::{Parcel, codec};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// The outcome of an item: the encoded result, or why there is none.
pub(crate) type ItemResult = Result<Received, TaskError>;

/// An encoded result, and the ends of pipes in it, which are this process's until the last copy is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    item: TaskItem,
    bytes: Vec<u8>,
    _ends: Arc<Parcel>,
}

impl Received {
    fn of(item: TaskItem, result: &[u8]) -> Self {
        let (len, ends) = Parcel::of_message(result);
        Self { item, bytes: result[..len].to_vec(), _ends: Arc::new(ends) }
    }

    /// The item's result.
    pub(crate) fn decode<R: DeserializeOwned>(&self) -> Result<R, TaskError> {
        codec::decode(&self.bytes).map_err(|error| TaskError::decode(self.item, &error))
    }
}

/// Where results go.
#[derive(Debug)]
pub(crate) enum Results {
    /// All of them, by index, when all are there.
    Collected(Collected),
    /// Each as soon as it is there.
    Streamed(VecDeque<(usize, ItemResult)>),
}

/// Results side by side in one piece of memory: a million small ones are no million allocations.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    bytes: Vec<u8>,
    /// For each index, where its result lies.
    spans: Vec<Range<usize>>,
    ends: Parcel,
    errors: BTreeMap<usize, TaskError>,
}

impl Collected {
    fn put(&mut self, index: usize, result: &[u8]) {
        if self.spans.len() <= index {
            self.spans.resize(index + 1, 0..0);
        }
        let (len, ends) = Parcel::of_message(result);
        self.ends.join(ends);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&result[..len]);
        self.spans[index] = start..self.bytes.len();
    }

    /// The results of `function` in order, or the error of the lowest index that has one.
    pub(crate) fn decode<R: DeserializeOwned>(&self, function: &'static str) -> Result<Vec<R>, TaskError> {
        if let Some(error) = self.errors.values().next() {
            return Err(error.clone());
        }
        (0..self.spans.len()).map(|index| self.decode_one(index, function)).collect()
    }

    /// What became of each item, in order.
    pub(crate) fn decode_each<R: DeserializeOwned>(
        &self,
        function: &'static str,
    ) -> Vec<Result<R, TaskError>> {
        let last_error = self.errors.keys().next_back().map_or(0, |last| last + 1);
        let outcome = |index| match self.errors.get(&index) {
            Some(error) => Err(error.clone()),
            None => self.decode_one(index, function),
        };
        (0..self.spans.len().max(last_error)).map(outcome).collect()
    }

    fn decode_one<R: DeserializeOwned>(&self, index: usize, function: &'static str) -> Result<R, TaskError> {
        let item = TaskItem { index, function };
        let span = self.spans.get(index).cloned().unwrap_or_default();
        codec::decode(&self.bytes[span]).map_err(|error| TaskError::decode(item, &error))
    }

    /// Whether every item has a result.
    pub(crate) fn is_success(&self) -> bool {
        self.errors.is_empty()
    }
}

/// What came of a job, once that is all there.
#[derive(Debug)]
pub(crate) enum JobResult {
    One(ItemResult),
    All(Collected),
}

/// The function that a job runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobFunction {
    /// How it is known in the workers.
    pub(crate) entry: EntryRef<JobEntry>,
    /// How people know it.
    pub(crate) path: &'static str,
}

/// A job that somebody waits for.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) function: JobFunction,
    /// The encoded state, given to each worker once.
    pub(crate) state: Arc<Vec<u8>>,
    /// The handles and ends of pipes in the state.
    pub(crate) _cargo: Cargo,
    /// The chunks that no worker has yet.
    pub(crate) pending: VecDeque<Chunk>,
    /// Items without a result.
    pub(crate) open: usize,
    /// How often an item was lost with its worker.
    losses: HashMap<usize, u32>,
    pub(crate) results: Results,
    /// Whether more items may come, although the pool may have been closed meanwhile.
    pub(crate) feeding: bool,
    /// How many workers have ended one after the other with work of this job and without a result.
    pub(crate) barren: u32,
    /// Why no further item of it is given to anybody.
    pub(crate) doomed: Option<TaskError>,
    /// Whether nobody waits any more: what comes is thrown away, and the job with its last item.
    pub(crate) abandoned: bool,
}

impl Job {
    pub(crate) fn new(function: JobFunction, state: Vec<u8>, cargo: Cargo, results: Results) -> Self {
        Self {
            function,
            state: Arc::new(state),
            _cargo: cargo,
            pending: VecDeque::new(),
            open: 0,
            losses: HashMap::new(),
            results,
            feeding: false,
            barren: 0,
            doomed: None,
            abandoned: false,
        }
    }

    /// The item as errors name it.
    pub(crate) fn item(&self, index: usize) -> TaskItem {
        TaskItem { index, function: self.function.path }
    }

    /// The job of a call that goes on giving it items.
    pub(crate) fn fed(self) -> Self {
        Self { feeding: true, ..self }
    }

    /// Whether all that there will be of it is there.
    pub(crate) fn is_over(&self) -> bool {
        self.open == 0 && !self.feeding
    }

    /// Takes in a result as it came from a worker.
    pub(crate) fn finish(&mut self, index: usize, result: &[u8]) {
        self.barren = 0;
        self.open = self.open.saturating_sub(1);
        let item = self.item(index);
        match &mut self.results {
            // Ends of pipes in it are closed.
            _ if self.abandoned => drop(Parcel::of_message(result)),
            Results::Collected(collected) => collected.put(index, result),
            Results::Streamed(ready) => ready.push_back((index, Ok(Received::of(item, result)))),
        }
    }

    /// Takes in that there will be no result.
    pub(crate) fn fail(&mut self, index: usize, error: TaskError) {
        self.open = self.open.saturating_sub(1);
        match &mut self.results {
            _ if self.abandoned => {}
            Results::Collected(collected) => drop(collected.errors.insert(index, error)),
            Results::Streamed(ready) => ready.push_back((index, Err(error))),
        }
    }

    /// Takes in that no item of the chunk will have a result.
    pub(crate) fn fail_chunk(&mut self, chunk: &Chunk, error: &TaskError) {
        (0..chunk.range.len()).for_each(|nth| self.fail(chunk.index(nth), error.clone()));
    }

    /// Gives the job up: what is not given to a worker yet fails now, the rest when it comes back.
    pub(crate) fn doom(&mut self, error: TaskError) {
        for chunk in std::mem::take(&mut self.pending) {
            self.fail_chunk(&chunk, &error);
        }
        self.doomed = Some(error);
    }

    /// Counts that a worker died in the item; whether the item may be tried again.
    pub(crate) fn may_retry(&mut self, index: usize, retries: u32) -> bool {
        let losses = self.losses.entry(index).or_default();
        *losses += 1;
        *losses <= retries
    }
}

#[cfg(test)]
mod tests {
    use super::{Collected, TaskError};
    use procession_channel::codec;

    #[test]
    fn results_come_in_order_and_the_lowest_error_wins() {
        let mut collected = Collected::default();
        for (index, word) in [(1, "one"), (0, "zero")] {
            let mut bytes = Vec::new();
            codec::encode(word, &mut bytes).unwrap();
            collected.put(index, &bytes);
        }
        assert_eq!(collected.decode::<String>("work").unwrap(), ["zero", "one"]);
        collected.errors.insert(2, TaskError::Closed);
        let each = collected.decode_each::<String>("work");
        assert!(
            matches!(&each[..], [Ok(zero), Ok(one), Err(TaskError::Closed)] if zero == "zero" && one == "one")
        );
        let mut collected = Collected::default();
        collected.errors.insert(7, TaskError::Closed);
        collected.errors.insert(3, TaskError::Cancelled);
        assert!(matches!(collected.decode::<String>("work"), Err(TaskError::Cancelled)));
    }
}

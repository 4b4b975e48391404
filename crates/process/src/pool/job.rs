//! A job, the work of one call: its items on their way, and their results.

use super::batch::{Cargo, Chunk};
use super::error::{TaskError, TaskItem};
use super::plan::Policy;
use super::runner::JobEntry;
use super::watchers::{Due, Duty, Watcher};
use super::wire::{Pieces, push_piece};
use crate::entry::EntryRef;
use crate::label::ProcessLabel;
use procession_channel::{Parcel, codec};
use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The outcome of an item: the encoded result, or why there is none.
pub(crate) type ItemResult = Result<Received, TaskError>;

/// An encoded result, whose it is, and the ends of pipes in it, which are this process's until the last copy
/// is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    item: TaskItem,
    worker: ProcessLabel,
    bytes: Vec<u8>,
    _ends: Arc<Parcel>,
}

impl Received {
    fn of(item: TaskItem, result: &[u8], worker: &ProcessLabel) -> Self {
        let (len, ends) = Parcel::of_message(result);
        Self { item, worker: worker.clone(), bytes: result[..len].to_vec(), _ends: Arc::new(ends) }
    }

    /// The item's result.
    pub(crate) fn decode<R: DeserializeOwned + 'static>(&self) -> Result<R, TaskError> {
        codec::decode(&self.bytes).map_err(|error| TaskError::decode(self.item, &self.worker, &error))
    }
}

/// Where results go.
#[derive(Debug)]
pub(crate) enum Results {
    /// All of them, by index, when all are there.
    Collected(Collected),
    /// Each as soon as it is there.
    Streamed(VecDeque<(usize, ItemResult)>),
    /// All there, and given to callbacks.
    Shared(Arc<JobResult>),
}

/// Results side by side in one piece of memory, as pieces: a million small ones are no million allocations.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    bytes: Vec<u8>,
    shares: Vec<Share>,
    ends: Parcel,
    errors: BTreeMap<usize, TaskError>,
}

/// Results of one worker that came one after the other, of items that follow each other.
#[derive(Debug)]
struct Share {
    items: Range<usize>,
    /// Where the first one begins.
    start: usize,
    worker: ProcessLabel,
}

impl Collected {
    fn put(&mut self, index: usize, result: &[u8], worker: &ProcessLabel) {
        match self.shares.last_mut() {
            Some(share) if share.items.end == index && share.worker.is_of_same_process(worker) => {
                share.items.end += 1;
            }
            _ => {
                let (start, worker) = (self.bytes.len(), worker.clone());
                self.shares.push(Share { items: index..index + 1, start, worker });
            }
        }
        let (len, ends) = Parcel::of_message(result);
        self.ends.join(ends);
        push_piece(&mut self.bytes, &result[..len]);
    }

    /// The results of `function` in order, or the error of the lowest index that has one.
    pub(crate) fn decode<R: DeserializeOwned + 'static>(
        &self,
        function: &'static str,
    ) -> Result<Vec<R>, TaskError> {
        if let Some(error) = self.errors.values().next() {
            return Err(error.clone());
        }
        let mut results = Vec::with_capacity(self.shares.iter().map(|share| share.items.len()).sum());
        for share in self.in_order() {
            for (index, result) in self.results_of(share) {
                if index != results.len() {
                    return Err(TaskError::Cancelled);
                }
                results.push(share.decode(index, result, function)?);
            }
        }
        Ok(results)
    }

    /// What became of each item, in order.
    pub(crate) fn decode_each<R: DeserializeOwned + 'static>(
        &self,
        function: &'static str,
    ) -> Vec<Result<R, TaskError>> {
        let error = |index| Err(self.errors.get(&index).cloned().unwrap_or(TaskError::Cancelled));
        let mut outcomes = Vec::new();
        for share in self.in_order() {
            for (index, result) in self.results_of(share) {
                outcomes.extend((outcomes.len()..index).map(error));
                outcomes.push(share.decode(index, result, function));
            }
        }
        let end = self.errors.keys().next_back().map_or(0, |last| last + 1);
        outcomes.extend((outcomes.len()..end).map(error));
        outcomes
    }

    fn in_order(&self) -> Vec<&Share> {
        let mut shares: Vec<&Share> = self.shares.iter().collect();
        // They are nearly sorted.
        shares.sort_by_key(|share| share.items.start);
        shares
    }

    /// The results of a share, each with its item's index: there are as many pieces as items.
    fn results_of(&self, share: &Share) -> impl Iterator<Item = (usize, &[u8])> {
        share.items.clone().zip(Pieces(&self.bytes[share.start..]))
    }
}

impl Share {
    fn decode<R: DeserializeOwned + 'static>(
        &self,
        index: usize,
        result: &[u8],
        function: &'static str,
    ) -> Result<R, TaskError> {
        let item = TaskItem { index, function };
        codec::decode(result).map_err(|error| TaskError::decode(item, &self.worker, &error))
    }
}

/// What came of a job, once that is all there.
#[derive(Debug)]
pub(crate) enum JobResult {
    One(ItemResult),
    All(Collected),
    /// What callbacks are given, too.
    Shared(Arc<JobResult>),
}

impl JobResult {
    /// It itself, whoever else has it.
    pub(crate) fn inner(&self) -> &Self {
        if let Self::Shared(shared) = self { shared.inner() } else { self }
    }

    fn errors(&self) -> Vec<&TaskError> {
        match self {
            Self::One(outcome) => outcome.as_ref().err().into_iter().collect(),
            Self::All(collected) => collected.errors.values().collect(),
            Self::Shared(shared) => shared.errors(),
        }
    }

    /// Whether there is a result and no error.
    pub(crate) fn is_success(&self) -> bool {
        self.errors().is_empty()
    }

    /// Whether items of it were cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        has_cancelled(&self.errors())
    }
}

fn has_cancelled(errors: &[&TaskError]) -> bool {
    errors.iter().any(|error| matches!(error, TaskError::Cancelled))
}

/// Numbers of items.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) given: usize,
    pub(crate) failed: usize,
    pub(crate) open: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.given += other.given;
        self.failed += other.failed;
        self.open += other.open;
    }
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
    pub(crate) policy: Policy,
    /// The chunks that no worker has yet.
    pub(crate) pending: VecDeque<Chunk>,
    /// The turn under which it stands among those that have some.
    pub(super) listed: Option<u64>,
    /// Items that were lost, and when each is to be tried again.
    delayed: Vec<(Deadline, Chunk)>,
    /// Items without a result.
    pub(crate) open: usize,
    given: usize,
    failed: usize,
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
    /// Whether nobody asks any more, but it is to be done all the same.
    pub(crate) detached: bool,
    /// Who is to be told when it is over.
    watchers: Vec<Watcher>,
    /// Where that is told; of a job that is watched.
    due: Option<Arc<Due>>,
}

impl Job {
    pub(crate) fn new(
        (function, policy): (JobFunction, Policy),
        state: Vec<u8>,
        cargo: Cargo,
        results: Results,
    ) -> Self {
        Self {
            function,
            state: Arc::new(state),
            _cargo: cargo,
            policy,
            pending: VecDeque::new(),
            listed: None,
            delayed: Vec::new(),
            open: 0,
            given: 0,
            failed: 0,
            losses: HashMap::new(),
            results,
            feeding: false,
            barren: 0,
            doomed: None,
            abandoned: false,
            detached: false,
            watchers: Vec::new(),
            due: None,
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

    /// Whether a worker has something to do for it, or may still have.
    pub(crate) fn needs_workers(&self) -> bool {
        self.open > 0 || self.feeding && self.doomed.is_none()
    }

    /// Whether what has just come is what somebody may wait for.
    pub(crate) fn is_news(&self) -> bool {
        self.is_over() || matches!(self.results, Results::Streamed(_))
    }

    /// Whether it is over, and nobody will ask about it.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.is_over() && (self.abandoned || self.detached)
    }

    /// There will be no more items.
    pub(crate) fn end_feeding(&mut self) {
        self.feeding = false;
        self.tell_if_over();
    }

    /// The outcome of a job that is over.
    pub(crate) fn into_outcome(self) -> JobResult {
        Self::outcome_of(self.results)
    }

    fn outcome_of(results: Results) -> JobResult {
        match results {
            Results::Collected(collected) => JobResult::All(collected),
            Results::Streamed(mut ready) => {
                JobResult::One(ready.pop_front().map_or(Err(TaskError::Cancelled), |(_, outcome)| outcome))
            }
            Results::Shared(shared) => JobResult::Shared(shared),
        }
    }

    /// Has somebody told when the job is over, which it is not yet.
    pub(crate) fn watch(&mut self, due: &Arc<Due>, watcher: Watcher) {
        let is_task = matches!(watcher, Watcher::Task(_));
        self.watchers.retain(|other| !other.is_gone(is_task));
        self.watchers.push(watcher);
        self.due.get_or_insert_with(|| Arc::clone(due));
    }

    fn tell_if_over(&mut self) {
        if self.due.is_some() && self.is_over() {
            self.tell();
        }
    }

    #[cold]
    fn tell(&mut self) {
        let Some(due) = self.due.take() else { return };
        for watcher in std::mem::take(&mut self.watchers) {
            match watcher {
                Watcher::Thread(arrivals, place) => {
                    if let Some(arrivals) = arrivals.upgrade() {
                        arrivals.push(place);
                    }
                }
                Watcher::Task(waker) => due.push(Duty::Wake(waker)),
                Watcher::Callback(callback) => due.push(Duty::Call(callback, self.share())),
            }
        }
    }

    /// The outcome of a job that is over, which stays here.
    pub(crate) fn share(&mut self) -> Arc<JobResult> {
        let results = std::mem::replace(&mut self.results, Results::Streamed(VecDeque::new()));
        let shared = match Self::outcome_of(results) {
            JobResult::Shared(shared) => shared,
            outcome => Arc::new(outcome),
        };
        self.results = Results::Shared(Arc::clone(&shared));
        shared
    }

    /// The errors that it has.
    fn errors(&self) -> Vec<&TaskError> {
        match &self.results {
            Results::Collected(collected) => collected.errors.values().collect(),
            Results::Streamed(ready) => {
                ready.iter().filter_map(|(_, outcome)| outcome.as_ref().err()).collect()
            }
            Results::Shared(shared) => shared.errors(),
        }
    }

    /// Whether there is a result and no error; `None` while neither is there.
    pub(crate) fn is_success(&self) -> Option<bool> {
        self.is_over().then(|| self.errors().is_empty())
    }

    /// Whether items of it were cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_over() && has_cancelled(&self.errors())
    }

    /// There are so many more items.
    pub(crate) fn expect(&mut self, count: usize) {
        self.open += count;
        self.given += count;
    }

    /// Nobody waits for so many of its items, and nobody runs them.
    pub(crate) fn give_up(&mut self, count: usize) {
        self.open = self.open.saturating_sub(count);
        self.failed += count;
    }

    /// What became of its items until now.
    pub(crate) fn tally(&self) -> Tally {
        Tally { given: self.given, failed: self.failed, open: self.open }
    }

    /// Takes in a result as it came from the worker.
    pub(crate) fn finish(&mut self, index: usize, result: &[u8], worker: &ProcessLabel) {
        self.barren = 0;
        self.open = self.open.saturating_sub(1);
        let item = self.item(index);
        match &mut self.results {
            // Ends of pipes in it are closed.
            _ if self.abandoned => drop(Parcel::of_message(result)),
            Results::Collected(collected) => collected.put(index, result, worker),
            Results::Streamed(ready) => ready.push_back((index, Ok(Received::of(item, result, worker)))),
            // Nothing comes after the last.
            Results::Shared(_) => {}
        }
        self.tell_if_over();
    }

    /// Takes in that there will be no result.
    pub(crate) fn fail(&mut self, index: usize, error: TaskError) {
        self.give_up(1);
        match &mut self.results {
            _ if self.abandoned => {}
            Results::Collected(collected) => drop(collected.errors.insert(index, error)),
            Results::Streamed(ready) => ready.push_back((index, Err(error))),
            Results::Shared(_) => {}
        }
        self.tell_if_over();
    }

    /// Takes in that no item of the chunk will have a result.
    pub(crate) fn fail_chunk(&mut self, chunk: &Chunk, error: &TaskError) {
        (0..chunk.range.len()).for_each(|nth| self.fail(chunk.index(nth), error.clone()));
    }

    /// Gives the job up: what is not given to a worker yet fails now, the rest when it comes back.
    pub(crate) fn doom(&mut self, error: TaskError) {
        for chunk in self.take_waiting() {
            self.fail_chunk(&chunk, &error);
        }
        self.doomed = Some(error);
    }

    /// The chunks that no worker has, which are the caller's now.
    pub(crate) fn take_waiting(&mut self) -> Vec<Chunk> {
        let delayed = self.delayed.drain(..).map(|(_, chunk)| chunk);
        self.pending.drain(..).chain(delayed).collect()
    }

    /// A worker was lost with the item that this chunk is: has it tried again, if it may be; `false` if not.
    pub(crate) fn retry(&mut self, chunk: Chunk) -> bool {
        let losses = self.losses.entry(chunk.index(0)).or_default();
        *losses += 1;
        if *losses > self.policy.retries {
            return false;
        }
        match self.policy.pause_after(*losses) {
            Duration::ZERO => self.pending.push_back(chunk),
            pause => self.delayed.push((Deadline::after(pause), chunk)),
        }
        true
    }

    /// Lets those items be tried again whose time has come; when the next one's will have.
    pub(crate) fn wake_delayed(&mut self) -> Deadline {
        let Self { delayed, pending, .. } = self;
        delayed.retain(|(when, chunk)| {
            let is_due = when.has_passed();
            pending.extend(is_due.then(|| chunk.clone()));
            !is_due
        });
        delayed.iter().map(|(when, _)| *when).min().unwrap_or(Deadline::NEVER)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Cargo, Collected, EntryRef, Job, JobFunction, Policy, Results, TaskError, Watcher};
    use crate::label::ProcessLabel;
    use crate::pool::runner::{JobEntry, Runner};
    use crate::pool::watchers::Arrivals;
    use procession_channel::codec;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::task::Waker;

    fn fail(_: u64, _: &[u8]) -> Result<Box<dyn Runner>, String> {
        Err(String::new())
    }

    /// A job without items.
    pub(in crate::pool) fn job(results: Results) -> Job {
        let function =
            JobFunction { entry: EntryRef::new::<JobEntry, (), ()>(fail as JobEntry).unwrap(), path: "fail" };
        Job::new((function, Policy::default()), Vec::new(), Cargo::default(), results)
    }

    #[test]
    fn those_who_wait_no_more_are_forgotten() {
        let mut job = job(Results::Streamed(VecDeque::new()));
        job.expect(1);
        let (due, waits) = (Arc::default(), Arc::new(Arrivals::default()));
        job.watch(&due, Watcher::Thread(Arc::downgrade(&waits), 3));
        for place in 0..100 {
            // Its time is over at once.
            job.watch(&due, Watcher::Thread(Arc::downgrade(&Arc::default()), place));
            job.watch(&due, Watcher::Task(Waker::noop().clone()));
        }
        assert!(job.watchers.len() <= 3, "{:?}", job.watchers);
        job.fail(0, TaskError::Cancelled);
        assert_eq!((waits.try_pop(), waits.try_pop()), (Some(3), None));
    }

    #[test]
    fn results_come_in_order_and_the_lowest_error_wins() {
        let mut collected = Collected::default();
        for (index, word) in [(1, "one"), (0, "zero")] {
            let mut bytes = Vec::new();
            codec::encode(word, &mut bytes).unwrap();
            collected.put(index, &bytes, &ProcessLabel::new(word, 7, "work"));
        }
        let numbers = collected.decode_each::<u64>("work");
        let is_of = |nth: usize, name| matches!(&numbers[nth], Err(TaskError::Decode { worker, .. }) if worker.name() == name);
        assert!(is_of(0, "zero") && is_of(1, "one"), "{numbers:?}");
        assert_eq!(collected.decode::<String>("work").unwrap(), ["zero", "one"]);
        collected.errors.insert(2, TaskError::Closed);
        let each = collected.decode_each::<String>("work");
        assert!(
            matches!(&each[..], [Ok(zero), Ok(one), Err(TaskError::Closed)] if zero == "zero" && one == "one")
        );
        collected.errors.insert(4, TaskError::Closed);
        assert!(matches!(
            &collected.decode_each::<String>("work")[2..],
            [Err(_), Err(TaskError::Cancelled), Err(_)]
        ));
        let mut collected = Collected::default();
        collected.errors.insert(7, TaskError::Closed);
        collected.errors.insert(3, TaskError::Cancelled);
        assert!(matches!(collected.decode::<String>("work"), Err(TaskError::Cancelled)));
    }
}

//! Waits for several [results](AsyncResult): for whichever comes first, for the first error, for all.
//!
//! The results may be of several pools and executors.

use super::async_result::AsyncResult;
use super::error::{Stopped, TaskError, TaskItem};
use super::foreman::Foreman;
use super::watchers::Arrivals;
use procession_sys::{Deadline, fork};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitFor {
    /// Until one of the results, or its error, is there.
    FirstCompleted,
    /// Until one has an error, or all are there.
    FirstError,
    /// Until all are there.
    All,
}

/// Which of the results are there, by their places among those that were waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited {
    /// Those that are there, results and errors.
    pub done: Vec<usize>,
    /// Those that are not.
    pub not_done: Vec<usize>,
}

/// Waits until that is so which `until` says. Of no results it waits for none.
///
/// ```
/// use procession::futures::{WaitFor, wait};
/// use procession::{Executor, TaskError};
///
/// fn check(n: u32) -> Result<u32, String> {
///     if n == 7 { Err(format!("{n} is bad")) } else { Ok(n) }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let executor = Executor::new(2)?;
///     let mut checks: Vec<_> = (0..10).map(|n| executor.submit(check, n)).collect();
///     let waited = wait(&checks, WaitFor::All)?;
///     assert_eq!((waited.done.len(), waited.not_done.len()), (10, 0));
///     assert_eq!(checks[7].get()?, Err("7 is bad".to_owned()));
///     Ok(())
/// }
/// ```
///
/// # Errors
/// [`TaskError::Interrupted`] for a thread with a hook; [`TaskError::Forked`] in a forked child.
pub fn wait<R>(results: &[AsyncResult<R>], until: WaitFor) -> Result<Waited, TaskError> {
    wait_until(results, until, Deadline::NEVER)
}

/// Waits as [`wait`] does, at most for `timeout`. That the time is over is no error: what was there by then
/// says so.
///
/// # Errors
/// As [`wait`].
pub fn wait_timeout<R>(
    results: &[AsyncResult<R>],
    until: WaitFor,
    timeout: Duration,
) -> Result<Waited, TaskError> {
    wait_until(results, until, Deadline::after(timeout))
}

fn wait_until<R>(
    results: &[AsyncResult<R>],
    until: WaitFor,
    deadline: Deadline,
) -> Result<Waited, TaskError> {
    let arrivals = Arc::new(Arrivals::default());
    for (place, result) in results.iter().enumerate() {
        result.tell(&arrivals, place)?;
    }
    let foreman = common_foreman(results.iter());
    let mut is_done = vec![false; results.len()];
    let mut left = results.len();
    let mut is_satisfied = false;
    while left > 0 {
        // What is there already counts also when it is satisfied.
        let limit = if is_satisfied { Deadline::PASSED } else { deadline };
        let arrived = next_arrival(foreman.as_deref(), &arrivals, limit);
        let Some(place) = arrived.map_err(|stopped| stopped.in_call_of(results[0].function()))? else {
            break;
        };
        is_done[place] = true;
        left -= 1;
        is_satisfied |= match until {
            WaitFor::FirstCompleted => true,
            WaitFor::FirstError => results[place].is_successful() == Some(false),
            WaitFor::All => false,
        };
    }
    let (done, not_done) = (0..results.len()).partition(|&place| is_done[place]);
    Ok(Waited { done, not_done })
}

/// The pool of the results, if they have one and the same.
fn common_foreman<'a, R: 'a>(results: impl IntoIterator<Item = &'a AsyncResult<R>>) -> Option<Arc<Foreman>> {
    let mut foremen = results.into_iter().map(AsyncResult::foreman);
    let first = foremen.next()?;
    foremen.all(|foreman| Arc::ptr_eq(foreman, first)).then(|| Arc::clone(first))
}

/// The place of the next result, for a thread that looks after the workers of its pool itself, for a moment.
fn next_arrival(
    foreman: Option<&Foreman>,
    arrivals: &Arrivals,
    deadline: Deadline,
) -> Result<Option<usize>, Stopped> {
    match (arrivals.try_pop(), foreman) {
        (Some(place), _) => Ok(Some(place)),
        (None, Some(foreman)) => foreman.wait_until(deadline, |_| arrivals.try_pop()),
        (None, None) => arrivals.pop(deadline),
    }
}

/// The results as they come: those that are there already first.
///
/// ```
/// use procession::Executor;
/// use procession::futures::as_completed;
/// use std::time::Duration;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let executor = Executor::new(2)?;
///     let sleep = |ms: u64| {
///         std::thread::sleep(Duration::from_millis(ms));
///         ms
///     };
///     let sleeps = [200, 1].map(|ms| executor.submit(sleep, ms));
///     let mut order = Vec::new();
///     for result in as_completed(sleeps) {
///         order.push(result?.get()?);
///     }
///     assert_eq!(order, [1, 200]);
///     Ok(())
/// }
/// ```
pub fn as_completed<R>(results: impl IntoIterator<Item = AsyncResult<R>>) -> AsCompleted<R> {
    let results: Vec<_> = results.into_iter().map(Some).collect();
    let arrivals = Arc::new(Arrivals::default());
    let mut foreign = None;
    for (place, result) in results.iter().flatten().enumerate() {
        foreign = foreign.or(result.tell(&arrivals, place).err());
    }
    let foreman = common_foreman(results.iter().flatten());
    AsCompleted { left: results.len(), results, arrivals, foreman, foreign, process: fork::cookie() }
}

/// An iterator over results as they come; made by [`as_completed`]. Dropping it drops those that have not
/// come.
///
/// A wait that is interrupted (`procession::interrupt`) is an element of its own, [`TaskError::Interrupted`];
/// the iteration can go on. In a forked child it ends with [`TaskError::Forked`].
#[must_use = "an iterator does nothing until it is asked for its next element"]
pub struct AsCompleted<R> {
    results: Vec<Option<AsyncResult<R>>>,
    arrivals: Arc<Arrivals>,
    left: usize,
    foreman: Option<Arc<Foreman>>,
    /// Why nothing will ever come.
    foreign: Option<TaskError>,
    /// The process that made this: a forked child is told nothing.
    process: u64,
}

impl<R> AsCompleted<R> {
    /// The next result, waited for at most for `timeout`; `None` if all have come.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`], with an item whose result has not come; otherwise as the elements.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<AsyncResult<R>>, TaskError> {
        let next = self.next_by(Deadline::after(timeout));
        let missing = || {
            let function = self.results.iter().flatten().next().map_or("", AsyncResult::function);
            TaskError::TimedOut { item: TaskItem { index: 0, function } }
        };
        match next {
            None => Ok(None),
            Some(Ok(Some(result))) => Ok(Some(result)),
            Some(Ok(None)) => Err(missing()),
            Some(Err(error)) => Err(error),
        }
    }

    fn next_by(&mut self, deadline: Deadline) -> Option<Result<Option<AsyncResult<R>>, TaskError>> {
        if self.left == 0 {
            return None;
        }
        if self.process != fork::cookie() {
            self.foreign = Some(TaskError::Forked);
        }
        if let Some(error) = self.foreign.take() {
            self.left = 0;
            return Some(Err(error));
        }
        let function = || self.results.iter().flatten().next().map_or("", AsyncResult::function);
        let place = match next_arrival(self.foreman.as_deref(), &self.arrivals, deadline) {
            Ok(Some(place)) => place,
            Ok(None) => return Some(Ok(None)),
            Err(stopped) => return Some(Err(stopped.in_call_of(function()))),
        };
        self.left -= 1;
        self.results.get_mut(place)?.take().map(|result| Ok(Some(result)))
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = Result<AsyncResult<R>, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_by(Deadline::NEVER)?.transpose()
    }
}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

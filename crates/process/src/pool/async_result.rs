//! The result of a call that is asked for later.

use super::callbacks::call_here;
use super::error::{Stopped, TaskError, TaskItem};
use super::foreman::Foreman;
use super::job::JobResult;
use super::watchers::{Arrivals, Callback, Watcher};
use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// The result of a call, once it is there; made by [`Pool::apply_async`](crate::Calls::apply_async),
/// [`Pool::map_async`](crate::Calls::map_async) and [`Executor::submit`](crate::Executor::submit).
///
/// Dropping it lets what is not begun go undone, and the rest be done for nobody, unless there is a callback,
/// or it was [detached](Self::detach).
///
/// It is a [`Future`] as well, in any async runtime, or in none: its task is woken by the pool's thread, and
/// nothing is lost if it is dropped half-way, but the work.
///
/// ```
/// use procession::Pool;
///
/// async fn sum(pool: &Pool) -> Result<u64, procession::TaskError> {
///     let first = pool.apply_async(|n: u64| n * n, 3);
///     let second = pool.apply_async(|n: u64| n * n, 4);
///     Ok(first.await? + second.await?)
/// }
/// ```
///
/// # If a process dies
/// The result is the error that says so; see [`TaskError`]. When this process is killed, the workers are too.
#[must_use = "the result is thrown away with this"]
pub struct AsyncResult<R> {
    foreman: Arc<Foreman>,
    /// The path of the function.
    function: &'static str,
    /// The pool's job, unless it took none.
    id: Option<u64>,
    /// The outcome, once it was taken from the pool.
    outcome: Option<JobResult>,
    decode: Decode<R>,
    /// Whether the work is done although nobody asks any more.
    is_detached: AtomicBool,
}

type Decode<R> = fn(&JobResult, &'static str) -> Result<R, TaskError>;

impl<R: DeserializeOwned + 'static> AsyncResult<R> {
    /// The result of one item.
    pub(crate) fn one(foreman: Arc<Foreman>, function: &'static str, job: Result<u64, TaskError>) -> Self {
        Self::new(foreman, function, job, |outcome, _| match outcome {
            JobResult::One(Ok(received)) => received.decode(),
            JobResult::One(Err(error)) => Err(error.clone()),
            JobResult::All(_) | JobResult::Shared(_) => Err(TaskError::Cancelled),
        })
    }
}

impl<R: DeserializeOwned + 'static> AsyncResult<Vec<R>> {
    /// The results of several items.
    pub(crate) fn all(foreman: Arc<Foreman>, function: &'static str, job: Result<u64, TaskError>) -> Self {
        Self::new(foreman, function, job, |outcome, function| match outcome {
            JobResult::All(collected) => collected.decode(function),
            JobResult::One(Err(error)) => Err(error.clone()),
            JobResult::One(Ok(_)) | JobResult::Shared(_) => Err(TaskError::Cancelled),
        })
    }
}

impl<R> AsyncResult<R> {
    fn new(
        foreman: Arc<Foreman>,
        function: &'static str,
        job: Result<u64, TaskError>,
        decode: Decode<R>,
    ) -> Self {
        let (id, outcome) = match job {
            Ok(id) => (Some(id), None),
            Err(error) => (None, Some(JobResult::One(Err(error)))),
        };
        Self { foreman, function, id, outcome, decode, is_detached: AtomicBool::new(false) }
    }

    /// Whether the result, or the error, is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_over = |id: u64| self.foreman.look().map_or(true, |crew| crew.jobs.is_over(id));
        self.outcome.is_some() || self.id.is_none_or(is_over)
    }

    /// Whether there is a result and no error; `None` while neither is there. A result that cannot be decoded
    /// here counts as one.
    #[must_use]
    pub fn is_successful(&self) -> Option<bool> {
        match (&self.outcome, self.id) {
            (Some(outcome), _) => Some(outcome.is_success()),
            // In a forked child neither will ever be there, which `get` says.
            (None, Some(id)) => self.foreman.look().ok()?.jobs.get(id)?.is_success(),
            (None, None) => None,
        }
    }

    /// Whether a worker has begun it and it is not there yet: it cannot be cancelled as a whole any more.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let is_running = |id: u64| self.foreman.look().is_ok_and(|crew| crew.is_running(id));
        self.outcome.is_none() && self.id.is_some_and(is_running)
    }

    /// Whether it, or an item of it, was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match (&self.outcome, self.id) {
            (Some(outcome), _) => outcome.is_cancelled(),
            (None, Some(id)) => {
                let crew = self.foreman.look();
                crew.is_ok_and(|crew| crew.jobs.get(id).is_some_and(|job| job.is_cancelled()))
            }
            (None, None) => false,
        }
    }

    /// Has the work done although nobody will ask for its result.
    pub fn detach(self) {
        self.is_detached.store(true, Ordering::Relaxed);
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
            self.outcome = self.foreman.wait_until(deadline, |crew| crew.jobs.take_outcome(id))?;
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
        self.decoded()
    }

    fn decoded(&self) -> Option<Result<R, TaskError>> {
        self.outcome.as_ref().map(|outcome| (self.decode)(outcome.inner(), self.function))
    }

    /// Has the thread told when the result is there; it is the result's place that it is told.
    pub(crate) fn tell(&self, thread: &Arc<Arrivals>, place: usize) -> Result<(), TaskError> {
        let is_there = match self.id.filter(|_| self.outcome.is_none()) {
            Some(id) => {
                let mut crew = self.foreman.look()?;
                crew.jobs.watch(id, Watcher::Thread(Arc::downgrade(thread), place)).is_some()
            }
            None => true,
        };
        if is_there {
            thread.push(place);
        }
        Ok(())
    }

    /// The pool that does the work.
    pub(crate) fn foreman(&self) -> &Arc<Foreman> {
        &self.foreman
    }

    /// The path of the function.
    pub(crate) fn function(&self) -> &'static str {
        self.function
    }
}

impl<R: 'static> AsyncResult<R> {
    /// Has `callback` called with the result, or the error, once that is there. It is called once, in a
    /// thread of the pool that runs callbacks one after the other, so it may wait, use the pool and drop it;
    /// or before this returns, if the result was got already, or in a forked child, where there is none. A panic in it
    /// ends it alone.
    ///
    /// With a callback, the work is done also if this is dropped. [`Pool::join`](crate::Pool::join) waits for
    /// the callbacks of what is done. The result is decoded anew for each callback; an end of a pipe in it
    /// goes to whoever gets it first.
    ///
    /// ```
    /// use procession::Pool;
    /// use std::sync::mpsc::channel;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let pool = Pool::new(2)?;
    ///     let (told, hears) = channel();
    ///     for n in 1..=3_u64 {
    ///         let told = told.clone();
    ///         pool.apply_async(|n: u64| n * n, n).add_done_callback(move |square| {
    ///             told.send(square.unwrap()).unwrap();
    ///         });
    ///     }
    ///     drop(told);
    ///     assert_eq!(hears.iter().sum::<u64>(), 14);
    ///     Ok(())
    /// }
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce(Result<R, TaskError>) + Send + 'static) {
        let (decode, function) = (self.decode, self.function);
        let callback: Callback = Box::new(move |outcome| callback(decode(outcome.inner(), function)));
        self.is_detached.store(true, Ordering::Relaxed);
        match (&self.outcome, self.id) {
            (Some(outcome), _) => call_here(callback, outcome),
            (None, Some(id)) => self.foreman.call_when_over(id, callback),
            (None, None) => {}
        }
    }

    /// Has `callback` called with the result, if there is one, as by
    /// [`add_done_callback`](Self::add_done_callback).
    pub fn on_success(&self, callback: impl FnOnce(R) + Send + 'static) {
        self.add_done_callback(|outcome| drop(outcome.map(callback)));
    }

    /// Has `callback` called with the error, if there is one, as by
    /// [`add_done_callback`](Self::add_done_callback).
    pub fn on_error(&self, callback: impl FnOnce(TaskError) + Send + 'static) {
        self.add_done_callback(|outcome| drop(outcome.map_err(callback)));
    }
}

/// Ready once the result, or the error, is there; it stays, and can be asked for again.
impl<R> Future for AsyncResult<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.outcome.is_none()
            && let Some(id) = self.id
        {
            let foreman = Arc::clone(&self.foreman);
            let Ok(mut crew) = foreman.look() else { return Poll::Ready(Err(TaskError::Forked)) };
            self.outcome = crew.jobs.take_outcome(id);
            if self.outcome.is_none() {
                drop(crew.jobs.watch(id, Watcher::Task(context.waker().clone())));
            }
        }
        self.decoded().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<R> Drop for AsyncResult<R> {
    fn drop(&mut self) {
        match self.id.filter(|_| self.outcome.is_none()) {
            Some(id) if *self.is_detached.get_mut() => self.foreman.detach(id),
            Some(id) => self.foreman.abandon(id),
            None => {}
        }
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.is_ready()).finish()
    }
}

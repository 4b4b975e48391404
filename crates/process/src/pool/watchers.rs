//! Who is to be told that a job is over, without a thread that waits for that job alone.
//!
//! What is told under the pool's lock is told by code of ours ([`Arrivals`]). Code of the user's never runs
//! under it: a task of an async program is woken by the pool's thread, and callbacks run in a thread of their
//! own, so that one that blocks keeps neither the pool nor a task waiting.

use super::error::Stopped;
use super::job::JobResult;
use procession_sys::futex::{self, Waited};
use procession_sys::{Deadline, interrupt};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;

/// What a callback is given.
pub(crate) type Callback = Box<dyn FnOnce(&JobResult) + Send>;

/// One who is to be told.
pub(crate) enum Watcher {
    /// A task of an async program.
    Task(Waker),
    Callback(Callback),
    /// A thread that waits for several results, if it still does; the number is the job's place among them.
    Thread(Weak<Arrivals>, usize),
}

impl Watcher {
    /// Whether it is of no use any more, if a `task` has just asked.
    pub(crate) fn is_gone(&self, task: bool) -> bool {
        match self {
            // Only the last one that asked is to be woken.
            Self::Task(_) => task,
            Self::Callback(_) => false,
            Self::Thread(arrivals, _) => arrivals.strong_count() == 0,
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task(_) => "Task",
            Self::Callback(_) => "Callback",
            Self::Thread(..) => "Thread",
        })
    }
}

/// What is to be done once the pool's lock is open.
pub(crate) enum Duty {
    Wake(Waker),
    Call(Callback, Arc<JobResult>),
}

/// What is to be done once the pool's lock is open, by the pool's thread.
#[derive(Default)]
pub(crate) struct Due {
    duties: Mutex<Vec<Duty>>,
    /// Whether there may be any: read each time that something was done.
    is_any: AtomicBool,
}

impl Due {
    pub(crate) fn push(&self, duty: Duty) {
        self.duties.lock().unwrap_or_else(PoisonError::into_inner).push(duty);
        // Relaxed: written and read under the pool's lock.
        self.is_any.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Vec<Duty> {
        self.is_any.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.duties.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Due").field("is_any", &self.is_any()).finish_non_exhaustive()
    }
}

/// The places of the results that are there, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    places: Mutex<VecDeque<usize>>,
    count: AtomicU32,
}

impl Arrivals {
    pub(crate) fn push(&self, place: usize) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).push_back(place);
        // Relaxed: it only ends a sleep; what has come is read under the lock.
        self.count.fetch_add(1, Ordering::Relaxed);
        futex::wake_all(&self.count);
    }

    pub(crate) fn try_pop(&self) -> Option<usize> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The next place; `None` if there was none until `deadline`.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`].
    pub(crate) fn pop(&self, deadline: Deadline) -> Result<Option<usize>, Stopped> {
        let mut is_interrupted = false;
        loop {
            let seen = self.count.load(Ordering::Relaxed);
            if let Some(place) = self.try_pop() {
                return Ok(Some(place));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            if is_interrupted {
                return Err(Stopped::Interrupted);
            }
            let waited = futex::wait(&self.count, seen, interrupt::slice(deadline));
            is_interrupted = matches!(waited, Waited::Signaled | Waited::TimedOut) && interrupt::is_wanted();
        }
    }
}

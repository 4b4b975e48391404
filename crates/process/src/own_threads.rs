//! The threads of ours that rest: they hold nothing, so that a copy of the process misses nothing of theirs.
//!
//! The start method `fork` is refused to a process with other threads, because one of them may be in the middle
//! of something. Of our own it is known that they are not, once they have said so here: a watcher as it goes to
//! sleep for good, the thread of a test harness that waits for the end of the test. A thread that starts
//! processes ([`starter`](crate::starter)) is at rest while its desk is locked by somebody else.

use procession_sys::{PerProcess, thread_id};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
struct Resting {
    /// Those of a test harness.
    others: Mutex<Vec<u32>>,
    /// The watcher, or 0. It is one number, because the watcher is not to allocate.
    watcher: AtomicU32,
    /// Whether a watcher has begun and will rest in a moment.
    is_expected: AtomicBool,
}

static RESTING: PerProcess<Resting> = PerProcess::new(Resting::default);

/// Announces the watcher, which will rest soon.
pub(crate) fn expect_watcher() {
    RESTING.get().is_expected.store(true, Ordering::Release);
}

/// Says that the calling thread, which is the watcher, does nothing from here on but sleep.
pub(crate) fn rest() {
    let resting = RESTING.get();
    resting.watcher.store(thread_id(), Ordering::Release);
    resting.is_expected.store(false, Ordering::Release);
}

/// Takes all threads but the calling one for resting: a test harness that waits for its end.
pub(crate) fn all_others_rest() {
    let others = procession_sys::forking::other_threads().unwrap_or_default();
    RESTING.get().others.lock().unwrap_or_else(PoisonError::into_inner).extend(others);
}

/// The threads that rest; `None` while one is about to.
pub(crate) fn at_rest() -> Option<Vec<u32>> {
    let resting = RESTING.get();
    if resting.is_expected.load(Ordering::Acquire) {
        return None;
    }
    let mut threads = resting.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
    threads.push(resting.watcher.load(Ordering::Acquire));
    Some(threads)
}

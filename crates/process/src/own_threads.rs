//! The threads of ours that rest: they hold nothing, so that a copy of the process misses nothing of theirs.
//!
//! The start method `fork` is refused to a process with other threads, because one of them may be in the middle
//! of something. Of our own it is known that they are not, once they have said so here: a watcher as it goes to
//! sleep for good, the thread of a test harness that waits for the end of the test. A thread that starts
//! processes ([`starter`](crate::starter)) is at rest while its desk is locked by somebody else.

use procession_sys::{PerProcess, thread_id};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Resting {
    threads: Vec<u32>,
    /// How many have begun and will rest in a moment.
    expected: usize,
}

static RESTING: PerProcess<Mutex<Resting>> = PerProcess::new(Mutex::default);

fn resting() -> MutexGuard<'static, Resting> {
    RESTING.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// Announces a thread that will rest soon.
pub(crate) fn expect_one() {
    resting().expected += 1;
}

/// Says that the calling thread, which was announced, does nothing from here on but sleep.
pub(crate) fn rest() {
    let mut resting = resting();
    resting.expected = resting.expected.saturating_sub(1);
    resting.threads.push(thread_id());
}

/// Takes all threads but the calling one for resting: a test harness that waits for its end.
pub(crate) fn all_others_rest() {
    let others = procession_sys::forking::other_threads().unwrap_or_default();
    resting().threads.extend(others);
}

/// The threads that rest; `None` while some are about to.
pub(crate) fn at_rest() -> Option<Vec<u32>> {
    let resting = resting();
    (resting.expected == 0).then(|| resting.threads.clone())
}

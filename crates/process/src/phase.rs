//! How far this process has come on its way from the start of the program to its own work.
//!
//! # Orderings
//! Edge `phase.begun`: the Release that begins a phase meets the Acquire of a thread that asks for it, and
//! then sees what was set up before.

use procession_sys::Latest;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, ThreadId};

static PHASE: AtomicU8 = AtomicU8::new(Phase::New as u8);
static CHILD_THREAD: Latest<ThreadId> = Latest::none();

/// How far this process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `init` was not called.
    New,
    /// A child that has not decoded its arguments yet.
    Bootstrapping,
    /// Children may be started.
    Ready,
}

impl Phase {
    /// Says that this process has come so far.
    pub(crate) fn begin(self) {
        // SYNC: phase.begun.
        PHASE.store(self as u8, Ordering::Release);
    }

    /// Whether this process is in this phase now.
    pub(crate) fn is_now(self) -> bool {
        // SYNC: phase.begun.
        PHASE.load(Ordering::Acquire) == self as u8
    }
}

/// Says that the calling thread is the one that runs a child's function.
pub(crate) fn become_child_thread() {
    CHILD_THREAD.set(thread::current().id());
}

/// The thread that runs the function, in a child.
pub(crate) fn child_thread() -> Option<ThreadId> {
    CHILD_THREAD.get().copied()
}

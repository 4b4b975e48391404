//! What can go wrong with a pool, and with one item given to it.

use crate::error::{STATUS_LOST, SpawnError, at, fmt_backtrace, in_full};
use crate::label::ProcessLabel;
use crate::panicked::Panic;
use procession_channel::codec::{DecodeError, EncodeError};
use procession_shm::{OpenError, debug_as_text, fmt_with_causes};
use procession_sys::signals;
use std::fmt;
use std::io;
use std::time::Duration;

const FORKED: &str = "this process was forked from the one that made the pool, and the workers belong to that one: \
    make the pool after the fork";

/// Why a pool could not be started or used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool of no workers would never finish anything.
    #[error("a pool needs at least one worker: processes(0) was asked for")]
    NoWorkers,
    /// Workers that are given nothing would never finish anything.
    #[error(
        "a worker needs to be given at least one item: max_tasks_per_child(0) or chunk_size(0) was asked for"
    )]
    NoTasks,
    /// A worker could not be started.
    #[error("a worker of the pool could not be started")]
    Spawn(#[from] SpawnError),
    /// The memory shared with a worker could not be made.
    #[error("the memory shared with a worker of the pool could not be made")]
    Memory(#[from] OpenError),
    /// The kernel refused something else: a descriptor, a thread.
    #[error("the pool could not be set up")]
    Kernel(#[from] io::Error),
    /// The initializer or its arguments cannot be handed to a worker.
    #[error("no worker can run the initializer {function}: {reason}")]
    Initializer {
        /// The path of the initializer.
        function: &'static str,
        /// Why.
        reason: String,
    },
    /// The pool is closed or terminated: no worker is started any more.
    #[error("the pool is closed: make another one")]
    Closed,
    /// The pool is broken, as [`TaskError::Broken`] says of every item.
    #[error("the pool is broken, and no worker of it can be started any more: {reason}")]
    Broken {
        /// Why.
        reason: String,
    },
    /// `join` before `close` or `terminate`: it would wait for ever.
    #[error("the pool is still open: call close() or terminate() before join()")]
    StillOpen,
    /// This process was forked from the one that made the pool, which alone can use it.
    #[error("{FORKED}")]
    Forked,
    /// A hook of this thread wanted the wait to end (`procession::interrupt`); `join` can be called again.
    #[error("the wait for the workers of the pool to leave was interrupted: they leave all the same")]
    Interrupted,
    /// Workers of a terminated pool do not end: they have become another user's, so that this process may not
    /// signal them, or they hang inside the kernel. They are given up, and end with this process.
    #[error("workers {pids:?} could not be ended: they are another user's now, or hang inside the kernel")]
    NotEnded {
        /// Which processes.
        pids: Vec<u32>,
    },
}

debug_as_text!(PoolError);

/// An item as errors name it: `item 7 of app::square`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskItem {
    /// Its number among the items of the call, from 0.
    pub index: usize,
    /// The path of the function that it was an item for.
    pub function: &'static str,
}

impl fmt::Display for TaskItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} of {}", self.index, self.function)
    }
}

/// Why there is no result for one item.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker was killed while it ran the item, as often as the pool was allowed to try it.
    #[error("{item}: its worker, {worker}, was killed by {}", signals::words(*signal))]
    WorkerDied {
        /// Which item.
        item: TaskItem,
        /// The worker of the last try.
        worker: ProcessLabel,
        /// What killed it.
        signal: i32,
    },
    /// The worker ended while it ran the item, and nobody can learn how, as
    /// [`ProcessError::StatusLost`](crate::ProcessError::StatusLost) says.
    #[error("{item}: its worker, {worker}, ended, and {STATUS_LOST}")]
    WorkerLost {
        /// Which item.
        item: TaskItem,
        /// The worker of the last try.
        worker: ProcessLabel,
    },
    /// The worker exited while it ran the item: the function called `std::process::exit`.
    #[error("{item}: its worker, {worker}, exited with code {code}")]
    WorkerExited {
        /// Which item.
        item: TaskItem,
        /// The worker of the last try.
        worker: ProcessLabel,
        /// Its exit code.
        code: i32,
    },
    /// The item took longer than the pool, or the call, allows: its worker was killed.
    #[error("{item} took longer than {timeout:?}: its worker, {worker}, was killed")]
    TooSlow {
        /// Which item.
        item: TaskItem,
        /// The worker of the last try.
        worker: ProcessLabel,
        /// How long the item was allowed to take.
        timeout: Duration,
    },
    /// The function panicked. The worker goes on; a panic is not tried again.
    #[error("{item} panicked in {worker}{}: {message}", at(location))]
    Panicked {
        /// Which item.
        item: TaskItem,
        /// The worker that ran it.
        worker: ProcessLabel,
        /// What the panic said.
        message: String,
        /// `file:line:column`.
        location: Option<String>,
        /// The worker's stack, where `RUST_BACKTRACE` asks for it; see
        /// [`ProcessError::Panicked`](crate::ProcessError::Panicked).
        backtrace: Option<String>,
    },
    /// Worker after worker ended before it began any item of this call: while it decoded the state of
    /// [`map_with`](crate::Calls::map_with), for example.
    #[error("worker after worker ended before it began an item of {function}: {reason}")]
    NeverBegun {
        /// The path of the function.
        function: &'static str,
        /// When, and how the last one ended.
        reason: String,
    },
    /// The item could not be turned into bytes.
    #[error("{item} cannot be encoded: {reason}")]
    Encode {
        /// Which item.
        item: TaskItem,
        /// What is wrong with it.
        reason: String,
    },
    /// The state of [`map_with`](crate::Calls::map_with) could not be turned into bytes.
    #[error("the state for {function} cannot be encoded: {reason}")]
    EncodeState {
        /// The path of the function.
        function: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The item's bytes are no value of its type: its `Serialize` and its `Deserialize` disagree, or a handle
    /// in it leads to an object that is gone.
    #[error("{item}: {worker} cannot decode the item: {reason}")]
    Undecodable {
        /// Which item.
        item: TaskItem,
        /// The worker that was to run it.
        worker: ProcessLabel,
        /// What is wrong with it.
        reason: String,
    },
    /// The function has returned, and the result could not be turned into bytes.
    #[error("{item}: {worker} cannot encode the result: {reason}")]
    Unencodable {
        /// Which item.
        item: TaskItem,
        /// The worker that has run it.
        worker: ProcessLabel,
        /// What is wrong with the result.
        reason: String,
    },
    /// The worker did not run the item: it cannot decode the state of [`map_with`](crate::Calls::map_with),
    /// for example.
    #[error("{item} was refused by {worker}: {reason}")]
    Refused {
        /// Which item.
        item: TaskItem,
        /// The worker that was to run it.
        worker: ProcessLabel,
        /// What the worker said.
        reason: String,
    },
    /// The result's bytes are no value of the result's type.
    #[error("{item}: the result of {worker} cannot be decoded: {reason}")]
    Decode {
        /// Which item.
        item: TaskItem,
        /// The worker that has run it.
        worker: ProcessLabel,
        /// What is wrong with them.
        reason: String,
    },
    /// The pool was terminated before the item was done, or the item was cancelled before a worker had begun
    /// it.
    #[error("the item was not done: the pool was terminated, or the item was cancelled")]
    Cancelled,
    /// The pool was closed before the item was given to it.
    #[error("the pool is closed, and takes no more work: make another one")]
    Closed,
    /// The function is in a shared library, where no worker can find it.
    #[error("no worker can run the function: {reason}")]
    NotRunnable {
        /// Why.
        reason: String,
    },
    /// No worker can be started any more.
    #[error("the pool is broken, and no worker of it can be started any more: {reason}")]
    Broken {
        /// Why.
        reason: String,
    },
    /// The result is not there yet.
    #[error("{item} has no result yet")]
    WouldBlock {
        /// Which item.
        item: TaskItem,
    },
    /// The result was not there until the timeout; it may still come.
    #[error("{item} had no result until the timeout")]
    TimedOut {
        /// Which item.
        item: TaskItem,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for results of {function} was interrupted")]
    Interrupted {
        /// The path of the function.
        function: &'static str,
    },
    /// This process was forked from the one that made the pool, which alone can use it.
    #[error("{FORKED}")]
    Forked,
    /// This process has become another user since it made the pool, whose workers are still the former's.
    #[error(
        "this process was user {was} when it made the pool and is user {now} now, and the workers are still user {was}'s: \
         make the pool after the change"
    )]
    UserChanged {
        /// The effective user id when the pool was made.
        was: u32,
        /// The effective user id now.
        now: u32,
    },
}

/// Why a wait has ended without an answer and before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// This is a forked child of the process that made the pool.
    Forked,
    /// A hook of this thread wanted the wait to end.
    Interrupted,
}

impl Stopped {
    /// As an error of a call that runs `function`.
    pub(crate) fn in_call_of(self, function: &'static str) -> TaskError {
        match self {
            Self::Forked => TaskError::Forked,
            Self::Interrupted => TaskError::Interrupted { function },
        }
    }
}

impl From<Stopped> for PoolError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Forked => Self::Forked,
            Stopped::Interrupted => Self::Interrupted,
        }
    }
}

impl TaskError {
    pub(crate) fn panicked(item: TaskItem, worker: ProcessLabel, panic: Panic) -> Self {
        let Panic { message, location, backtrace } = panic;
        Self::Panicked { item, worker, message, location, backtrace }
    }

    pub(crate) fn encode(item: TaskItem, error: &EncodeError) -> Self {
        Self::Encode { item, reason: in_full(error) }
    }

    pub(crate) fn decode(item: TaskItem, worker: &ProcessLabel, error: &DecodeError) -> Self {
        Self::Decode { item, worker: worker.running(item.function), reason: in_full(error) }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_causes(self, f)?;
        match self {
            Self::Panicked { backtrace, .. } => fmt_backtrace(backtrace, f),
            _ => Ok(()),
        }
    }
}

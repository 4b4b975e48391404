//! What can go wrong with a pool, and with one item given to it.

use crate::error::{SpawnError, at, in_full};
use crate::report::Panic;
use procession_channel::codec::{DecodeError, EncodeError};
use procession_shm::OpenError;
use std::io;

const FORKED: &str = "this process was forked from the one that made the pool, and the workers belong to that one: \
    make the pool after the fork";

/// Why a pool could not be started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool of no workers would never finish anything.
    #[error("a pool needs at least one worker: processes(0) was asked for")]
    NoWorkers,
    /// A worker could not be started.
    #[error("a worker of the pool could not be started")]
    Spawn(#[from] SpawnError),
    /// The memory shared with a worker could not be made.
    #[error("the memory shared with a worker of the pool could not be made")]
    Memory(#[from] OpenError),
    /// The kernel refused something else: a descriptor, a thread.
    #[error("the pool could not be set up")]
    Kernel(#[from] io::Error),
    /// `join` before `close` or `terminate`: it would wait for ever.
    #[error("the pool is still open: call close() or terminate() before join()")]
    StillOpen,
    /// This process was forked from the one that made the pool, which alone can use it.
    #[error("{FORKED}")]
    Forked,
    /// Workers of a terminated pool do not end: they have become another user's, so that this process may not signal them, or
    /// they hang inside the kernel. They are given up, and end with this process.
    #[error("workers {pids:?} could not be ended: they are another user's now, or hang inside the kernel")]
    NotEnded {
        /// Which processes.
        pids: Vec<u32>,
    },
}

/// Why there is no result for one item.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker was killed while it ran the item, as often as the pool was allowed to try it.
    #[error("item {index}: signal {signal} killed its worker (pid {pid})")]
    WorkerDied {
        /// The worker of the last try.
        pid: u32,
        /// What killed it; 0 if its exit status was lost.
        signal: i32,
        /// Which item, counted from 0.
        index: usize,
    },
    /// The worker exited while it ran the item: the function called `std::process::exit`.
    #[error("item {index}: its worker (pid {pid}) exited with code {code}")]
    WorkerExited {
        /// The worker of the last try.
        pid: u32,
        /// Its exit code.
        code: i32,
        /// Which item, counted from 0.
        index: usize,
    },
    /// The function panicked. The worker goes on; a panic is not tried again.
    #[error("item {index}: the function panicked{}: {message}", at(location))]
    Panicked {
        /// Which item, counted from 0.
        index: usize,
        /// What the panic said.
        message: String,
        /// `file:line:column`.
        location: Option<String>,
        /// The worker's stack.
        backtrace: Option<String>,
    },
    /// Worker after worker ended before it began any item of this call: while it decoded the state of
    /// [`map_with`](crate::Pool::map_with), for example.
    #[error("worker after worker ended before it began an item: {reason}")]
    NeverBegun {
        /// When, and how the last one ended.
        reason: String,
    },
    /// The item or the state could not be turned into bytes.
    #[error("item {index} cannot be encoded: {reason}")]
    Encode {
        /// Which item, counted from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The worker could not hand back the result, or could not make the item out of its bytes.
    #[error("item {index}: {reason}")]
    Refused {
        /// Which item, counted from 0.
        index: usize,
        /// What the worker said.
        reason: String,
    },
    /// The result's bytes are no value of the result's type.
    #[error("item {index}: the result cannot be decoded: {reason}")]
    Decode {
        /// Which item, counted from 0.
        index: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// The pool was terminated before the item was done.
    #[error("the pool was terminated before the item was done")]
    Cancelled,
    /// The pool was closed before the item was given to it.
    #[error("the pool is closed: it takes no more work")]
    Closed,
    /// No worker can be started any more.
    #[error("the pool is broken: {reason}")]
    Broken {
        /// Why.
        reason: String,
    },
    /// The result was not there until the timeout; it may still come.
    #[error("the result was not there until the timeout")]
    TimedOut,
    /// This process was forked from the one that made the pool, which alone can use it.
    #[error("{FORKED}")]
    Forked,
}

impl TaskError {
    pub(crate) fn panicked(index: usize, panic: Panic) -> Self {
        let Panic { message, location, backtrace } = panic;
        Self::Panicked { index, message, location, backtrace }
    }

    pub(crate) fn encode(index: usize, error: &EncodeError) -> Self {
        Self::Encode { index, reason: in_full(error) }
    }

    pub(crate) fn decode(index: usize, error: &DecodeError) -> Self {
        Self::Decode { index, reason: in_full(error) }
    }
}

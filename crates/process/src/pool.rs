//! Processes that run a function on many items.
//!
//! The caller's thread encodes items and gives them to workers under the pool's lock; results come back in
//! shared memory (`link.rs`). A thread that waits looks after the outboxes itself for a moment, which spares
//! two thread switches for a short task; after that, and for everything else, one thread of the pool sleeps
//! until a worker rings or ends.
//!
//! # If a process dies
//! A worker: see `link.rs`. The pool's own process: its workers are killed with it, like every child.

mod async_result;
mod batch;
mod callbacks;
mod calls;
mod crew;
mod duties;
mod error;
mod executor;
mod foreman;
pub mod futures;
mod initial;
mod job;
mod jobs;
mod link;
mod losses;
mod options;
mod plan;
mod progress;
mod results;
mod runner;
mod view;
mod watch;
mod watchers;
mod wire;
mod work;
mod worker;

pub use async_result::AsyncResult;
pub use calls::Calls;
pub use error::{PoolError, TaskError, TaskItem};
pub use executor::Executor;
pub use initial::Initialized;
pub use options::PoolOptions;
pub use progress::Progress;
pub use results::{Imap, ImapUnordered};

use crew::{Crew, PoolState, can_have};
use foreman::Foreman;
use procession_sys::interrupt;
use std::ops::Deref;
use std::sync::Arc;

/// Worker processes that run functions on items.
///
/// A function is any function or closure that captures nothing; items and results are any serde types that
/// own what they are made of. When a worker is killed, only the item it was running is lost (or tried again,
/// see [`PoolOptions::retries`]); everything else is done by the other workers, and the worker is replaced.
/// Dropping the pool cancels what has no result, and lets the workers leave by themselves, which writes out
/// what they have printed and runs what they have registered for their exit; those that are in an item and
/// need longer than a second for it are terminated.
///
/// A pool belongs to the process that made it. In a forked child (a daemon, for instance) every call says so
/// at once, by [`TaskError::Forked`] or [`PoolError::Forked`], and `close` and `terminate` do nothing: make
/// the pool after the fork.
///
/// Calls that wait can be interrupted (`procession::interrupt`). An interrupted [`map`](crate::Calls::map) or
/// [`apply`](crate::Calls::apply) has no results: items that no worker has begun are not run, those that
/// workers are running are finished for nobody, and the pool goes on.
///
/// ```
/// use procession::Pool;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let pool = Pool::new(2)?;
///     assert_eq!(pool.map(square, 1..=4)?, [1, 4, 9, 16]);
///     assert_eq!(pool.apply(|(a, b): (u8, u8)| a + b, (2, 3))?, 5);
///     Ok(())
/// }
/// ```
///
/// A closure that captures something is refused when the program is built:
///
/// ```compile_fail
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let factor = 3_u64;
///     procession::Pool::new(2)?.map(move |n: u64| n * factor, 0..10_u64)?;
///     Ok(())
/// }
/// ```
///
/// The data that it needs goes beside the items instead:
///
/// ```
/// use procession::Pool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let pool = Pool::new(1)?;
///     let factor = 3_u64;
///     assert_eq!(pool.map_with(&factor, |factor, n: u64| n * factor, [1, 2])?, [3, 6]);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Pool {
    calls: Calls,
    foreman: Arc<Foreman>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pool {
    /// A pool of so many workers. Where it is to have one for each CPU, say `Pool::options().start()`.
    ///
    /// # Errors
    /// As [`PoolOptions::start`].
    pub fn new(processes: usize) -> Result<Self, PoolError> {
        Self::options().processes(processes).start()
    }

    /// Options for a new pool, which without any has one worker for each CPU that this process may use.
    ///
    /// ```
    /// use procession::Pool;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let pool = Pool::options().retries(3).name("counter").start()?;
    ///     assert_eq!(pool.map(|word: String| word.len(), ["a".to_owned(), "be".to_owned()])?, [1, 2]);
    ///     Ok(())
    /// }
    /// ```
    pub fn options() -> PoolOptions {
        PoolOptions::new()
    }

    /// The pids of the workers that are there now; none in a forked child.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        let pids = |crew: &Crew| crew.workers.iter().flatten().map(|worker| worker.process.pid()).collect();
        self.foreman.enter().map_or_else(|_| Vec::new(), |crew| pids(&crew))
    }

    /// Changes how many workers there are, while they work. Those that are missing are started by a thread of
    /// the pool; those that are too many leave when they have done what they are at.
    ///
    /// ```
    /// use procession::Pool;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let pool = Pool::new(1)?;
    ///     let mut squares = pool.map_async(|n: u64| n * n, 0..1000);
    ///     pool.resize(3)?;
    ///     assert_eq!(squares.get()?.len(), 1000);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`PoolError::NoWorkers`]; [`PoolError::Kernel`] for more workers than Linux has processes;
    /// [`PoolError::Closed`] after [`close`](Self::close) or [`terminate`](Self::terminate); [`PoolError::Broken`];
    /// [`PoolError::Forked`] in a forked child.
    pub fn resize(&self, processes: usize) -> Result<(), PoolError> {
        can_have(processes)?;
        self.foreman.resize(processes)
    }

    /// How far the pool has come with all that it was ever given; nothing in a forked child.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.foreman.look().map_or_else(|_| Progress::default(), |crew| crew.progress())
    }

    /// Takes no more work; the workers leave when they have done what they were given, and what calls that
    /// are under way still give them.
    pub fn close(&self) {
        let Ok(mut crew) = self.foreman.enter() else { return };
        if crew.state == PoolState::Open {
            crew.state = PoolState::Closed;
        }
        drop(crew);
        drop(self.foreman.look());
        self.foreman.ring();
    }

    /// Cancels what no worker has begun, of every call; the pool goes on. After [`close`](Self::close), that is also what
    /// calls that are under way would still give it.
    pub fn cancel_all(&self) {
        self.foreman.cancel_all();
    }

    /// Ends all work now: the workers are sent SIGTERM, and SIGKILL a second later; everything that has no
    /// result yet is [`TaskError::Cancelled`]. It waits for that second, at most, and is not interrupted.
    pub fn terminate(&self) {
        let Ok(mut crew) = self.foreman.enter() else { return };
        crew.terminate();
        drop(crew);
        self.foreman.terminate_workers();
    }

    /// Waits until every worker of a closed or terminated pool has ended, and every callback has run. The workers of a
    /// closed pool stay for what calls still give them: an iterator of [`imap`](crate::Calls::imap) that is neither at its
    /// end nor dropped keeps this waiting.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`] before [`close`](Self::close) or [`terminate`](Self::terminate);
    /// [`PoolError::Forked`] in a forked child; [`PoolError::NotEnded`] if workers of a terminated pool could
    /// not be ended; [`PoolError::Broken`] if the pool was broken; [`PoolError::Interrupted`] for a thread
    /// with a hook, which can call `join` again.
    pub fn join(&mut self) -> Result<(), PoolError> {
        self.await_end(true)
    }

    fn await_end(&mut self, called: bool) -> Result<(), PoolError> {
        let state = self.foreman.enter().map_err(|_| PoolError::Forked)?.state;
        if state == PoolState::Open {
            return Err(PoolError::StillOpen);
        }
        if self.thread.is_some() {
            self.foreman.await_end(called)?;
        }
        if let Some(thread) = self.thread.take() {
            // The thread runs no code that panics; if it did, the workers end with this process all the same.
            drop(thread.join());
        }
        let pids = self.foreman.left();
        if !pids.is_empty() {
            return Err(PoolError::NotEnded { pids });
        }
        let broken = self.foreman.enter().map_err(|_| PoolError::Forked)?.broken.clone();
        broken.map_or(Ok(()), |reason| Err(PoolError::Broken { reason }))
    }
}

/// A pool is used by its calls.
impl Deref for Pool {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.calls
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.foreman.is_foreign() {
            // A forked child only inherited the pool: its parent's workers and its parent's thread.
            std::mem::forget(self.thread.take());
        } else if self.thread.is_some() {
            let _deferred = interrupt::defer();
            self.foreman.let_go();
            self.terminate();
            // A callback may wait for whoever drops this.
            drop(self.await_end(false));
        }
    }
}

//! Processes that run a function on many items.
//!
//! The caller's thread encodes items and gives them to workers under the pool's lock; results come back in
//! shared memory (`link.rs`). A thread that waits looks after the outboxes itself for a moment, which spares
//! two thread switches for a short task; after that, and for everything else, one thread of the pool sleeps
//! until a worker rings or ends.
//!
//! # If a process dies
//! A worker: see `link.rs`. The pool's own process: its workers are killed with it, like every child.

mod batch;
mod crew;
mod error;
mod foreman;
mod job;
mod link;
mod results;
mod runner;
mod wire;
mod work;
mod worker;

pub use error::{PoolError, TaskError, TaskItem};
pub use results::{AsyncResult, Imap, ImapUnordered};

use crate::crossing::Crossing;
use crate::function::Function;
use crew::{Crew, PoolState};
use foreman::Foreman;
use procession_sys::interrupt;
use std::any::type_name;
use std::sync::Arc;
use work::{plain, stateful};

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
/// Calls that wait can be interrupted (`procession::interrupt`). An interrupted [`map`](Self::map) or
/// [`apply`](Self::apply) has no results: items that no worker has begun are not run, those that workers are
/// running are finished for nobody, and the pool goes on.
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
    foreman: Arc<Foreman>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// How a [`Pool`] is to be started; made by [`Pool::options`].
#[derive(Clone, Debug)]
#[must_use = "options start nothing until `start`"]
pub struct PoolOptions {
    processes: Option<usize>,
    retries: u32,
    name: String,
}

impl PoolOptions {
    /// How many workers; one for each CPU that this process may use unless said.
    pub fn processes(mut self, count: usize) -> Self {
        self.processes = Some(count);
        self
    }

    /// How often an item whose worker was killed, or exited, is tried again; 0 unless said. An item that was
    /// begun and not finished may have had effects: allow retries only for functions that can bear to run
    /// twice.
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// The name of the pool, after which the workers are called `name-1`, `name-2`, …; `PoolWorker` unless
    /// said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the workers. It does not wait until they have come up.
    ///
    /// # Errors
    /// [`PoolError::NoWorkers`], and whatever keeps the first workers from being started.
    pub fn start(self) -> Result<Pool, PoolError> {
        let workers = self.processes.unwrap_or(procession_sys::cpu::available() as usize);
        if workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        let foreman = Arc::new(Foreman::new(workers, self.retries, self.name)?);
        let thread = match foreman.start_all() {
            Ok(()) => {
                let foreman = Arc::clone(&foreman);
                std::thread::Builder::new().name("procession-pool".to_owned()).spawn(move || foreman.run())
            }
            Err(error) => {
                foreman.kill_all();
                return Err(error);
            }
        };
        match thread {
            Ok(thread) => Ok(Pool { foreman, thread: Some(thread) }),
            Err(error) => {
                foreman.kill_all();
                Err(error.into())
            }
        }
    }
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
        PoolOptions { processes: None, retries: 0, name: "PoolWorker".to_owned() }
    }

    /// Runs `f` on every item and returns the results in the order of the items.
    ///
    /// # Errors
    /// When everything has been run: the error of the first item, in the order of the items, that has one.
    /// Before that: [`TaskError::Interrupted`] for a thread with a hook, and what the pool as a whole says
    /// ([`TaskError::Closed`] and the like).
    pub fn map<F, A, R, I>(&self, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        let work = plain::<F, A, fn(A) -> R>(f)?;
        self.foreman.collect(work, items)?.decode(type_name::<F>())
    }

    /// Runs `f` on every item as [`map`](Self::map) does; an item is a tuple of `f`'s arguments.
    ///
    /// ```
    /// use procession::Pool;
    ///
    /// fn power(base: u64, exponent: u32) -> u64 {
    ///     base.pow(exponent)
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     assert_eq!(Pool::new(2)?.starmap(power, [(2, 3), (3, 2)])?, [8, 9]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, A, M, I>(&self, f: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
        I: IntoIterator<Item = A>,
    {
        self.foreman.collect(plain::<F, A, M>(f)?, items)?.decode(type_name::<F>())
    }

    /// Runs `f` on every item, and returns for each what became of it, in the order of the items: one that has
    /// killed its worker costs its own result alone.
    ///
    /// ```
    /// use procession::{Pool, TaskError};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let invert = |n: i32| if n == 0 { std::process::abort() } else { 12 / n };
    ///     let inverted = Pool::new(2)?.try_map(invert, [1, 0, 3])?;
    ///     assert!(matches!(inverted[..], [Ok(12), Err(TaskError::WorkerDied { .. }), Ok(4)]));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// What the pool as a whole says ([`TaskError::Closed`] and the like), and [`TaskError::Interrupted`] for
    /// a thread with a hook.
    pub fn try_map<F, A, R, I>(&self, f: F, items: I) -> Result<Vec<Result<R, TaskError>>, TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        let work = plain::<F, A, fn(A) -> R>(f)?;
        Ok(self.foreman.collect(work, items)?.decode_each(type_name::<F>()))
    }

    /// Runs `f(&state, item)` on every item, as [`map`](Self::map) does; every worker is given the state
    /// once.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_with<F, S, A, R, I>(&self, state: &S, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(&S, A) -> R + Copy + 'static,
        S: Crossing + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        self.foreman.collect(stateful(state, f)?, items)?.decode(type_name::<F>())
    }

    /// Has `f` run on every item; all results can be asked for later. The items are taken and encoded before
    /// this returns.
    ///
    /// ```
    /// use procession::Pool;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let pool = Pool::new(2)?;
    ///     let mut squares = pool.map_async(|n: u64| n * n, 1..=3);
    ///     // Something else meanwhile; then:
    ///     assert_eq!(squares.get()?, [1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    pub fn map_async<F, A, R, I>(&self, f: F, items: I) -> AsyncResult<Vec<R>>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        self.foreman.collect_later(plain::<F, A, fn(A) -> R>(f), type_name::<F>(), items)
    }

    /// Has `f` run on every item as [`map_async`](Self::map_async) does; an item is a tuple of `f`'s
    /// arguments.
    pub fn starmap_async<F, A, M, I>(&self, f: F, items: I) -> AsyncResult<Vec<F::Output>>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
        I: IntoIterator<Item = A>,
    {
        self.foreman.collect_later(plain::<F, A, M>(f), type_name::<F>(), items)
    }

    /// Runs `f` once and waits for the result. `f` is given `arguments` as by
    /// [`Process::spawn`](crate::Process::spawn): `()` for none, a tuple for several.
    ///
    /// # Errors
    /// The item's [`TaskError`], with index 0; [`TaskError::Interrupted`] for a thread with a hook.
    pub fn apply<F, A, M>(&self, f: F, arguments: A) -> Result<F::Output, TaskError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        self.foreman.run_one(plain::<F, A, M>(f)?, &arguments)
    }

    /// Runs `f(&state, item)` once and waits for the result.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_with<F, S, A, R>(&self, state: &S, f: F, item: A) -> Result<R, TaskError>
    where
        F: Fn(&S, A) -> R + Copy + 'static,
        S: Crossing + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
    {
        self.foreman.run_one(stateful(state, f)?, &item)
    }

    /// Has `f` run once; the result can be asked for later, and with it whatever went wrong. `f` is given
    /// `arguments` as by [`apply`](Self::apply).
    pub fn apply_async<F, A, M>(&self, f: F, arguments: A) -> AsyncResult<F::Output>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        self.foreman.run_one_later(plain::<F, A, M>(f), type_name::<F>(), &arguments)
    }

    /// Runs `f` on every item; the results come in the order of the items, each as soon as it and those before
    /// it are there. Items are taken from the iterator as that goes on: no more than four per worker are on
    /// their way, or done and not asked for.
    ///
    /// An item's error comes in its place. Once the pool is closed or broken, every item comes with that
    /// error.
    ///
    /// ```
    /// use procession::Pool;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let pool = Pool::new(2)?;
    ///     // No number is the last: only as many are taken as are needed.
    ///     let squares = pool.imap(|n: u64| n * n, 1..).take(3);
    ///     assert_eq!(squares.collect::<Result<Vec<_>, _>>()?, [1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    pub fn imap<F, A, R, I>(&self, f: F, items: I) -> Imap<'_, I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        Imap::new(self.imap_unordered(f, items))
    }

    /// Runs `f(&state, item)` on every item, as [`imap`](Self::imap) does; every worker is given the state
    /// once.
    pub fn imap_with<F, S, A, R, I>(&self, state: &S, f: F, items: I) -> Imap<'_, I::IntoIter, R>
    where
        F: Fn(&S, A) -> R + Copy + 'static,
        S: Crossing + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        Imap::new(self.imap_unordered_with(state, f, items))
    }

    /// Runs `f` on every item; the results come as they are ready, each with its item's index. Items are
    /// taken from the iterator as workers become free: no more than four per worker are on their way.
    ///
    /// An item's error comes in its place. Once the pool is closed or broken, every item comes with that
    /// error.
    pub fn imap_unordered<F, A, R, I>(&self, f: F, items: I) -> ImapUnordered<'_, I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        self.foreman.stream(plain::<F, A, fn(A) -> R>(f), type_name::<F>(), items)
    }

    /// Runs `f(&state, item)` on every item, as [`imap_unordered`](Self::imap_unordered) does; every worker is
    /// given the state once.
    pub fn imap_unordered_with<F, S, A, R, I>(
        &self,
        state: &S,
        f: F,
        items: I,
    ) -> ImapUnordered<'_, I::IntoIter, R>
    where
        F: Fn(&S, A) -> R + Copy + 'static,
        S: Crossing + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        self.foreman.stream(stateful(state, f), type_name::<F>(), items)
    }

    /// The pids of the workers that are there now; none in a forked child.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        let pids = |crew: &Crew| crew.workers.iter().flatten().map(|worker| worker.process.pid()).collect();
        self.foreman.enter().map_or_else(|_| Vec::new(), |crew| pids(&crew))
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

    /// Ends all work now: the workers are sent SIGTERM, and SIGKILL a second later; everything that has no
    /// result yet is [`TaskError::Cancelled`]. It waits for that second, at most, and is not interrupted.
    pub fn terminate(&self) {
        let Ok(mut crew) = self.foreman.enter() else { return };
        crew.terminate();
        drop(crew);
        self.foreman.terminate_workers();
    }

    /// Waits until every worker of a closed or terminated pool has ended.
    ///
    /// # Errors
    /// [`PoolError::StillOpen`] before [`close`](Self::close) or [`terminate`](Self::terminate);
    /// [`PoolError::Forked`] in a forked child; [`PoolError::NotEnded`] if workers of a terminated pool could
    /// not be ended; [`PoolError::Interrupted`] for a thread with a hook, which can call `join` again.
    pub fn join(&mut self) -> Result<(), PoolError> {
        let state = self.foreman.enter().map_err(|_| PoolError::Forked)?.state;
        if state == PoolState::Open {
            return Err(PoolError::StillOpen);
        }
        if self.thread.is_some() {
            self.foreman.await_end()?;
        }
        if let Some(thread) = self.thread.take() {
            // The thread runs no code that panics; if it did, the workers end with this process all the same.
            drop(thread.join());
        }
        let pids = self.foreman.left();
        if pids.is_empty() { Ok(()) } else { Err(PoolError::NotEnded { pids }) }
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
            drop(self.join());
        }
    }
}

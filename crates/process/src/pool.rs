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
mod worker;

pub use error::{PoolError, TaskError, TaskItem};
pub use results::{AsyncResult, ImapUnordered};

use crate::crossing::Crossing;
use crate::entry::{EntryRef, must_carry_nothing};
use crate::error::in_full;
use batch::{BatchBuilder, Cargo};
use crew::{Crew, PoolState};
use foreman::Foreman;
use job::{Collected, Function, Job, Results};
use procession_channel::codec;
use procession_shm::carrying;
use procession_sys::{Deadline, interrupt};
use runner::{JobEntry, job_with_state, plain_job};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::marker::PhantomData;
use std::sync::Arc;

/// Into how many chunks per worker a call's items are divided at least.
const CHUNKS_PER_WORKER: usize = 32;
const MAX_CHUNK_ITEMS: usize = 8192;
/// How many items per worker [`Pool::imap_unordered`] has on their way.
const IN_FLIGHT_PER_WORKER: usize = 4;

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
    workers: usize,
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
            Ok(thread) => Ok(Pool { foreman, thread: Some(thread), workers }),
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
        self.collect(plain::<F, A, R>(f)?, (Vec::new(), Cargo::default()), items)
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
        const { must_carry_nothing::<F>() };
        let _ = f;
        let function = function::<F, (S, A), R>(job_with_state::<F, S, A, R>)?;
        let mut bytes = Vec::new();
        let (encoded, cargo) = Cargo::of(|| codec::encode(state, &mut bytes));
        encoded
            .map_err(|error| TaskError::EncodeState { function: function.path, reason: in_full(&error) })?;
        self.collect(function, (bytes, cargo), items)
    }

    /// Runs `f` on one item and waits for the result.
    ///
    /// # Errors
    /// The item's [`TaskError`], with index 0; [`TaskError::Interrupted`] for a thread with a hook.
    pub fn apply<F, A, R>(&self, f: F, item: A) -> Result<R, TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
    {
        let (job, batch, cargo) = single(f, &item)?;
        let mut crew = self.foreman.enter()?;
        let id = crew.open_job(job)?;
        let chunk = batch.finish(id, cargo);
        let give = |crew: &mut Crew| crew.add(chunk);
        let outcome = self.foreman.give_and_wait(crew, give, Deadline::NEVER, |crew| crew.take_single(id));
        let outcome = outcome.map_err(|stopped| {
            self.foreman.abandon(id);
            stopped.in_call_of(type_name::<F>())
        })?;
        outcome.unwrap_or(Err(TaskError::Cancelled))?.decode()
    }

    /// Has `f` run on one item; the result can be asked for later, and with it whatever went wrong.
    pub fn apply_async<F, A, R>(&self, f: F, item: A) -> AsyncResult<R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
    {
        let submit = || {
            let (job, batch, cargo) = single(f, &item)?;
            let mut crew = self.foreman.enter()?;
            let id = crew.open_job(job)?;
            crew.add(batch.finish(id, cargo));
            Ok(id)
        };
        let item = TaskItem { index: 0, function: type_name::<F>() };
        AsyncResult::new(Arc::clone(&self.foreman), item, submit())
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
        let submit = || {
            let results = Results::Streamed(Default::default());
            let job = Job::new(plain::<F, A, R>(f)?, Vec::new(), Cargo::default(), results);
            self.foreman.enter()?.open_job(job.fed())
        };
        let most = self.workers * IN_FLIGHT_PER_WORKER;
        ImapUnordered::new(&self.foreman, submit(), (type_name::<F>(), items.into_iter()), most)
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

    /// Gives all items to the workers and waits for all results.
    fn collect<A, R>(
        &self,
        function: Function,
        (state, cargo): (Vec<u8>, Cargo),
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, TaskError>
    where
        A: Serialize,
        R: DeserializeOwned,
    {
        let items = items.into_iter();
        let most = (items.size_hint().0 / (self.workers * CHUNKS_PER_WORKER)).clamp(1, MAX_CHUNK_ITEMS);
        let results = Results::Collected(Collected::default());
        let id = self.foreman.enter()?.open_job(Job::new(function, state, cargo, results).fed())?;
        let feed = Feed { foreman: &self.foreman, id, function: function.path };
        // Handles in the items live until all results are there.
        let ((), _carried) = carrying(|| {
            let mut batch = BatchBuilder::new(0);
            for (index, item) in items.enumerate() {
                if let Err(error) = batch.push(&item) {
                    let rest = std::mem::replace(&mut batch, BatchBuilder::new(index + 1));
                    feed.send(rest);
                    feed.fail(index, &error);
                } else if batch.len() >= most || batch.is_long() {
                    let full = std::mem::replace(&mut batch, BatchBuilder::new(index + 1));
                    feed.send(full);
                }
            }
            feed.send(batch);
        });
        self.foreman.end_feeding(id);
        let is_done = |crew: &mut Crew| (crew.jobs.get(&id)?.open == 0).then(|| crew.jobs.remove(&id));
        let job = self.foreman.wait_until(Deadline::NEVER, is_done);
        let job = job.map_err(|stopped| stopped.in_call_of(function.path))?.flatten();
        let Some(Job { results: Results::Collected(collected), .. }) = job else {
            return Err(TaskError::Cancelled);
        };
        collected.decode(function.path)
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

/// A job that is forgotten if whoever started it does not finish it: its wait was interrupted, or an iterator
/// or an encoder panicked.
struct Feed<'a> {
    foreman: &'a Foreman,
    id: u64,
    function: &'static str,
}

impl Feed<'_> {
    fn send(&self, batch: BatchBuilder) {
        // After a fork in the caller's iterator there is nobody to give it to; waiting for the results says
        // so.
        if batch.len() > 0
            && let Ok(mut crew) = self.foreman.enter()
        {
            crew.add(batch.finish(self.id, Cargo::default()));
        }
    }

    fn fail(&self, index: usize, error: &codec::EncodeError) {
        if let Ok(mut crew) = self.foreman.enter() {
            let item = TaskItem { index, function: self.function };
            crew.fail_unsent(self.id, index, TaskError::encode(item, error));
        }
    }
}

impl Drop for Feed<'_> {
    fn drop(&mut self) {
        self.foreman.abandon(self.id);
    }
}

/// The job of running `f` on one item.
fn single<F, A, R>(f: F, item: &A) -> Result<(Job, BatchBuilder, Cargo), TaskError>
where
    F: Fn(A) -> R + Copy + 'static,
    A: Crossing + 'static,
    R: Crossing + 'static,
{
    let results = Results::Streamed(Default::default());
    let job = Job::new(plain::<F, A, R>(f)?, Vec::new(), Cargo::default(), results);
    let (batch, cargo) = BatchBuilder::of_one(job.item(0), item)?;
    Ok((job, batch, cargo))
}

/// A function of one argument.
fn plain<F, A, R>(f: F) -> Result<Function, TaskError>
where
    F: Fn(A) -> R + Copy + 'static,
    A: Crossing + 'static,
    R: Crossing + 'static,
{
    const { must_carry_nothing::<F>() };
    // `f` has no bytes: its type says everything about it.
    let _: (F, PhantomData<(A, R)>) = (f, PhantomData);
    function::<F, A, R>(plain_job::<F, A, R>)
}

fn function<F: 'static, A, R>(entry: JobEntry) -> Result<Function, TaskError> {
    let entry = EntryRef::new::<F, A, R>(entry);
    let entry = entry.map_err(|error| TaskError::NotRunnable { reason: in_full(&error) })?;
    Ok(Function { entry, path: type_name::<F>() })
}

//! How a pool is to be started.

use super::Pool;
use super::calls::Calls;
use super::crew::can_have;
use super::error::PoolError;
use super::foreman::Foreman;
use super::initial::{Initialized, Initializer};
use super::plan::{Plan, Policy};
use super::progress::{Observer, Progress};
use crate::context::Context;
use crate::crossing::Crossing;
use crate::error::SpawnError;
use crate::function::Function;
use crate::method::StartMethod;
use crate::pacing::Budget;
use std::sync::Arc;
use std::time::Duration;

/// How a [`Pool`] is to be started; made by [`Pool::options`].
#[derive(Clone, Debug)]
#[must_use = "options start nothing until `start`"]
pub struct PoolOptions {
    plan: Plan,
    policy: Policy,
}

impl PoolOptions {
    pub(super) fn new() -> Self {
        let name = "PoolWorker".to_owned();
        let plan = Plan {
            processes: None,
            name,
            max_tasks: u64::MAX,
            budget: None,
            initializer: None,
            observer: None,
            context: None,
            on_demand: false,
        };
        Self { plan, policy: Policy::default() }
    }

    /// How many workers; one for each CPU that this process may use unless said.
    pub fn processes(mut self, count: usize) -> Self {
        self.plan.processes = Some(count);
        self
    }

    /// The name of the pool, after which the workers are called `name-1`, `name-2`, …; `PoolWorker` unless
    /// said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.plan.name = name.into();
        self
    }

    /// In which way workers come to be; what [`set_start_method`](crate::set_start_method) said, and if it
    /// said nothing, [`StartMethod::Spawn`]. By [`StartMethod::Forkserver`] a pool is there several times
    /// faster.
    ///
    /// By [`StartMethod::Fork`] only a program of one thread can start workers, which it is until it has a
    /// pool: those that end are not replaced, and the pool is broken with the last one.
    ///
    /// ```
    /// use procession::{Pool, StartMethod};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let pool = Pool::options().start_method(StartMethod::Forkserver).start()?;
    ///     assert_eq!(pool.map(|n: u64| n * n, 1..=3)?, [1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    pub fn start_method(self, method: StartMethod) -> Self {
        self.context(method.into())
    }

    /// In which way workers come to be, and from which forkserver.
    pub fn context(mut self, context: Context) -> Self {
        self.plan.context = Some(context);
        self
    }

    /// A function that each worker runs once, before its first item, with these arguments: to open what its
    /// items need, and to put it into a `static`. It may return an error.
    ///
    /// A worker that replaces another one runs it again. When it returns an error, panics, exits, or ends its
    /// worker by a signal of its own, the pool is broken, and every call says why by
    /// [`TaskError::Broken`](crate::TaskError::Broken): workers that cannot be initialised are not started
    /// for ever. A worker that was killed from outside meanwhile (SIGKILL, SIGTERM) is replaced.
    ///
    /// It may take as long as it takes, and no [`timeout`](Self::timeout) counts it: whoever does not want to
    /// wait for it says so by [`get_timeout`](crate::AsyncResult::get_timeout), and
    /// [`terminate`](Pool::terminate), as the drop of the pool, ends a worker that is in it.
    ///
    /// ```
    /// use procession::{Pool, TaskError};
    /// use std::sync::OnceLock;
    ///
    /// static FACTOR: OnceLock<u64> = OnceLock::new();
    ///
    /// fn set_up(factor: u64) -> Result<(), String> {
    ///     if factor == 0 {
    ///         return Err("the factor must not be 0".to_owned());
    ///     }
    ///     FACTOR.set(factor).map_err(|_| "twice".to_owned())
    /// }
    ///
    /// fn scale(n: u64) -> u64 {
    ///     n * FACTOR.get().unwrap()
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let pool = Pool::options().processes(2).initializer(set_up, 3).start()?;
    ///     assert_eq!(pool.map(scale, [1, 2])?, [3, 6]);
    ///
    ///     let pool = Pool::options().processes(2).initializer(set_up, 0).start()?;
    ///     let Err(TaskError::Broken { reason }) = pool.map(scale, [1, 2]) else { panic!("it is broken") };
    ///     assert!(reason.ends_with("the factor must not be 0"));
    ///     Ok(())
    /// }
    /// ```
    pub fn initializer<F, A, M, N>(mut self, f: F, arguments: A) -> Self
    where
        F: Function<A, M, Output: Initialized<N>>,
        A: Crossing + 'static,
        M: 'static,
        N: 'static,
    {
        self.plan.initializer = Some(Initializer::new::<F, A, M, N>(f, &arguments));
        self
    }

    /// How many items a worker runs before it leaves and another one takes its place, which frees what the
    /// function has leaked; no limit unless said.
    pub fn max_tasks_per_child(mut self, count: u64) -> Self {
        self.plan.max_tasks = count;
        self
    }

    /// Breaks the pool when more than so many workers end within some time without having been asked to: what
    /// it runs, or where it runs, is not fit for it. Unless said, workers whose items end them are replaced
    /// without limit, because each costs only its item.
    ///
    /// Workers that were killed because of a [`timeout`](Self::timeout) do not count. Without being told so,
    /// a pool breaks when workers end one after the other before they were ready.
    pub fn respawn_budget(mut self, most: u32, within: Duration) -> Self {
        self.plan.budget = Some(Budget::new(most, within));
        self
    }

    /// Starts a worker only when there is something to do and no other worker is free; unless said, all are
    /// started with the pool. By [`StartMethod::Fork`] that is refused: by then the pool has a thread.
    pub fn start_on_demand(mut self) -> Self {
        self.plan.on_demand = true;
        self
    }

    /// A function that is told how far the pool has come: when something has changed, at most twenty times in
    /// a second, and once more at the end. It is called by the thread that runs callbacks (see
    /// [`AsyncResult::add_done_callback`](crate::AsyncResult::add_done_callback)).
    ///
    /// ```
    /// use procession::Pool;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let show = |progress: procession::Progress| {
    ///         eprint!("\r{} of {}", progress.done + progress.failed, progress.total);
    ///     };
    ///     let pool = Pool::options().observer(show).start()?;
    ///     pool.map(|n: u64| n * n, 0..10_000)?;
    ///     Ok(())
    /// }
    /// ```
    pub fn observer(mut self, observer: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.plan.observer = Some(Observer::new(observer));
        self
    }

    /// How many items a worker is given at a time. See [`Calls::chunk_size`].
    pub fn chunk_size(mut self, count: usize) -> Self {
        self.policy.chunk_size = Some(count);
        self
    }

    /// How long one item may take. See [`Calls::timeout`].
    pub fn timeout(mut self, most: Duration) -> Self {
        self.policy.timeout = Some(most);
        self
    }

    /// How often an item is tried again whose worker was lost. See [`Calls::retries`].
    pub fn retries(mut self, count: u32) -> Self {
        self.policy.retries = count;
        self
    }

    /// How long the pool waits before it tries an item again. See [`Calls::back_off`].
    pub fn back_off(mut self, first: Duration) -> Self {
        self.policy.back_off = first;
        self
    }

    /// Starts the workers. It does not wait until they have come up.
    ///
    /// # Errors
    /// [`PoolError::NoWorkers`], [`PoolError::NoTasks`], [`PoolError::Initializer`], and whatever keeps the
    /// first workers from being started; [`PoolError::Kernel`] also for more of them than Linux has processes.
    pub fn start(self) -> Result<Pool, PoolError> {
        let Self { plan, policy } = self;
        let workers = plan.processes.unwrap_or(procession_sys::cpu::available() as usize);
        can_have(workers)?;
        if plan.max_tasks == 0 || policy.chunk_size == Some(0) {
            return Err(PoolError::NoTasks);
        }
        if plan.on_demand && plan.method() == StartMethod::Fork {
            return Err(PoolError::Spawn(SpawnError::Method {
                method: StartMethod::Fork,
                reason: "workers that are started on demand are started when the pool has a thread, and a process with threads is \
                         not copied; start all of them with the pool, or use spawn or forkserver",
            }));
        }
        let foreman = Arc::new(Foreman::new(workers, plan)?);
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
            Ok(thread) => {
                Ok(Pool { calls: Calls::new(Arc::clone(&foreman), policy), foreman, thread: Some(thread) })
            }
            Err(error) => {
                foreman.kill_all();
                Err(error.into())
            }
        }
    }
}

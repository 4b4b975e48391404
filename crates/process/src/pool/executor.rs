//! A pool in the manner of Python's `concurrent.futures`.

use super::Pool;
use super::async_result::AsyncResult;
use super::error::PoolError;
use super::results::Imap;
use crate::crossing::Crossing;
use crate::function::Function;

/// Worker processes for calls of all kinds, given one by one: a [`Pool`] as Python's `ProcessPoolExecutor` is
/// one. Workers are started when there is something to do for them. A worker that dies costs the item that it
/// was running; the executor goes on.
///
/// Whatever can be said of a pool can be said of an executor: `Executor::from(Pool::options()….start()?)`.
/// Dropping it cancels what is not done, as dropping a pool does; to have everything done,
/// [`shutdown`](Self::shutdown) it.
///
/// ```
/// use procession::Executor;
/// use procession::futures::as_completed;
///
/// fn fibonacci(n: u64) -> u64 {
///     if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let mut executor = Executor::new(2)?;
///     let mut first = executor.submit(fibonacci, 10);
///     let mut second = executor.submit(|a: u32, b: u32| a + b, (1, 2));
///     assert_eq!((first.get()?, second.get()?), (55, 3));
///
///     let squares = executor.map(|n: u64| n * n, 1..=3);
///     assert_eq!(squares.collect::<Result<Vec<_>, _>>()?, [1, 4, 9]);
///     executor.shutdown(false)?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Executor {
    pool: Pool,
}

impl Executor {
    /// An executor of at most so many workers, which are started when they are needed.
    ///
    /// # Errors
    /// [`PoolError::NoWorkers`] for 0; otherwise as [`PoolOptions::start`](crate::PoolOptions::start).
    pub fn new(max_workers: usize) -> Result<Self, PoolError> {
        Pool::options().processes(max_workers).name("Executor").start_on_demand().start().map(Self::from)
    }

    /// Has `f` run; the result can be asked for later. `f` is given `arguments` as by
    /// [`Process::spawn`](crate::Process::spawn): `()` for none, a tuple for several. What cannot be
    /// submitted, after [`shutdown`](Self::shutdown) for example, is the error of the result.
    pub fn submit<F, A, M>(&self, f: F, arguments: A) -> AsyncResult<F::Output>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        self.pool.apply_async(f, arguments)
    }

    /// Runs `f` on every item; the results come in the order of the items, and the items are taken a little
    /// ahead: see [`Calls::imap`](crate::Calls::imap). An item's error comes in its place.
    pub fn map<F, A, R, I>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        self.pool.imap(f, items)
    }

    /// The pool that it is: for its other calls, its size, how far it has come.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes no more work; what it was given is done, and the workers leave then.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Takes no more work, and waits until all is done; also for an iterator of [`map`](Self::map) that is neither at its
    /// end nor dropped. If the rest is to be cancelled, it waits for what a worker has begun alone, and the others are
    /// [`TaskError::Cancelled`](crate::TaskError::Cancelled). It may be called again.
    ///
    /// # Errors
    /// As [`Pool::join`].
    pub fn shutdown(&mut self, cancel_futures: bool) -> Result<(), PoolError> {
        self.pool.close();
        if cancel_futures {
            self.pool.cancel_all();
        }
        self.pool.join()
    }

    /// Ends all work now, as [`Pool::terminate`] does: what a worker is at, too, is
    /// [`TaskError::Cancelled`](crate::TaskError::Cancelled).
    pub fn terminate(&self) {
        self.pool.terminate();
    }
}

impl From<Pool> for Executor {
    fn from(pool: Pool) -> Self {
        Self { pool }
    }
}

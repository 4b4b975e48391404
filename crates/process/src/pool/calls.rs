//! The calls of a pool.

use super::async_result::AsyncResult;
use super::error::TaskError;
use super::foreman::Foreman;
use super::plan::Policy;
use super::results::{Imap, ImapUnordered};
use super::work::{Caller, plain, stateful};
use crate::crossing::Crossing;
use crate::function::Function;
use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

/// The calls of a [`Pool`](crate::Pool), with what is said of their items. A pool is used as if it were one,
/// with what its options say; [`chunk_size`](Self::chunk_size), [`timeout`](Self::timeout) and their like
/// make another one.
///
/// It is cheap to make and to clone, and may be sent to other threads. It does not keep the pool: once that
/// is dropped, calls fail with [`TaskError::Closed`].
///
/// ```
/// use procession::{Pool, TaskError};
/// use std::time::Duration;
///
/// fn sleep(ms: u64) -> u64 {
///     std::thread::sleep(Duration::from_millis(ms));
///     ms
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let pool = Pool::new(2)?;
///     let slow = pool.timeout(Duration::from_millis(200)).try_map(sleep, [1, 60_000, 2])?;
///     assert!(matches!(slow[..], [Ok(1), Err(TaskError::TooSlow { .. }), Ok(2)]));
///     assert_eq!(pool.chunk_size(100).map(sleep, [0; 1000])?.len(), 1000);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Calls {
    caller: Caller,
}

impl Calls {
    pub(super) fn new(foreman: Arc<Foreman>, policy: Policy) -> Self {
        Self { caller: Caller { foreman, policy } }
    }

    fn with(&self, change: impl FnOnce(&mut Policy)) -> Self {
        let mut calls = self.clone();
        change(&mut calls.caller.policy);
        calls
    }

    /// Calls that give a worker so many items at a time; 1 if that is 0.
    ///
    /// Unless said, [`map`](Self::map) and its like divide their items into at least 32 chunks for each
    /// worker, so that all workers end at nearly the same time although some items take longer than others.
    /// More at a time are faster where an item takes less than a microsecond and their number is small.
    /// [`imap`](Self::imap) and [`imap_unordered`](Self::imap_unordered) give out one item at a time.
    #[must_use]
    pub fn chunk_size(&self, count: usize) -> Self {
        self.with(|policy| policy.chunk_size = Some(count.max(1)))
    }

    /// Calls whose items may each take so long from when a worker begins it. The worker of one that takes
    /// longer is killed, which costs that item alone, and is replaced. The item is
    /// [`TaskError::TooSlow`], or tried again if there are [`retries`](Self::retries).
    ///
    /// A stopped worker's time goes on. What comes before the item does not count: the pool's initializer,
    /// and the state of [`map_with`](Self::map_with), which a worker decodes once.
    #[must_use]
    pub fn timeout(&self, most: Duration) -> Self {
        self.with(|policy| policy.timeout = Some(most))
    }

    /// Calls whose items are tried again, each so often, when their worker is killed, exits, or takes too
    /// long. An item that was begun and not finished may have had effects: allow retries only for functions
    /// that can bear to run twice. A panic is not tried again.
    #[must_use]
    pub fn retries(&self, count: u32) -> Self {
        self.with(|policy| policy.retries = count)
    }

    /// Calls that wait so long before an item is tried again for the first time, and twice as long before
    /// each further time, up to a minute; the worker does other items meanwhile. Unless said, an item is
    /// tried again as soon as a worker is free.
    #[must_use]
    pub fn back_off(&self, first: Duration) -> Self {
        self.with(|policy| policy.back_off = first)
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
        self.caller.collect(work, items)?.decode(type_name::<F>())
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
        self.caller.collect(plain::<F, A, M>(f)?, items)?.decode(type_name::<F>())
    }

    /// Runs `f` on every item, and returns for each what became of it, in the order of the items: one that
    /// has killed its worker costs its own result alone.
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
        Ok(self.caller.collect(work, items)?.decode_each(type_name::<F>()))
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
        self.caller.collect(stateful(state, f)?, items)?.decode(type_name::<F>())
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
        self.caller.collect_later(plain::<F, A, fn(A) -> R>(f), type_name::<F>(), items)
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
        self.caller.collect_later(plain::<F, A, M>(f), type_name::<F>(), items)
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
        self.caller.run_one(plain::<F, A, M>(f)?, &arguments)
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
        self.caller.run_one(stateful(state, f)?, &item)
    }

    /// Has `f` run once; the result can be asked for later, and with it whatever went wrong. `f` is given
    /// `arguments` as by [`apply`](Self::apply).
    pub fn apply_async<F, A, M>(&self, f: F, arguments: A) -> AsyncResult<F::Output>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        self.caller.run_one_later(plain::<F, A, M>(f), type_name::<F>(), &arguments)
    }

    /// Runs `f` on every item; the results come in the order of the items, each as soon as it and those
    /// before it are there. Items are taken from the iterator as that goes on: no more than sixteen chunks
    /// per worker are on their way, or done and not asked for.
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
    pub fn imap<F, A, R, I>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
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
    pub fn imap_with<F, S, A, R, I>(&self, state: &S, f: F, items: I) -> Imap<I::IntoIter, R>
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
    /// taken from the iterator as workers become free: no more than sixteen chunks per worker are on their
    /// way.
    ///
    /// An item's error comes in its place. Once the pool is closed or broken, every item comes with that
    /// error.
    pub fn imap_unordered<F, A, R, I>(&self, f: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        self.caller.stream(plain::<F, A, fn(A) -> R>(f), type_name::<F>(), items)
    }

    /// Runs `f(&state, item)` on every item, as [`imap_unordered`](Self::imap_unordered) does; every worker
    /// is given the state once.
    pub fn imap_unordered_with<F, S, A, R, I>(
        &self,
        state: &S,
        f: F,
        items: I,
    ) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(&S, A) -> R + Copy + 'static,
        S: Crossing + 'static,
        A: Crossing + 'static,
        R: Crossing + 'static,
        I: IntoIterator<Item = A>,
    {
        self.caller.stream(stateful(state, f), type_name::<F>(), items)
    }
}

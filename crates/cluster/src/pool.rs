//! A pool of processes on several hosts: a queue of tasks, and for each call a queue of results.
//!
//! A task is leased by the worker that runs it, and acknowledged after its result was put. A worker that dies in between
//! leaves a task that is run again, and perhaps a result that comes twice: whoever collects takes the first. So the
//! functions of a pool are called at least once, and each item has one result. The queue of tasks has the build id in its
//! name: a worker sees only what it can run.

use crate::cluster::Cluster;
use crate::error::{ClusterError, Subject};
use crate::imap::{Imap, ImapUnordered};
use crate::queue::JoinableQueue;
use crate::tally::{A_MOMENT, Tally};
use procession_channel::{Bytes, Codec};
use procession_process::elsewhere::{self, FarFunction, FarOutcome};
use procession_process::{Crossing, Function};
use procession_sys::{interrupt, random};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Room for tasks, and for results, with `shm:`.
const ROOM: u64 = 8 << 20;
/// Room for the results of a call that has a name, with `shm:`: they stay until they are forgotten.
const NAMED_ROOM: u64 = 64 << 20;
/// How long a worker waits for room for a result. After that the task has failed.
const RESULT_ROOM: Duration = Duration::from_secs(10);
/// How long a worker rests when the server cannot be reached: at first, and at most.
const RESTS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// A task, in the queue of its build.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) job: String,
    pub(crate) item: u32,
    pub(crate) function: FarFunction,
    pub(crate) arguments: Bytes,
}

/// What became of a task, in the queue of its call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) item: u32,
    pub(crate) outcome: FarOutcome,
}

/// The item by which a call that has a name says that all its tasks were put.
pub(crate) const ALL_PUT: u32 = u32::MAX;

/// A pool of processes on several hosts, which call functions of the program that they all run.
///
/// Workers are started on each host by `procession worker --connect URL -n 4 -- ./my_program`: the same program, whose
/// `main` begins with `procession::init()`, or by a program that calls [`work`](Self::work). A function crosses by its
/// place in the executable, so all hosts need the *same build*, one with a build id (linkers add one by themselves on most
/// systems). Arguments and results are as for `Process::spawn`; nothing that lies in the memory of a host crosses.
///
/// When a worker dies, what it was about is run again by another one, at once, up to as many times as
/// [`max_attempts`](Self::max_attempts) says: a function may be called more than once. A panic is not tried again: it
/// is the item's outcome. When the server is started again, workers and callers go on.
///
/// ```
/// # procession::Namespace::private().enter();
/// use procession::cluster::{ClusterError, connect};
///
/// fn words(text: String) -> usize {
///     text.split_whitespace().count()
/// }
///
/// let cluster = connect("shm:")?; // or "postgres://user@host/database"
/// let pool = cluster.pool("count");
/// // Elsewhere: procession worker --connect URL --pool count -n 4 -- ./my_program
/// let worker = std::thread::spawn({ let pool = pool.clone(); move || pool.work() });
/// assert_eq!(pool.map(words, ["a b c".to_owned(), "d e".to_owned()])?, [3, 2]);
/// pool.close()?;
/// worker.join().unwrap()?;
/// # Ok::<(), ClusterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pool {
    cluster: Cluster,
    name: String,
    attempts: u32,
}

impl Pool {
    pub(crate) fn new(cluster: Cluster, name: &str) -> Self {
        Self { cluster, name: name.to_owned(), attempts: 3 }
    }

    /// With so many attempts for each item whose worker dies, instead of 3. All users of a pool say the same number.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.clamp(1, 4095);
        self
    }

    pub(crate) fn subject(&self) -> Subject {
        self.cluster.object("pool", &self.name, 1).subject
    }

    fn not_runnable(&self, reason: String) -> ClusterError {
        ClusterError::NotRunnable { pool: self.subject(), reason }
    }

    /// The name of what belongs to the pool and is called so: `POOL.PART`, from which no other pool and part have theirs. So
    /// it is `.LENGTH.POOL.PART` where it could not be told at which dot the name of the pool ends.
    fn name_of(&self, part: &str) -> String {
        let pool = &self.name;
        if pool.is_empty() || pool.contains('.') {
            format!(".{}.{pool}.{part}", pool.len())
        } else {
            format!("{pool}.{part}")
        }
    }

    /// The queue of tasks of this build.
    pub(crate) fn tasks(&self) -> Result<JoinableQueue<Task>, ClusterError> {
        let build = elsewhere::build().map_err(|reason| self.not_runnable(reason))?;
        // What makes it a build id stands in front of it.
        let id: String = build.iter().skip(9).take(8).map(|byte| format!("{byte:02x}")).collect();
        let queue = self.cluster.joinable_queue(&self.name_of(&id));
        Ok(queue.codec(Codec::Bincode).max_attempts(self.attempts).bytes(ROOM))
    }

    /// The queue of the results of a call.
    pub(crate) fn results(&self, job: &str, bytes: u64) -> JoinableQueue<Finished> {
        let queue = self.cluster.joinable_queue(&self.name_of(job));
        queue.codec(Codec::Bincode).max_attempts(4095).bytes(bytes)
    }

    /// The result of the function for each item, in the order of the items. It waits for workers.
    ///
    /// # Errors
    /// [`TaskFailed`](ClusterError::TaskFailed) for the first item that failed: the others are not begun any more;
    /// [`NotRunnable`](ClusterError::NotRunnable) when the program has no build id; [`Encode`](ClusterError::Encode);
    /// [`Unavailable`](ClusterError::Unavailable) when the server was out of reach for too long
    /// ([`ClusterOptions::deadline`](crate::ClusterOptions::deadline));
    /// [`Interrupted`](ClusterError::Interrupted).
    pub fn map<F, A, M>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<F::Output>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        let mut call = self.call(None, f, items)?;
        let outcome = call.tally.wait(&mut call.todo, true);
        call.end(outcome)
    }

    /// The result of each item, or why it has none, in the order of the items.
    ///
    /// # Errors
    /// As [`map`](Self::map), but that of an item stands in its place.
    pub fn try_map<F, A, M>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<Result<F::Output, ClusterError>>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        let mut call = self.call(None, f, items)?;
        let outcome = call.tally.wait(&mut call.todo, false);
        call.tally.forget()?;
        outcome?;
        Ok((0..call.count).map(|item| call.result(item)).collect())
    }

    /// Does as [`map`](Self::map), under a name: when this process dies, whoever calls this again with the name has what is
    /// done already, and waits for the rest; of the items only their number counts then. If it died while it put the tasks,
    /// the function is called once more for those that were put. The results stay until [`forget`](Self::forget). With `shm:`
    /// they have 64 MiB.
    ///
    /// # Errors
    /// As [`map`](Self::map); [`WouldBlock`](ClusterError::WouldBlock) while another process waits for them.
    pub fn map_named<F, A, M>(
        &self,
        name: &str,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<F::Output>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        let lock = self.cluster.lock(&self.name_of(&named(name)));
        let mut guard = lock.try_acquire()?;
        let mut call = self.call(Some(name), f, items)?;
        call.tally.wait_and_keep(&mut call.todo, || {
            // Of two who wait each would have some of the results, and wait for the others.
            if guard.is_lost() {
                guard = lock.try_acquire()?;
            }
            Ok(())
        })?;
        (0..call.count).map(|item| call.result(item)).collect()
    }

    /// Forgets a call that has a name: its results are removed, and what is not begun is not done.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn forget(&self, name: &str) -> Result<(), ClusterError> {
        self.results(&named(name), NAMED_ROOM).if_there()?.map_or(Ok(()), |results| results.remove())
    }

    /// The results as they are there, in the order of the items: the first can be used while others are not begun.
    ///
    /// An item that failed stands in its place, and the next ones follow. All items are taken at once, and what has room in
    /// the queue of tasks is put. Dropping the iterator gives up what is not begun.
    ///
    /// # Errors
    /// As [`submit`](Self::submit). Of the iterator: [`TaskFailed`](ClusterError::TaskFailed) for an item that failed; what
    /// [`map`](Self::map) can meet else, instead of the first item that is missing, and then it ends.
    pub fn imap<F, A, M>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Imap<F::Output>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        self.begun(f, items, A_MOMENT).map(Imap::new)
    }

    /// The results as they come, each with the number of its item, from 0 on.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// let pool = cluster.pool("square");
    /// let worker = std::thread::spawn({ let pool = pool.clone(); move || pool.work() });
    /// let mut squares = [0; 3];
    /// for (item, square) in pool.imap_unordered(|n: u64| n * n, [2, 3, 4])? {
    ///     squares[item] = square?;
    /// }
    /// assert_eq!(squares, [4, 9, 16]);
    /// pool.close()?;
    /// worker.join().unwrap()?;
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`imap`](Self::imap).
    pub fn imap_unordered<F, A, M>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<ImapUnordered<F::Output>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        self.begun(f, items, A_MOMENT).map(ImapUnordered::new)
    }

    /// Has a worker call the function; the result can be asked for later.
    ///
    /// # Errors
    /// [`NotRunnable`](ClusterError::NotRunnable); [`Encode`](ClusterError::Encode);
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn submit<F, A, M>(&self, f: F, arguments: A) -> Result<Future<F::Output>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        self.begun(f, [arguments], Duration::MAX).map(|call| Future { call })
    }

    /// A call of which those tasks are put for which there is room, or comes in that time.
    fn begun<F, A, M>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
        room: Duration,
    ) -> Result<Call<F::Output>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        let mut call = self.call(None, f, items)?;
        call.tally.feed(&mut call.todo, room)?;
        Ok(call)
    }

    fn call<F, A, M>(
        &self,
        name: Option<&str>,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Call<F::Output>, ClusterError>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        let function = FarFunction::new(f).map_err(|reason| self.not_runnable(reason))?;
        let tasks = self.tasks()?;
        let job = name.map_or_else(|| format!("{OWN}{:016x}", random::nonzero_u64()), named);
        let results = match name {
            Some(_) => self.results(&job, NAMED_ROOM),
            None => self.results(&job, ROOM).ephemeral(),
        };
        let task = |(nth, arguments): (usize, A)| {
            let bytes = elsewhere::encode(&arguments)
                .map_err(|reason| ClusterError::Encode { object: self.subject(), reason })?;
            let (job, item) = (job.clone(), u32::try_from(nth).unwrap_or(ALL_PUT));
            tasks.encode(&Task { job, item, function: function.clone(), arguments: bytes.into() })
        };
        let todo = items.into_iter().enumerate().map(task).collect::<Result<VecDeque<_>, _>>()?;
        let count = todo.len();
        let tally = Tally::new(self.cluster.clone(), job, count, (tasks, results))?;
        let path = function.path().to_owned();
        Ok(Call { pool: self.subject(), function: path, count, todo, tally, result: PhantomData })
    }

    /// Runs what the pool is given, until it is [closed](Self::close) and everything is done. While the server cannot be
    /// reached, it tries again and again.
    ///
    /// # Errors
    /// [`NotRunnable`](ClusterError::NotRunnable); [`Refused`](ClusterError::Refused);
    /// [`Mismatch`](ClusterError::Mismatch) when others use the pool with another number of attempts;
    /// [`Interrupted`](ClusterError::Interrupted).
    pub fn work(&self) -> Result<(), ClusterError> {
        elsewhere::watch_panics();
        let tasks = self.tasks()?;
        let [mut rest, longest] = RESTS;
        loop {
            match self.work_once(&tasks) {
                Ok(()) => rest = RESTS[0],
                Err(ClusterError::Closed { .. }) => return Ok(()),
                Err(ClusterError::Unavailable { .. } | ClusterError::Lost { .. }) => {
                    std::thread::sleep(rest);
                    if interrupt::is_wanted() {
                        return Err(ClusterError::Interrupted { object: self.subject() });
                    }
                    rest = (rest * 2).min(longest);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn work_once(&self, tasks: &JoinableQueue<Task>) -> Result<(), ClusterError> {
        let task = tasks.get()?;
        // Without a queue for its result, nobody wants that any more.
        if let Some(results) = self.results(&task.job, ROOM).if_there()? {
            let outcome = task.function.call(&task.arguments);
            let result = results.encode(&Finished { item: task.item, outcome })?;
            match results.put_some(&[result], RESULT_ROOM) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(ClusterError::Closed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match task.task_done() {
            // Another one has it, and does it once more.
            Err(ClusterError::Lost { .. }) => Ok(()),
            done => done,
        }
    }

    /// How many tasks are not done, those among them that are under way.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn unfinished(&self) -> Result<u64, ClusterError> {
        self.tasks()?.unfinished()
    }

    /// Has all workers end as soon as everything is done. Nothing can be given to the pool any more.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn close(&self) -> Result<(), ClusterError> {
        self.tasks()?.close()
    }

    /// Opens a closed pool again, for workers that are started from now on.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn reopen(&self) -> Result<(), ClusterError> {
        self.tasks()?.reopen()
    }
}

/// How the name of a call begins that was given none.
const OWN: &str = "call-";

/// What a call is called that was given this name: as no other is, and no queue of tasks.
fn named(name: &str) -> String {
    const ESCAPE: &str = "named-";
    let is_build = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_ours = is_build || [OWN, ESCAPE].iter().any(|start| name.starts_with(start));
    if is_ours { format!("{ESCAPE}{name}") } else { name.to_owned() }
}

/// A call: its tasks that are not put yet, and its results.
pub(crate) struct Call<R> {
    pool: Subject,
    function: String,
    pub(crate) count: usize,
    todo: VecDeque<Vec<u8>>,
    pub(crate) tally: Tally,
    result: PhantomData<fn() -> R>,
}

impl<R: Crossing + 'static> Call<R> {
    /// The result of an item of which the outcome is there.
    pub(crate) fn result(&self, item: usize) -> Result<R, ClusterError> {
        let failed = |reason| ClusterError::TaskFailed {
            pool: self.pool.clone(),
            item,
            function: self.function.clone(),
            reason,
        };
        match self.tally.outcome(item) {
            Some(FarOutcome::Returned(bytes)) => elsewhere::decode(bytes).map_err(failed),
            Some(FarOutcome::Failed(reason)) => Err(failed(reason.clone())),
            None => Err(failed("it was not done".to_owned())),
        }
    }

    /// Waits until there are more outcomes than now.
    pub(crate) fn wait_for_more(&mut self) -> Result<(), ClusterError> {
        let so_far = self.tally.len();
        self.tally.wait_until(&mut self.todo, None, |tally| tally.len() > so_far)
    }

    /// All results, or the first failure; nobody wants what is left after that.
    fn end(&mut self, outcome: Result<(), ClusterError>) -> Result<Vec<R>, ClusterError> {
        self.tally.forget()?;
        outcome?;
        if let Some(failed) = self.tally.first_failure() {
            return self.result(failed).map(|_| Vec::new());
        }
        (0..self.count).map(|item| self.result(item)).collect()
    }
}

/// The result of a function that a worker of a [`Pool`] was given. Dropping it gives the result up: the function is not
/// called any more if it was not yet.
#[must_use = "dropping it cancels the call"]
pub struct Future<R: Crossing + 'static> {
    call: Call<R>,
}

impl<R: Crossing + 'static> Future<R> {
    /// Waits for the result.
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn result(mut self) -> Result<R, ClusterError> {
        let waited = self.call.tally.wait(&mut VecDeque::new(), true);
        self.call.tally.forget()?;
        waited?;
        self.call.result(0)
    }

    /// Waits so long for the result; after that, it can be asked for again.
    ///
    /// # Errors
    /// [`TimedOut`](ClusterError::TimedOut); otherwise as [`Pool::map`].
    pub fn result_timeout(&mut self, timeout: Duration) -> Result<R, ClusterError> {
        let Call { tally, todo, pool, .. } = &mut self.call;
        if tally.outcome(0).is_none() {
            // Later than any clock can tell is never.
            tally
                .wait_until(todo, Instant::now().checked_add(timeout), |tally| tally.outcome(0).is_some())?;
        }
        if tally.outcome(0).is_none() {
            return Err(ClusterError::TimedOut { object: pool.clone(), holder: String::new() });
        }
        self.call.result(0)
    }

    /// Whether the result is there.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn is_done(&mut self) -> Result<bool, ClusterError> {
        self.call.tally.is_done()
    }

    /// Gives the result up: the function is not called any more if it was not yet. Dropping it does that, too, and says
    /// nothing.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn cancel(mut self) -> Result<(), ClusterError> {
        self.call.tally.forget()
    }
}

impl<R: Crossing + 'static> fmt::Debug for Future<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future")
            .field("pool", &self.call.pool)
            .field("function", &self.call.function)
            .finish()
    }
}

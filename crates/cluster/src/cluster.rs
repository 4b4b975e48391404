//! A cluster: where one connects, and where its objects come from.

use crate::barrier::Barrier;
use crate::counter::Counter;
use crate::engine::{Engine, Object};
use crate::error::{ClusterError, Subject};
use crate::event::Event;
use crate::latch::Latch;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::postgres::Postgres;
use crate::queue::JoinableQueue;
use crate::report::{ClusterDeadlock, ClusterObject, ClusterParticipant};
use crate::rwlock::RwLock;
use crate::semaphore::Semaphore;
use crate::shm::Shm;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a process takes part in a cluster.
///
/// ```
/// # procession::Namespace::private().enter();
/// use procession::cluster::ClusterOptions;
/// use std::time::Duration;
///
/// let cluster = ClusterOptions::new().deadline(Duration::from_secs(5)).connect("shm:")?;
/// assert!(cluster.list()?.iter().all(|object| object.name != "never made"));
/// # Ok::<(), procession::cluster::ClusterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    pub(crate) deadline: Duration,
    pub(crate) lease: Option<Duration>,
    pub(crate) max_holds: usize,
    pub(crate) schema: String,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            lease: None,
            max_holds: 1000,
            schema: "procession".to_owned(),
        }
    }
}

impl ClusterOptions {
    /// The options that [`connect`] has.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the server may take to answer before an operation is
    /// [`Unavailable`](ClusterError::Unavailable); 10 seconds unless said. A wait for somebody who holds something
    /// can be longer.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Ends what this process holds when the server has not heard of the process for so long, at least one second.
    ///
    /// Unless this is said, a process that is stopped (`SIGSTOP`, a debugger, a suspended laptop) keeps what it holds
    /// for as long as the system of its host answers the server. What a host that is cut off holds ends after three seconds,
    /// and its processes know it after two, however long the lease is. With `shm:` it has no effect.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease.max(Duration::from_secs(1)));
        self
    }

    /// How many objects this process may hold at once by this connection; 1000 unless said. Each is a little of the memory in
    /// which the server keeps all its locks. What somebody else held first has a session of its own, and does not count. With
    /// `shm:` it has no effect.
    #[must_use]
    pub fn max_holds(mut self, holds: usize) -> Self {
        self.max_holds = holds;
        self
    }

    /// The schema of the database in which the cluster is; `procession` unless said. Clusters in different schemas have
    /// nothing to do with one another. With `shm:` it has no effect: there, namespaces are for that.
    #[must_use]
    pub fn schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.schema);
        self
    }

    /// Connects as [`connect`] does.
    ///
    /// # Errors
    /// As [`connect`].
    pub fn connect(&self, url: &str) -> Result<Cluster, ClusterError> {
        let deadline = self.deadline;
        let engine: Arc<dyn Engine> = match url.strip_prefix("shm:") {
            Some(namespace) => Arc::new(Shm::connect(namespace)?),
            None => Arc::new(Postgres::connect(url, self.clone())?),
        };
        Ok(Cluster { engine, deadline })
    }
}

/// Connects to a cluster: `postgres://USER:PASSWORD@HOST/DATABASE`, also as `host=… dbname=…`, or `shm:` for the
/// processes of this host, or `shm:NAMESPACE`.
///
/// What the cluster needs in the database is created by who connects first: functions and tables in a schema of their
/// own, which needs the right to create one. Where programs have no such right, have somebody connect once who does
/// (`procession worker --init`), and admit their role: `SELECT procession.admit('app')`.
///
/// # Errors
/// [`InvalidUrl`](ClusterError::InvalidUrl); [`Unavailable`](ClusterError::Unavailable) when the server cannot be
/// reached; [`Refused`](ClusterError::Refused) when it lacks rights, is too old, or a newer release has made the schema.
pub fn connect(url: &str) -> Result<Cluster, ClusterError> {
    ClusterOptions::new().connect(url)
}

/// A cluster: processes of several hosts that share a PostgreSQL server, or those of one host (`shm:`).
///
/// Clones are the same connection. When the process dies, what it holds is free.
#[derive(Clone)]
pub struct Cluster {
    engine: Arc<dyn Engine>,
    deadline: Duration,
}

impl Cluster {
    /// How long the server may be out of reach.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The lock of this name. Nothing is asked of the server until it is acquired.
    #[must_use]
    pub fn lock(&self, name: &str) -> Lock {
        Lock::new(self.engine.clone(), self.object("lock", name, 1))
    }

    /// The read-write lock of this name. Nothing is asked of the server until it is acquired.
    #[must_use]
    pub fn rwlock(&self, name: &str) -> RwLock {
        RwLock::new(self.engine.clone(), self.object("rwlock", name, 1))
    }

    /// The semaphore of this name, with so many permits. Nothing is asked of the server until one is acquired.
    #[must_use]
    pub fn semaphore(&self, name: &str, permits: u32) -> Semaphore {
        Semaphore::new(self.engine.clone(), self.object("semaphore", name, permits))
    }

    /// The semaphore of this name with as many permits as it has, if there is one.
    ///
    /// ```
    /// # procession::Namespace::private().enter();
    /// let cluster = procession::cluster::connect("shm:")?;
    /// assert!(cluster.find_semaphore("doc-found")?.is_none());
    /// cluster.semaphore("doc-found", 3).acquire()?.release()?;
    /// assert_eq!(cluster.find_semaphore("doc-found")?.map(|found| found.permits()), Some(3));
    /// # Ok::<(), procession::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable); [`InvalidName`](ClusterError::InvalidName).
    pub fn find_semaphore(&self, name: &str) -> Result<Option<Semaphore>, ClusterError> {
        let permits = self.engine.permits_of(&self.object("semaphore", name, 0))?;
        Ok(permits.map(|permits| self.semaphore(name, permits)))
    }

    /// The event of this name. Nothing is asked of the server until it is used.
    #[must_use]
    pub fn event(&self, name: &str) -> Event {
        Event::new(self.engine.clone(), self.object("event", name, 1))
    }

    /// The latch of this name, which opens when so many have arrived. Nothing is asked of the server until it is used.
    #[must_use]
    pub fn latch(&self, name: &str, count: u32) -> Latch {
        Latch::new(self.engine.clone(), self.object("latch", name, count))
    }

    /// The counter of this name. Nothing is asked of the server until it is used.
    #[must_use]
    pub fn counter(&self, name: &str) -> Counter {
        Counter::new(self.engine.clone(), self.object("counter", name, 1))
    }

    /// The barrier of this name, with so many parties. Nothing is asked of the server until somebody waits.
    #[must_use]
    pub fn barrier(&self, name: &str, parties: u32) -> Barrier {
        Barrier::new(self.engine.clone(), self.object("barrier", name, parties))
    }

    /// The queue of this name, whose items are acknowledged. Nothing is asked of the server until it is used.
    #[must_use]
    pub fn joinable_queue<T: Serialize + DeserializeOwned>(&self, name: &str) -> JoinableQueue<T> {
        JoinableQueue::new(self.engine.clone(), self.object("queue", name, 1))
    }

    /// The pool of this name: processes on several hosts that call functions of one program. Nothing is asked of the
    /// server until it is used.
    #[must_use]
    pub fn pool(&self, name: &str) -> Pool {
        Pool::new(self.clone(), name)
    }

    /// All objects, with who holds them and how many wait.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn list(&self) -> Result<Vec<ClusterObject>, ClusterError> {
        self.engine.objects()
    }

    /// All processes that take part.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn participants(&self) -> Result<Vec<ClusterParticipant>, ClusterError> {
        self.engine.participants()
    }

    /// The circles of threads that wait for one another.
    ///
    /// # Errors
    /// [`Unavailable`](ClusterError::Unavailable).
    pub fn deadlocks(&self) -> Result<Vec<ClusterDeadlock>, ClusterError> {
        self.engine.deadlocks()
    }

    pub(crate) fn object(&self, kind: &'static str, name: &str, size: u32) -> Object {
        let place = self.engine.place().to_owned();
        Object { subject: Subject { kind, name: name.to_owned(), place }, size }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.engine.place()).finish()
    }
}

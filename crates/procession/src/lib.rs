// The pages below link to one another as files do. Here are the definitions of those links for rustdoc; of two
// definitions, Markdown takes the first.
#![doc = include_str!("../docs/links.txt")]
#![doc = include_str!("../docs/pictures.txt")]
#![doc = include_str!("../README.md")]

/// What makes a type plain data, fit for a [`Value`] or an [`Array`]. A program that does not depend on
/// bytemuck itself tells the derives where it is:
///
/// ```
/// use procession::Value;
/// use procession::bytemuck::{Pod, Zeroable};
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[bytemuck(crate = "procession::bytemuck")]
/// #[repr(C)]
/// struct Score {
///     points: u32,
///     rounds: u32,
/// }
///
/// let score = Value::new(Score { points: 0, rounds: 0 })?;
/// score.update(|score| score.points += 3)?;
/// assert_eq!(score.get()?.points, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub use bytemuck;
#[doc(inline)]
pub use procession_channel::{
    AckError, Bytes, CloseError, ClosedQueue, Codec, Connection, DeadLetter, Encoded, Finished, Fullness,
    GetError, GetManyError, JoinError, JoinableBatch, JoinableBytes, JoinableQueue, JoinableQueueOptions,
    Lease, LeaseToken, LeasedItem, Messages, PeekedItem, Pipe, PipeOptions, PutError, PutManyError, Queue,
    QueueBatch, QueueBytes, QueueOptions, QueueSlots, ReadSlot, Receiver, RecvError, Redeemed, SendError,
    Sender, SimpleQueue, SlotHeld, UnusableEnd, WriteSlot, codec, duplex, pipe,
};
#[doc(inline)]
pub use procession_collections::{CollectionError, List, ListOptions, Map, MapOptions, Snapshot};
#[cfg(feature = "async")]
#[doc(inline)]
pub use procession_process::Joining;
#[doc(inline)]
pub use procession_process::{
    ActiveChild, AsyncResult, Attempt, Calls, Context, Crossing, CurrentProcess, Executor, ExitStatus,
    Failure, Function, Imap, ImapUnordered, Initialized, JoinTimeoutError, KernelError, ParentProcess, Pool,
    PoolError, PoolOptions, Process, ProcessError, ProcessLabel, ProcessOptions, Progress, RemoteError,
    Resource, Restart, RestartScope, SpawnError, StartMethod, Stdio, Supervised, Supervisor, SupervisorError,
    SupervisorEvent, SupervisorHandle, TaskError, TaskItem, Team, TeamError, WaitError, active_children,
    current_process, end_children, futures, leave, parent_process, set_start_method, start_method,
    take_inherited, test_support,
};
#[cfg(feature = "tracing")]
#[doc(inline)]
pub use procession_process::{LogError, log_to_stderr};
#[doc(inline)]
pub use procession_shm::{InvalidName, Label, Namespace, OpenError};
#[doc(inline)]
pub use procession_sync::{
    Array, ArrayError, ArrayOptions, Barrier, BarrierError, BarrierOptions, BlockedThread, BoundedSemaphore,
    BoundedSemaphoreOptions, BreakCause, Condition, ConditionOptions, Deadlock, Event, EventError,
    EventOptions, Fault, Group, GroupOptions, Grouped, HeldBy, Holder, HolderEnd, Integer, Latch, LatchError,
    LatchOptions, Lock, LockError, LockGuard, LockGuardOf, LockOptions, Member, MemberDeath, MemoryError,
    Monitor, OnOwnerDeath, Once, OnceError, OnceOptions, OnceRun, OwnedLockGuard, OwnedPermit,
    OwnedRLockGuard, OwnedReadGuard, OwnedValueGuard, OwnedWriteGuard, Permit, Plain, PlainMemory, RLock,
    RLockGuard, RLockGuardOf, RLockOptions, RawArray, RawArrayOptions, RawValue, RawValueOptions, ReadGuard,
    ReadGuardOf, Readiness, ReleaseError, RwLock, RwLockOptions, Semaphore, SemaphoreError, SemaphoreOptions,
    SharedMemory, SharedMemoryOptions, Shortage, Value, ValueGuard, ValueGuardOf, ValueOptions, WaitAnyError,
    WaitTimeoutResult, Waitable, WriteGuard, WriteGuardOf, blocked_in, deadlocks, deadlocks_in, readiness,
    try_wait, wait, wait_timeout,
};
#[cfg(feature = "async")]
#[doc(inline)]
pub use procession_sync::{Ready, TaskLockGuard, ready};

#[cfg(not(feature = "cluster"))]
#[doc(inline)]
pub use procession_process::init;

/// Makes this program able to run its functions in other processes. Call it in the first line of `main`.
///
/// It does what `init` does without the feature `cluster` (see [`Process::spawn`]: in a child it does not return), and one
/// thing more: in a process that was started by `procession worker` it does not return either, but runs what the pool is
/// given ([`cluster::Pool`]).
///
/// # Panics
/// In a process whose environment has `PROCESSION_CHILD` without the open files it speaks of, or `PROCESSION_WORKER` with
/// something else than [`cluster::WorkerOf`]; and in a worker that is refused by its cluster.
///
/// ```
/// procession::init();
/// println!("neither a child nor a worker");
/// ```
#[cfg(feature = "cluster")]
pub fn init() {
    procession_process::init();
    procession_cluster::become_worker_if_started_as_one();
}

/// The same between hosts: locks, semaphores and queues on a PostgreSQL server, or on this host alone (`shm:`).
#[cfg(feature = "cluster")]
pub mod cluster {
    #[doc(inline)]
    pub use procession_cluster::*;
}

/// What lies beneath the objects: the files in `/dev/shm`, the processes that are registered, and what is
/// removed.
///
/// A program needs it to look at objects whose types it does not know, as the command `procession` does.
pub mod shm {
    #[doc(inline)]
    pub use procession_shm::{
        Difference, Entry, Header, Kind, Participant, Registration, View, codec_name, gc, list_all, look,
        register, register_with_slots,
    };
}

/// Waits that end when the waiting thread has something else to do: a signal has come, or it was told to
/// stop.
///
/// A thread that has a hook asks it while it waits: when a signal has ended its sleep, and at least every
/// tenth of a second. Once the hook answers `true`, the operation fails with `Interrupted`, and everything is
/// as if it had not begun: nothing was put or got, no permit and no lock was taken, and a [`Barrier`] does
/// not count this thread. Every error of an operation that waits has this case.
///
/// ```
/// use procession::{GetError, Queue, interrupt};
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// static STOP: AtomicBool = AtomicBool::new(false);
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let jobs: Queue<String> = Queue::new()?;
///     let worker = std::thread::spawn(move || {
///         // In a program, a handler of SIGINT or SIGTERM sets `STOP`.
///         let _hook = interrupt::on_signal(|| STOP.load(Ordering::Relaxed));
///         jobs.get()
///     });
///     STOP.store(true, Ordering::Relaxed);
///     assert!(matches!(worker.join().unwrap(), Err(GetError::Interrupted(_))));
///     Ok(())
/// }
/// ```
///
/// Operations that only need a moment, such as closing a queue, acknowledging an item or dropping a guard,
/// are never interrupted.
pub mod interrupt {
    pub use procession_sys::interrupt::{OnSignal, on_signal};
}

/// Pages to read: which object is for what, what can be sent, what may surprise, and more.
pub mod guide {
    #[doc = include_str!("../docs/links.txt")]
    #[doc = include_str!("../docs/which-primitive.md")]
    pub mod which_primitive {}
    #[doc = include_str!("../docs/links.txt")]
    #[doc = include_str!("../docs/coming-from-python.md")]
    pub mod coming_from_python {}
    #[doc = include_str!("../docs/python.md")]
    pub mod python {}
    #[doc = include_str!("../docs/from-multiprocessing.md")]
    pub mod from_multiprocessing {}
    #[doc = include_str!("../docs/serde.md")]
    pub mod serde {}
    #[doc = include_str!("../docs/caveats.md")]
    pub mod caveats {}
    #[doc = include_str!("../docs/links.txt")]
    #[doc = include_str!("../docs/operations.md")]
    pub mod operations {}
    #[cfg(feature = "cluster")]
    #[doc = include_str!("../docs/cluster.md")]
    pub mod cluster {}
    #[expect(clippy::test_attr_in_doctest, reason = "it shows a file of tests")]
    #[doc = include_str!("../docs/testing.md")]
    pub mod testing {}
    #[doc = include_str!("../docs/pictures.txt")]
    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}
}

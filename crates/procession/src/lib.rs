//! Separate processes coordinate through named shared memory, and survive `kill -9`.

/// What makes a type plain data, fit for a [`Value`] or an [`Array`]. A program that does not depend on bytemuck itself
/// tells the derives where it is:
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
/// let score = Value::<Score>::new(0)?;
/// score.update(|score| score.points += 3)?;
/// assert_eq!(score.get()?.points, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub use bytemuck;
pub use channel::*;
pub use procession_process::{
    ActiveChild, AsyncResult, Crossing, CurrentProcess, ExitStatus, ImapUnordered, JoinTimeoutError,
    KernelError, ParentProcess, Pool, PoolError, PoolOptions, Process, ProcessError, ProcessLabel,
    ProcessOptions, SpawnError, TaskError, TaskItem, WaitError, active_children, current_process,
    end_children, init, parent_process, take_inherited, test_support,
};
pub use procession_shm::{
    Entry, Header, InvalidName, Kind, Namespace, OpenError, Participant, gc, list_all, register,
    register_with_slots,
};
pub use sync::*;

/// Messages between processes: queues for many, pipes for two; all of it is also at the root.
pub mod channel {
    pub use procession_channel::{
        AckError, Bytes, CloseError, ClosedQueue, Codec, Connection, DeadLetter, Fullness, GetError,
        GetManyError, JoinError, JoinableBytes, JoinableQueue, JoinableQueueOptions, Lease, Messages,
        PipeOptions, PutError, PutManyError, Queue, QueueBatch, QueueBytes, QueueOptions, QueueSlots,
        ReadSlot, Readiness, Receiver, RecvError, SendError, Sender, SimpleQueue, Waitable, WriteSlot, codec,
        duplex, pipe, readiness, wait,
    };
}

/// What processes share to keep out of each other's way, to wait for each other, and to see each other's changes; all
/// of it is also at the root.
pub mod sync {
    pub use procession_sync::{
        Array, ArrayError, ArrayOptions, Barrier, BarrierError, BarrierOptions, BlockedThread,
        BoundedSemaphore, BoundedSemaphoreOptions, BreakCause, Condition, ConditionOptions, Deadlock, Event,
        EventError, EventOptions, Fault, HeldBy, Holder, Integer, Latch, LatchError, LatchOptions, Lock,
        LockError, LockGuard, LockOptions, Member, MemberDeath, MemoryError, Monitor, OnOwnerDeath, Once,
        OnceError, OnceOptions, OnceRun, Permit, Plain, PlainMemory, RLock, RLockGuard, RLockOptions,
        RawArray, RawArrayOptions, RawValue, RawValueOptions, ReadGuard, ReleaseError, RwLock, RwLockOptions,
        Semaphore, SemaphoreError, SemaphoreOptions, SharedMemory, SharedMemoryOptions, Shortage, Value,
        ValueGuard, ValueOptions, WaitTimeoutResult, WriteGuard, blocked_in, deadlocks, deadlocks_in,
    };
}

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

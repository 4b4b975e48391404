//! Locks between processes that no `kill -9` can leave held.
//!
//! Every object lies in a named shared-memory segment, or in an anonymous one whose handle is sent to those
//! who need it. Whoever claims something writes its owner id in the same atomic step; when the owner's
//! process is gone, the next process that waits finds out and puts things right.

mod array;
mod barrier;
mod bridge;
mod cells;
mod condition;
mod deadlock;
mod death_watch;
mod event;
mod eventcount;
mod fault;
mod fencing;
mod gate;
mod group;
mod held_by;
mod held_since;
mod hold;
mod holder;
mod integer;
mod keeper;
mod latch;
mod lock;
mod lock_error;
mod lock_face;
mod lock_word;
mod once;
mod owner_death;
mod patience;
mod permit_cells;
mod plain_face;
mod raw_array;
mod raw_value;
mod readiness;
#[cfg(feature = "async")]
mod ready;
mod rlock;
mod rwlock;
mod semaphore;
mod shared_memory;
mod tags;
#[cfg(feature = "async")]
mod tasks;
mod thread_tag;
mod value;
mod wait;
mod waitable;

pub use array::{Array, ArrayError, ArrayOptions};
pub use barrier::{Barrier, BarrierError, BarrierOptions, BreakCause, Member, MemberDeath};
pub use cells::Plain;
#[doc(hidden)]
pub use cells::{load_words, store_words};
pub use condition::{Condition, ConditionOptions, Monitor, WaitTimeoutResult};
pub use deadlock::{BlockedThread, Deadlock, blocked_in, deadlocks, deadlocks_in};
#[doc(hidden)]
pub use death_watch::{dismiss_watcher, watcher_threads};
pub use event::{Event, EventError, EventOptions};
#[doc(hidden)]
pub use eventcount::EventCount;
pub use fault::Fault;
pub use group::{Group, GroupOptions, Grouped};
pub use held_by::HeldBy;
#[doc(hidden)]
pub use held_by::holder_of;
#[doc(hidden)]
pub use hold::Hold;
pub use holder::Holder;
pub use integer::Integer;
#[doc(hidden)]
pub use keeper::Keeper;
pub use latch::{Latch, LatchError, LatchOptions};
pub use lock::{Lock, LockGuard, LockGuardOf, LockOptions, OwnedLockGuard};
pub use lock_error::LockError;
pub use lock_word::HolderEnd;
#[doc(hidden)]
pub use lock_word::{AcquireError, Claim, LockWord};
pub use once::{Once, OnceError, OnceOptions, OnceRun};
pub use owner_death::OnOwnerDeath;
#[doc(hidden)]
pub use patience::{Nap, Patience, Stop, Whom, spin_until};
pub use raw_array::{RawArray, RawArrayOptions};
pub use raw_value::{RawValue, RawValueOptions};
pub use readiness::{Readiness, readiness};
#[cfg(feature = "async")]
pub use ready::{Ready, ready};
#[cfg(feature = "async")]
#[doc(hidden)]
pub use ready::{Rung, when_ready};
pub use rlock::{OwnedRLockGuard, RLock, RLockGuard, RLockGuardOf, RLockOptions};
pub use rwlock::{
    OwnedReadGuard, OwnedWriteGuard, READERS, ReadGuard, ReadGuardOf, RwLock, RwLockOptions, WriteGuard,
    WriteGuardOf,
};
pub use semaphore::{
    BoundedSemaphore, BoundedSemaphoreOptions, OwnedPermit, Permit, ReleaseError, Semaphore, SemaphoreError,
    SemaphoreOptions, Shortage,
};
pub use shared_memory::{MemoryError, PlainMemory, SharedMemory, SharedMemoryOptions};
#[cfg(feature = "async")]
pub use tasks::TaskLockGuard;
#[doc(hidden)]
pub use thread_tag::held_by_this_thread;
pub use value::{OwnedValueGuard, Value, ValueGuard, ValueGuardOf, ValueOptions};
pub use wait::{WaitAnyError, try_wait, wait, wait_timeout};
pub use waitable::{Waitable, Watch};

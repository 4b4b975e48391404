//! Locks between processes that no `kill -9` can leave held.
//!
//! Every object lies in a named shared-memory segment, or in an anonymous one whose handle is sent to those who
//! need it. Whoever claims something writes its owner id in the same atomic step; when the owner's process is
//! gone, the next process that waits finds out and puts things right.

mod array;
mod condition;
mod eventcount;
mod holder;
mod keeper;
mod lock;
mod lock_word;
mod patience;
mod rlock;
mod rwlock;
mod thread_tag;
mod value;

pub use array::{Array, ArrayError, ArrayOptions};
pub use condition::{Condition, ConditionOptions, Monitor};
#[doc(hidden)]
pub use eventcount::EventCount;
pub use lock::{Holder, Lock, LockError, LockGuard, LockOptions, OnOwnerDeath};
#[doc(hidden)]
pub use lock_word::{AcquireError, Claim, Hold, LockWord};
#[doc(hidden)]
pub use patience::{Nap, Patience};
pub use rlock::{RLock, RLockGuard, RLockOptions};
pub use rwlock::{READERS, ReadGuard, RwLock, RwLockOptions, WriteGuard};
pub use value::{Integer, Value, ValueGuard, ValueOptions};

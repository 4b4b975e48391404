//! Separate processes coordinate through named shared memory, and survive `kill -9`.

pub use procession_shm::{
    Entry, Header, Kind, Namespace, OpenError, Participant, gc, list_all, register, register_with_slots,
};
pub use procession_sync::{Holder, Lock, LockError, LockGuard, LockOptions, OnOwnerDeath};

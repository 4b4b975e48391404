//! Those we compare with.

pub(crate) mod futex;
pub(crate) mod ipc_channel;
pub(crate) mod posix_semaphore;
pub(crate) mod pthread;
pub(crate) mod python;
pub(crate) mod std_mutex;
pub(crate) mod std_rwlock;

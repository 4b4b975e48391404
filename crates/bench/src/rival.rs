//! Those we compare with.

pub(crate) mod cache_line;
pub(crate) mod crossbeam;
pub(crate) mod futex;
pub(crate) mod ipc_channel;
pub(crate) mod memcpy;
pub(crate) mod posix_semaphore;
pub(crate) mod pthread;
pub(crate) mod python;
pub(crate) mod std_mutex;
pub(crate) mod std_rwlock;

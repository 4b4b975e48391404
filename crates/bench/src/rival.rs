//! Those we compare with.

pub(crate) mod boost;
pub(crate) mod cache_line;
pub(crate) mod futex;
#[cfg(feature = "iceoryx2")]
pub(crate) mod iceoryx2;
#[cfg(not(feature = "iceoryx2"))]
#[path = "rival/no_iceoryx2.rs"]
pub(crate) mod iceoryx2;
pub(crate) mod ipc_channel;
pub(crate) mod memcpy;
pub(crate) mod posix_semaphore;
pub(crate) mod processes;
pub(crate) mod procspawn;
pub(crate) mod pthread;
pub(crate) mod python;
pub(crate) mod std_mutex;
pub(crate) mod std_rwlock;
pub(crate) mod threads;

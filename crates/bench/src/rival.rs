//! Those we compare with.

pub(crate) mod ipc_channel;
pub(crate) mod pthread;
pub(crate) mod python;
pub(crate) mod std_mutex;

//! Queues between processes that lose nothing acknowledged.

pub mod codec;

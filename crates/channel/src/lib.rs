//! Queues between processes that lose nothing acknowledged.

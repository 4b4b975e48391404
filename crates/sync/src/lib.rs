//! Locks between processes that no kill -9 can leave held.

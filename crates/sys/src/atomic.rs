//! The atomics that protocols are made of: std's; in `crates/models`, which compiles the same protocols,
//! loom's.

pub use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

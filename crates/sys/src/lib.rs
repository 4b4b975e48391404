//! The only door to the kernel: futexes, clocks, mappings, file locks, pidfds, crash points.

pub mod image;
pub mod memfd;
pub mod pidfd;
pub mod start;

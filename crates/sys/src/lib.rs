//! The only door to the kernel: futexes, clocks, mappings, file locks, pidfds, crash points.

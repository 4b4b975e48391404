//! Randomness enough for demos, from what keys the hash maps of std.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A number below `n`, which is not 0.
pub(crate) fn below(n: u64) -> u64 {
    RandomState::new().hash_one(0) % n
}

/// Works for a random time of at most `longest`; for how long.
pub(crate) fn work(longest: Duration) -> Duration {
    let time = longest * (below(100) as u32 + 1) / 100;
    std::thread::sleep(time);
    time
}

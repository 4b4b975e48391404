//! How many processors we may use, how to wait on one of them for a moment, and how to tell it what comes
//! next.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "instructions that ask for a cache line"))]

use std::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};

/// How many processors this process may run on (its affinity mask), read once.
#[must_use]
pub fn available() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // Relaxed: the number guards nothing, and reading it twice finds the same.
    match COUNT.load(Ordering::Relaxed) {
        0 => {
            let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            COUNT.store(count, Ordering::Relaxed);
            count
        }
        count => count,
    }
}

/// Exponential pauses for a spinning waiter, bounded by time because a pause costs 40 to 140 cycles by model.
#[derive(Debug)]
pub struct Spin {
    pauses: u32,
    until_ns: u64,
}

impl Spin {
    /// Spins for at most `budget_ns`, and not at all on a single processor, where the other side cannot run.
    #[must_use]
    pub fn for_ns(budget_ns: u64) -> Self {
        let budget_ns = if available() > 1 { budget_ns } else { 0 };
        Self { pauses: 1, until_ns: super::clock::now_ns().saturating_add(budget_ns) }
    }

    /// Begins with `pauses` at a time: each look takes the cache line away from whoever works there.
    #[must_use]
    pub fn starting_with(mut self, pauses: u32) -> Self {
        self.pauses = pauses;
        self
    }

    /// Pauses, twice as long each time up to `cap`; `false` once the budget is used up.
    pub fn pause(&mut self, cap: u32) -> bool {
        for _ in 0..self.pauses {
            std::hint::spin_loop();
        }
        self.pauses = (self.pauses * 2).min(cap);
        super::clock::now_ns() < self.until_ns
    }
}

/// A full fence between an earlier atomic read-modify-write of this thread and its later loads.
///
/// On x86-64 the locked instruction itself is that fence, so that only the compiler must be kept from moving
/// the loads; elsewhere it is `fence(SeqCst)`. The edge is the caller's, and named where it is called.
#[inline]
pub fn fence_after_rmw() {
    if cfg!(target_arch = "x86_64") {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Asks for the cache line of `place`, which will be written soon: other processors lose it. A hint; nothing
/// is read.
#[inline]
pub fn will_write<T>(place: &T) {
    // SAFETY: the instruction changes nothing that a program can see, and never faults.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Asks for the cache line of `place`, which will be read soon. A hint; nothing is read.
#[inline]
pub fn will_read<T>(place: &T) {
    // SAFETY: as above.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

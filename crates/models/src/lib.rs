//! The word protocols of `procession-sync`, compiled from their own files against loom's atomics and a modelled kernel.
//!
//! loom runs a model through every interleaving and every order of loads that the memory model allows (up to a bound on
//! preemptions). This crate stands in for `procession-sys` and `procession-shm`: under their names it offers what the
//! protocols use, so that the very files of `crates/sync/src` are tried, and no copy can go stale. `build.rs` also makes
//! copies with one line made wrong; the models must notice each of them.
//!
//! # What is modelled
//! * A futex: a queue per word behind a lock, as in the kernel. A wake takes sleepers from the queue.
//! * Time: slices never end by themselves, so that a lost wake is a deadlock, which loom reports. Timeouts end when the
//!   model [lets them](kernel::expire).
//! * Death: a thread that is [killed at a crash point](kernel::until_killed) does nothing any more. Then every sleeper's
//!   slice ends once, as it would within 100 ms.

extern crate self as procession_shm;
extern crate self as procession_sys;

pub mod kernel;
mod liveness;
pub mod patience;

pub use kernel::{Deadline, crash_point};
pub use liveness::{OpenError, OwnerId, Registration, Segment, Unknowable};

/// As `procession_sys::atomic`.
pub mod atomic {
    pub use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
    pub use std::sync::atomic::Ordering;
}

/// As `procession_sys::futex`.
pub mod futex {
    pub use crate::kernel::{Waited, low_half, wait, wake, wake_all};
}

/// As `procession_sys::clock`: time stands still.
pub mod clock {
    use std::time::Duration;

    /// Always the same.
    pub fn now_ns() -> u64 {
        1
    }

    /// Lets others go first.
    pub fn nap(_: Duration) {
        loom::thread::yield_now();
    }
}

/// As `procession_sys::cpu`: nobody spins.
pub mod cpu {
    /// Gives up at once.
    #[derive(Debug)]
    pub struct Spin;

    impl Spin {
        /// As if the time was over.
        pub fn for_ns(_: u64) -> Self {
            Self
        }

        /// The same.
        pub fn starting_with(self, _: u32) -> Self {
            self
        }

        /// Never pauses.
        pub fn pause(&mut self, _: u32) -> bool {
            false
        }
    }

    /// A locked instruction is a fence on x86-64 alone; modelled as on the others.
    pub fn fence_after_rmw() {
        loom::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}

/// As `procession_sync`'s module: nobody backs out.
mod deadlock {
    use crate::Segment;

    pub(crate) fn is_ours_to_break<W>(_: &Segment, _: &W) -> bool {
        false
    }
}

/// As `procession_sync`'s module: a process of a model has one thread.
mod thread_tag {
    pub(crate) const MASK: u32 = 2047 << 16;

    pub(crate) fn current() -> u32 {
        1 << 16
    }
}

/// A word of shared memory that begins as zero.
pub trait Zeroed {
    /// All zero.
    fn zeroed() -> Self;
}

macro_rules! zeroed {
    ($($atomic:ident),*) => {$(
        impl Zeroed for atomic::$atomic {
            fn zeroed() -> Self {
                Self::new(0)
            }
        }
    )*};
}
zeroed!(AtomicU8, AtomicU16, AtomicU32, AtomicU64);

impl<T: Zeroed, const N: usize> Zeroed for [T; N] {
    fn zeroed() -> Self {
        std::array::from_fn(|_| T::zeroed())
    }
}

/// As `procession_sys::shm_struct`, for memory of the model.
#[macro_export]
macro_rules! shm_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $fvis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$doc])* $fvis $field: $type,)* }

        impl $crate::Zeroed for $name {
            fn zeroed() -> Self {
                Self { $($field: $crate::Zeroed::zeroed(),)* }
            }
        }
    };
}

#[path = "../../sync/src/eventcount.rs"]
pub mod eventcount;
#[path = "../../sync/src/lock_word.rs"]
pub mod lock_word;

/// The protocols, each with one mistake.
pub mod mutants {
    macro_rules! mutants {
        ($($name:ident)*) => {$(
            pub mod $name {
                include!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".rs"));
            }
        )*};
    }
    mutants! {
        eventcount_that_drops_a_waiter
        eventcount_that_quiets_a_sleeper
        eventcount_without_a_fence
        lock_word_that_acquires_relaxed
        lock_word_that_buries_the_wrong_owner
        lock_word_that_drops_the_waiters
        lock_word_that_keeps_a_wake_to_itself
        lock_word_that_leaves_a_wake_on_its_way
        lock_word_that_quiets_a_sleeper
        lock_word_that_releases_relaxed
    }
}

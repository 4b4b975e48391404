//! Integers in a [`Value`], which change in one CAS of the value's word, without its lock.

use super::{Value, from_word, to_word};
use bytemuck::Pod;
use procession_sys::crash_point;
use std::sync::atomic::Ordering;

/// The integers, which a [`Value`] can change without its lock.
pub trait Integer: Pod + Ord + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! integers {
    ($($type:ty)*) => { $(impl Integer for $type {} impl sealed::Sealed for $type {})* };
}
integers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

/// Without the lock, and without waiting for anybody. A guard that is held meanwhile sees nothing of it, and adds its
/// own difference when it commits: sums stay right, so beside guards use `fetch_add` and `fetch_sub` only.
impl<T: Integer> Value<T> {
    /// Adds, wrapping around; what it was before.
    #[inline]
    pub fn fetch_add(&self, n: T) -> T {
        let n = to_word(&n);
        from_word(self.change_word(|word| word.wrapping_add(n)))
    }

    /// Subtracts, wrapping around; what it was before.
    #[inline]
    pub fn fetch_sub(&self, n: T) -> T {
        let n = to_word(&n);
        from_word(self.change_word(|word| word.wrapping_sub(n)))
    }

    /// Bitwise and; what it was before.
    #[inline]
    pub fn fetch_and(&self, n: T) -> T {
        let n = to_word(&n);
        from_word(self.change_word(|word| word & n))
    }

    /// Bitwise or; what it was before.
    #[inline]
    pub fn fetch_or(&self, n: T) -> T {
        let n = to_word(&n);
        from_word(self.change_word(|word| word | n))
    }

    /// Bitwise exclusive or; what it was before.
    #[inline]
    pub fn fetch_xor(&self, n: T) -> T {
        let n = to_word(&n);
        from_word(self.change_word(|word| word ^ n))
    }

    /// Makes it `n` if that is more; what it was before.
    #[inline]
    pub fn fetch_max(&self, n: T) -> T {
        from_word(self.change_word(|word| to_word(&n.max(from_word(word)))))
    }

    /// Makes it `n` if that is less; what it was before.
    #[inline]
    pub fn fetch_min(&self, n: T) -> T {
        from_word(self.change_word(|word| to_word(&n.min(from_word(word)))))
    }

    /// Makes it `n`; what it was before.
    #[inline]
    pub fn swap(&self, n: T) -> T {
        let n = to_word(&n);
        from_word(self.change_word(|_| n))
    }

    /// Makes it `new` if it is `current`.
    ///
    /// # Errors
    /// What it is instead.
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        let (current, new) = (to_word(&current), to_word(&new));
        let outcome = self.body.word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire);
        crash_point("value.exchanged");
        outcome.map(from_word).map_err(from_word)
    }
}

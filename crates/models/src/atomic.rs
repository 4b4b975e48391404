//! As `procession_sys::atomic`: loom's atomics, which the dead do not reach.
//!
//! A death is a panic (`kernel::until_killed`), and unwinding runs destructors: those of guards would release
//! what a killed process keeps. So nothing that is done during a panic has any effect.
//!
//! Beside each atomic stands another to which every load stores. loom tries two accesses in both orders if
//! one of them changes something, but remembers only the last access to each atomic: a thread that loads and
//! then stores hides from it that another had loaded before. The store beside it (relaxed, and never read)
//! orders nothing, and is not hidden.

pub use std::sync::atomic::Ordering;

fn is_dying() -> bool {
    std::thread::panicking()
}

/// As `std::sync::atomic::fence`.
pub fn fence(order: Ordering) {
    if !is_dying() {
        loom::sync::atomic::fence(order);
    }
}

macro_rules! atomics {
    ($($name:ident: $int:ty),*) => {$(
        /// As std's.
        #[derive(Debug)]
        pub struct $name(loom::sync::atomic::$name, loom::sync::atomic::AtomicU8);

        impl $name {
            pub fn new(value: $int) -> Self {
                Self(loom::sync::atomic::$name::new(value), loom::sync::atomic::AtomicU8::new(0))
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $int {
                if is_dying() {
                    return 0;
                }
                self.1.store(0, Ordering::Relaxed);
                self.0.load(order)
            }

            #[track_caller]
            pub fn store(&self, value: $int, order: Ordering) {
                if !is_dying() {
                    self.0.store(value, order);
                }
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $int,
                new: $int,
                done: Ordering,
                otherwise: Ordering,
            ) -> Result<$int, $int> {
                if is_dying() { Ok(current) } else { self.0.compare_exchange(current, new, done, otherwise) }
            }

            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                current: $int,
                new: $int,
                done: Ordering,
                otherwise: Ordering,
            ) -> Result<$int, $int> {
                self.compare_exchange(current, new, done, otherwise)
            }

            #[track_caller]
            pub fn fetch_update(
                &self,
                done: Ordering,
                otherwise: Ordering,
                mut change: impl FnMut($int) -> Option<$int>,
            ) -> Result<$int, $int> {
                let mut old = self.load(otherwise);
                while let Some(new) = change(old) {
                    match self.compare_exchange(old, new, done, otherwise) {
                        Ok(old) => return Ok(old),
                        Err(now) => old = now,
                    }
                }
                Err(old)
            }
        }

        atomics!(@changes $name $int: swap fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
    )*};
    (@changes $name:ident $int:ty: $($change:ident)*) => {
        impl $name {
            $(#[track_caller]
            pub fn $change(&self, value: $int, order: Ordering) -> $int {
                if is_dying() { 0 } else { self.0.$change(value, order) }
            })*
        }
    };
}
atomics!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

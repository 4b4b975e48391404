//! A piece of plain data between processes, as bare memory: no lock, no copies, nothing to recover.
//!
//! The body is the data, in atomics as `cells.rs` says. A store is the commit of at most 8 bytes.
//!
//! # Orderings
//! Edge `raw.value`: the Release that stores at most 8 bytes meets the Acquire that loads them. More are
//! stored word by word, Relaxed, and order nothing.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | writing at most 8 bytes | the old ones or the new ones | nothing |
//! | writing more | some words new, some old | nobody: that is what [`Value`](crate::Value) is for |

use crate::cells::{Cells, Plain, from_word, load_words, store_words, stride, to_word};
use crate::integer::{Integer, integer_operations};
use crate::plain_face::{ValueSettings, value_options};
use procession_shm::{HEADER_LEN, Kind, Object, OpenError, Shape, Shared};
use procession_sys::{Mapping, crash_point};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A value between processes without a lock: what has at most 8 bytes is always whole, **what has more may be
/// torn**.
///
/// A reader may see some words of one write and some of another, and a writer that is killed leaves some of
/// its words. Where that matters, use a [`Value`](crate::Value). Nothing here ever waits or fails, and
/// integers are atomic counters.
///
/// ```
/// use procession::RawValue;
///
/// let served: RawValue<u64> = RawValue::create("served", 10)?;
/// served.fetch_add(5);
/// assert_eq!(served.get(), 15);
/// # served.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawValue<T> {
    body: Shared<[AtomicU8; 0]>,
    values: PhantomData<fn(T) -> T>,
}

value_options!(
    /// How a [`RawValue`] is created or opened.
    RawValueOptions => RawValue
);

impl<T: Plain> Object for RawValue<T> {
    const KIND: Kind = Kind::RAW_VALUE;
    type Body = [AtomicU8; 0];
    type Settings = ValueSettings<T>;

    fn shape(settings: &ValueSettings<T>) -> Shape {
        settings.shape(Self::KIND, stride(size_of::<T>()))
    }

    fn initialise_all(_: &Self::Body, mapping: &Mapping, settings: &ValueSettings<T>) {
        if let Some(value) = &settings.initial {
            // Nobody else sees it yet, and every width begins with the data's own bytes.
            let _: bool = mapping.copy_in(HEADER_LEN, bytemuck::bytes_of(value));
        }
    }

    fn forget_owners(_: &Self::Body) {}

    fn attach(body: Shared<Self::Body>) -> Result<Self, OpenError> {
        if Cells::of(&body, 0, size_of::<T>(), 1).is_none() {
            return Err(body.segment().corrupt("the body is too small for its value"));
        }
        Ok(Self { body, values: PhantomData })
    }
}

impl<T: Plain> RawValue<T> {
    /// The value; of more than 8 bytes, maybe half of one and half of another.
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        if size_of::<T>() <= 8 {
            // SYNC: raw.value.
            return from_word(self.cells().load(0, Ordering::Acquire).unwrap_or_default());
        }
        let mut value = T::zeroed();
        load_words(self.words(), bytemuck::bytes_of_mut(&mut value));
        value
    }

    /// Makes it `value`; of more than 8 bytes, word by word.
    #[inline]
    pub fn set(&self, value: T) {
        if size_of::<T>() <= 8 {
            // SYNC: raw.value.
            self.cells().store(0, to_word(&value), Ordering::Release);
        } else {
            store_words(self.words(), bytemuck::bytes_of(&value), || ());
        }
        crash_point("raw_value.set");
    }

    /// The first byte, for what copies are too slow for: as [`RawArray::as_ptr`](crate::RawArray::as_ptr).
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.cells().as_ptr()
    }

    #[inline]
    fn cells(&self) -> Cells<'_> {
        // There always is one: `attach` has looked.
        Cells::of(&self.body, 0, size_of::<T>(), 1).unwrap_or_default()
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        self.cells().words(0, size_of::<T>()).unwrap_or_default()
    }
}

impl<T: Integer> RawValue<T> {
    /// Makes it `new` if it is `current`.
    ///
    /// # Errors
    /// The value that it has instead.
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        let was = self.change(|old| (old == current).then_some(new));
        if was == current { Ok(was) } else { Err(was) }
    }

    #[inline]
    fn change(&self, change: impl Fn(T) -> Option<T>) -> T {
        let was = self.cells().change(0, |word| change(from_word(word)).as_ref().map(to_word));
        crash_point("raw_value.changed");
        from_word(was.unwrap_or_default())
    }
}

integer_operations! {
    /// In one step, without waiting for anybody.
    RawValue() -> T;
}

impl<T> Clone for RawValue<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), values: PhantomData }
    }
}

impl<T> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawValue").field("name", &self.body.segment().name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::RawValue;
    use procession_shm::{Namespace, OpenError};

    #[test]
    fn every_size_comes_back_as_it_went_in() {
        fn check<const N: usize>() {
            let bytes: [u8; N] = std::array::from_fn(|index| index as u8 ^ 0xa5);
            let options = || RawValue::options().namespace(&Namespace::private());
            let (value, made): (RawValue<[u8; N]>, _) =
                (options().anonymous().unwrap(), options().initial(bytes).anonymous().unwrap());
            assert_eq!((value.get(), made.get()), ([0; N], bytes));
            value.set(bytes);
            assert_eq!(value.get(), bytes);
        }
        check::<0>();
        check::<1>();
        check::<3>();
        check::<8>();
        check::<13>();
        check::<5000>();
    }

    #[test]
    fn counters_lose_nothing_and_wrap_at_their_own_width() {
        let count: RawValue<i16> = RawValue::options().namespace(&Namespace::private()).anonymous().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        count.fetch_add(1);
                    }
                });
            }
        });
        assert_eq!(count.get(), 80_000_i32 as i16);
        assert_eq!((count.swap(-1), count.fetch_max(3), count.fetch_xor(1)), (80_000_i32 as i16, -1, 3));
        assert_eq!((count.compare_exchange(3, 4), count.compare_exchange(2, 5)), (Err(2), Ok(2)));
    }

    #[test]
    fn it_is_opened_as_what_it_was_created() {
        let namespace = Namespace::private();
        let made: RawValue<u32> = RawValue::options().namespace(&namespace).create("v").unwrap();
        let as_float = RawValue::<f32>::options().namespace(&namespace).open("v");
        assert!(matches!(as_float, Err(OpenError::ElementType { .. })));
        let as_value = crate::Value::<u32>::options().namespace(&namespace).open("v");
        assert!(matches!(as_value, Err(OpenError::Kind { .. })));
        made.unlink().unwrap();
    }
}

//! Many elements between processes as bare memory: no lock, no log, nothing to recover.
//!
//! The body is the elements, in atomics as `cells.rs` says. A store is the commit of one element of at most 8
//! bytes.
//!
//! # Orderings
//! Edge `raw.element`: the Release that stores an element of at most 8 bytes meets the Acquire that loads it.
//! Larger ones are stored word by word, Relaxed, and order nothing.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | writing one element of at most 8 bytes | the old one or the new one | nothing |
//! | writing several, or larger ones | some new, some old | nobody: that is what [`Array`](crate::Array) is for |

use crate::array::ArrayError;
use crate::cells::{Cells, Plain, from_word, load_words, store_words, stride, to_word};
use crate::integer::{Integer, integer_operations};
use crate::plain_face::{ArraySettings, array_options, elements_len, len_of};
use procession_shm::{HEADER_LEN, Kind, Object, OpenError, Shape, Shared};
use procession_sys::{Mapping, crash_point};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

/// A fixed number of elements between processes without a lock: each of at most 8 bytes is always whole,
/// **larger ones, and ranges, may be torn**.
///
/// A reader may see some of one write and some of another, and a writer that is killed leaves what it has
/// written so far. Where that matters, use an [`Array`](crate::Array). Nothing here ever waits, and integers
/// are atomic counters.
///
/// ```
/// use procession::RawArray;
///
/// let seen: RawArray<u32> = RawArray::create("seen", 256)?;
/// for byte in b"banana" {
///     seen.fetch_add(usize::from(*byte), 1)?;
/// }
/// assert_eq!(seen.read(usize::from(b'a')..usize::from(b'c'))?, [3, 1]);
/// # seen.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawArray<T> {
    body: Shared<[AtomicU8; 0]>,
    len: usize,
    elements: PhantomData<fn(T) -> T>,
}

array_options!(
    /// How a [`RawArray`] is created or opened.
    RawArrayOptions => RawArray
);

impl<T: Plain> Object for RawArray<T> {
    const KIND: Kind = Kind::RAW_ARRAY;
    type Body = [AtomicU8; 0];
    type Settings = ArraySettings;

    fn check(settings: &ArraySettings) -> Result<(), &'static str> {
        settings.check(stride(size_of::<T>()))
    }

    fn check_new(settings: &ArraySettings) -> Result<(), &'static str> {
        settings.check_new()
    }

    fn shape(settings: &ArraySettings) -> Shape {
        settings.shape::<T>(Self::KIND, elements_len::<T>)
    }

    fn initialise_all(_: &Self::Body, mapping: &Mapping, settings: &ArraySettings) {
        settings.initialise::<T>(mapping, HEADER_LEN);
    }

    fn forget_owners(_: &Self::Body) {}

    fn attach(body: Shared<Self::Body>) -> Result<Self, OpenError> {
        let len = len_of(body.segment(), |len| Cells::of(&body, 0, size_of::<T>(), len).is_some())?;
        Ok(Self { len, body, elements: PhantomData })
    }
}

impl<T: Plain> RawArray<T> {
    /// An element; of more than 8 bytes, maybe half of one and half of another.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ArrayError> {
        load(self.cells(), index).ok_or_else(|| self.no_such(index))
    }

    /// Makes an element `value`; of more than 8 bytes, word by word.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), ArrayError> {
        self.write(index, &[value])
    }

    /// A range of elements, one after the other.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    pub fn read(&self, range: Range<usize>) -> Result<Vec<T>, ArrayError> {
        self.check(&range)?;
        let cells = self.cells();
        Ok(range.filter_map(|index| load(cells, index)).collect())
    }

    /// Reads as many elements as `part` has room for, from `start` on, one after the other.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    pub fn read_into(&self, start: usize, part: &mut [T]) -> Result<(), ArrayError> {
        self.check(&(start..start.saturating_add(part.len())))?;
        let cells = self.cells();
        for (index, element) in (start..).zip(part) {
            *element = load(cells, index).unwrap_or_else(T::zeroed);
        }
        Ok(())
    }

    /// Makes the elements from `start` on `values`, one after the other.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    #[inline]
    pub fn write(&self, start: usize, values: &[T]) -> Result<(), ArrayError> {
        self.check(&(start..start.saturating_add(values.len())))?;
        let cells = self.cells();
        for (index, value) in (start..).zip(values) {
            match cells.words(index, size_of::<T>()) {
                Some(words) if size_of::<T>() > 8 => store_words(words, bytemuck::bytes_of(value), || ()),
                // SYNC: raw.element.
                _ => cells.store(index, to_word(value), Ordering::Release),
            }
            crash_point("raw_array.written");
        }
        Ok(())
    }

    #[inline]
    fn cells(&self) -> Cells<'_> {
        // There always are so many: `attach` has looked.
        Cells::of(&self.body, 0, size_of::<T>(), self.len).unwrap_or_default()
    }
}

/// The element at `index`, if there is one.
#[inline]
fn load<T: Plain>(cells: Cells<'_>, index: usize) -> Option<T> {
    if size_of::<T>() <= 8 {
        // SYNC: raw.element.
        return cells.load(index, Ordering::Acquire).map(from_word);
    }
    let mut value = T::zeroed();
    load_words(cells.words(index, size_of::<T>())?, bytemuck::bytes_of_mut(&mut value));
    Some(value)
}

impl<T: Integer> RawArray<T> {
    /// Makes an element `new` if it is `current`; otherwise the inner error says what it is instead.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    #[inline]
    pub fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<Result<T, T>, ArrayError> {
        let was = self.change(index, |old| (old == current).then_some(new))?;
        Ok(if was == current { Ok(was) } else { Err(was) })
    }

    #[inline]
    fn change(&self, index: usize, change: impl Fn(T) -> Option<T>) -> Result<T, ArrayError> {
        let was = self.cells().change(index, |word| change(from_word(word)).as_ref().map(to_word));
        crash_point("raw_array.changed");
        was.map(from_word).ok_or_else(|| self.no_such(index))
    }
}

integer_operations! {
    /// In one step, without waiting for anybody.
    RawArray(index) -> Result<T, ArrayError>;
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
}

impl<T> Clone for RawArray<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), len: self.len, elements: PhantomData }
    }
}

impl<T> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawArray")
            .field("name", &self.body.segment().name())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::RawArray;
    use crate::ArrayError;
    use bytemuck::Pod;
    use procession_shm::{Namespace, OpenError};

    fn array<T: Pod>(len: usize) -> RawArray<T> {
        RawArray::options().namespace(&Namespace::private()).len(len).anonymous().unwrap()
    }

    #[test]
    fn elements_of_every_size_keep_to_themselves() {
        fn check<const N: usize>()
        where
            [u8; N]: Pod,
        {
            let array: RawArray<[u8; N]> = array(5);
            let ones = [[1; N], [2; N], [3; N]];
            array.write(1, &ones).unwrap();
            array.set(3, [9; N]).unwrap();
            assert_eq!(array.read(0..5).unwrap(), [[0; N], [1; N], [2; N], [9; N], [0; N]]);
            let mut last = [[5; N]; 2];
            array.read_into(3, &mut last).unwrap();
            assert_eq!((last, array.get(2).unwrap()), ([[9; N], [0; N]], [2; N]));
            let same =
                RawArray::options().namespace(&Namespace::private()).initial(&ones).anonymous().unwrap();
            assert_eq!((same.len(), same.read(0..3).unwrap()), (3, ones.to_vec()));
        }
        check::<1>();
        check::<3>();
        check::<6>();
        check::<8>();
        check::<12>();
        check::<100>();
    }

    #[test]
    fn nonsense_is_refused() {
        let array: RawArray<u16> = array(3);
        let backwards = std::ops::Range { start: 2, end: 1 };
        for range in [0..4, 4..4, backwards, 0..usize::MAX] {
            assert!(matches!(array.read(range), Err(ArrayError::OutOfRange { len: 3, .. })));
        }
        assert!(matches!(array.get(3), Err(ArrayError::OutOfRange { start: 3, end: 4, len: 3, .. })));
        assert!(matches!(array.write(2, &[1, 2]), Err(ArrayError::OutOfRange { start: 2, end: 4, .. })));
        assert!(matches!(array.fetch_add(usize::MAX, 1), Err(ArrayError::OutOfRange { .. })));
        let options = || RawArray::<[u64; 3]>::options().namespace(&Namespace::private());
        for impossible in [options(), options().len(0), options().len(1 << 43), options().len(usize::MAX)] {
            assert!(matches!(impossible.anonymous(), Err(OpenError::Impossible { .. })), "{impossible:?}");
        }
    }

    #[test]
    fn neighbours_are_counted_apart() {
        let array: RawArray<u8> = array(4);
        std::thread::scope(|scope| {
            for index in 0..4 {
                let array = &array;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        array.fetch_add(index, 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(array.read(0..4).unwrap(), [10_000_u64 as u8; 4]);
        assert_eq!(array.compare_exchange(1, 16, 5).unwrap(), Ok(16));
        assert_eq!(array.compare_exchange(1, 16, 6).unwrap(), Err(5));
    }
}

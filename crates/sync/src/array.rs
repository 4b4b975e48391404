//! Many small elements between processes: each of them is whole at every instant, and so is an update of a range.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `lock` | see `lock_word.rs` | one at a time writes |
//! | `log` | holder of `lock` | number of updates · 2, + 1 while the log holds an update to be applied. **Its store commits** |
//! | `log_start`, `log_len` | holder of `lock`, while nothing is pending | the range that the log is about |
//! | elements | holder of `lock`; atomically by anybody (`fetch_add`) | a word each |
//! | logged words | holder of `lock`, while nothing is pending | the new elements of the range |
//!
//! An update is written to the log, committed, copied from the log to the elements, and then the log is empty again.
//! Whoever acquires the lock finishes what it finds pending. A reader that finds an update pending reads the log where
//! the log speaks of its element: so everybody sees the update from its commit on, also when its writer is dead.
//!
//! # Orderings
//! Edge `array.commit`: the Release store of `log` meets the Acquire load of a reader. Edge `array.reuse`: a Release
//! fence before the log is written again meets the Acquire fence of a reader that has read from it, who then sees that
//! `log` has moved. Elements: Release and Acquire, so that who sees one applied element sees the update pending.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | writing the log | garbage in the log, nothing pending | nothing: the next update writes over it |
//! | after the commit, before all is applied | an update pending | readers read the log; the next holder of `lock` applies it |
//! | after it is applied, before the log is emptied | the same | the same: applying twice is applying once |
//! | finishing the update of another | the same | the same |

use crate::keeper::{Keeper, would_block};
use crate::lock_word::{Claim, Hold, LockWord};
use crate::value::{Integer, from_word, to_word};
use crate::{Holder, LockError, holder};
use bytemuck::Pod;
use procession_shm::{Kind, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::{Deadline, crash_point, shm_struct};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

shm_struct! {
    #[doc(hidden)]
    pub struct ArrayBody {
        lock: LockWord,
        log: AtomicU64,
        log_start: AtomicU64,
        log_len: AtomicU64,
        /// To the end of the cache line.
        spare: [AtomicU64; 2],
    }
}

const ELEMENTS: usize = size_of::<ArrayBody>();
/// In `log`: an update is to be applied.
const PENDING: u64 = 1;

/// A fixed number of elements between processes, of at most 8 bytes each.
///
/// Every element is whole at every instant, and reading one waits for nobody. [`update`](Self::update) changes a range
/// as one: all of it from one instant on, or, if the process is killed before, nothing. Each element takes 16 bytes of
/// shared memory; an operation costs by the range it is about, not by the array.
///
/// ```
/// use procession_sync::Array;
///
/// # let namespace = procession_shm::Namespace::private();
/// let cells: Array<i32> = Array::options().namespace(&namespace).len(1000).create("cells")?;
/// cells.set(3, 7)?;
/// cells.update(2..5, |part| part.reverse())?;
/// cells.fetch_add(4, 10)?;
/// assert_eq!(cells.read(2..5)?, [0, 7, 10]);
/// # cells.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Array<T> {
    body: Shared<ArrayBody>,
    keeper: Keeper,
    len: usize,
    elements: PhantomData<fn(T) -> T>,
}

/// How an [`Array`] is created or opened.
#[derive(Clone, Debug)]
pub struct ArrayOptions<T> {
    place: Placement,
    settings: ArraySettings,
    elements: PhantomData<fn(T) -> T>,
}

#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct ArraySettings {
    len: Option<u64>,
    type_tag: Option<String>,
}

impl<T> Default for ArrayOptions<T> {
    fn default() -> Self {
        Self { place: Placement::default(), settings: ArraySettings::default(), elements: PhantomData }
    }
}

impl<T> ArrayOptions<T> {
    /// How many elements it has, all zero at first; none unless said. Those who open it need not say.
    #[must_use]
    pub fn len(mut self, elements: usize) -> Self {
        self.settings.len = Some(elements as u64);
        self
    }

    /// Says what the elements are called, instead of the name of `T`.
    #[must_use]
    pub fn type_tag(mut self, tag: &str) -> Self {
        self.settings.type_tag = Some(tag.to_owned());
        self
    }
}

procession_shm::object_builders!([T: Pod] ArrayOptions<T> => Array<T>);

impl<T: Pod> Object for Array<T> {
    type Body = ArrayBody;
    type Settings = ArraySettings;

    fn shape(settings: &ArraySettings) -> Shape {
        const { assert!(size_of::<T>() <= 8, "an element of an Array has at most 8 bytes") };
        let len = Parameter { name: "len", value: settings.len.unwrap_or(0), asked: settings.len.is_some() };
        let size = Parameter { name: "size", value: size_of::<T>() as u64, asked: true };
        let tag = settings.type_tag.clone().unwrap_or_else(procession_shm::element_tag::<T>);
        // More than any memory is the kernel's to refuse.
        let body_len = len.value.saturating_mul(16).saturating_add(ELEMENTS as u64).min(1 << 60);
        let parameters = [len, size, Parameter::default(), Parameter::default()];
        Shape { kind: Kind::ARRAY, body_len, parameters, element: Some(tag), codec: 0 }
    }

    fn initialise(_: &ArrayBody, _: &ArraySettings) {}

    fn forget_owners(body: &ArrayBody) {
        body.lock.forget_owner();
    }

    fn attach(body: Shared<ArrayBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let len = usize::try_from(segment.header().parameters[0]).ok();
        let fits = |len: &usize| {
            len.checked_mul(2).is_some_and(|words| body.slice::<AtomicU64>(ELEMENTS, words).is_some())
        };
        let len =
            len.filter(fits).ok_or_else(|| segment.corrupt("the body is too small for its elements"))?;
        Ok(Self { keeper: Keeper::new(segment), len, body, elements: PhantomData })
    }
}

/// Why an operation on an array failed; then it has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// There are not so many elements.
    #[error("elements {start}..{end} of an array that has {len}")]
    OutOfRange {
        /// The first element asked for.
        start: usize,
        /// Behind the last one.
        end: usize,
        /// How many there are.
        len: usize,
    },
    /// The array's lock was not acquired.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl<T: Pod> Array<T> {
    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// An element. Nobody is waited for.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`].
    pub fn get(&self, index: usize) -> Result<T, ArrayError> {
        let [element, logged] = self.words();
        let element =
            element.get(index).ok_or_else(|| self.out_of_range(&(index..index.saturating_add(1))))?;
        loop {
            // SYNC: array.commit.
            let log = self.body.log.load(Ordering::Acquire);
            if log & PENDING == 0 {
                return Ok(from_word(element.load(Ordering::Acquire)));
            }
            let (start, len) = self.pending();
            let word = match index.checked_sub(start).filter(|&at| at < len).and_then(|at| logged.get(at)) {
                Some(word) => word.load(Ordering::Relaxed),
                None => element.load(Ordering::Acquire),
            };
            // SYNC: array.reuse.
            fence(Ordering::Acquire);
            if self.body.log.load(Ordering::Relaxed) == log {
                return Ok(from_word(word));
            }
        }
    }

    /// Makes an element `value`.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn set(&self, index: usize, value: T) -> Result<(), ArrayError> {
        self.write(index, &[value])
    }

    /// A range of elements, as it was at one instant: writers are kept out meanwhile.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn read(&self, range: Range<usize>) -> Result<Vec<T>, ArrayError> {
        self.check(&range)?;
        let held = self.hold(Deadline::NEVER)?;
        let elements = self.elements(&range).iter().map(|word| from_word(word.load(Ordering::Acquire)));
        let elements = elements.collect();
        drop(held);
        Ok(elements)
    }

    /// Makes the elements from `start` on `values`, all at once.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn write(&self, start: usize, values: &[T]) -> Result<(), ArrayError> {
        self.update(start..start.saturating_add(values.len()), |part| part.copy_from_slice(values))
    }

    /// Changes a range: all of what `change` does to its copy is committed at once when it returns; nothing of it if it
    /// panics, or if the process is killed before.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`]; [`ArrayError::Lock`] as [`Value::update`](crate::Value::update).
    pub fn update<R>(
        &self,
        range: Range<usize>,
        change: impl FnOnce(&mut [T]) -> R,
    ) -> Result<R, ArrayError> {
        self.update_until(range, change, Deadline::NEVER)
    }

    /// As [`update`](Self::update), if nobody is writing now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] in [`ArrayError::Lock`]; otherwise as [`update`](Self::update).
    pub fn try_update<R>(
        &self,
        range: Range<usize>,
        change: impl FnOnce(&mut [T]) -> R,
    ) -> Result<R, ArrayError> {
        self.update_until(range, change, Deadline::PASSED).map_err(|error| match error {
            ArrayError::Lock(error) => ArrayError::Lock(would_block(error)),
            other => other,
        })
    }

    /// As [`update`](Self::update), waiting at most `timeout` for those who are writing.
    ///
    /// # Errors
    /// [`LockError::TimedOut`] in [`ArrayError::Lock`]; otherwise as [`update`](Self::update).
    pub fn update_timeout<R>(
        &self,
        range: Range<usize>,
        change: impl FnOnce(&mut [T]) -> R,
        timeout: Duration,
    ) -> Result<R, ArrayError> {
        self.update_until(range, change, Deadline::after(timeout))
    }

    /// Who is writing now, for people to read: by the time you look it may be another.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        holder::of_word(&self.body.lock, self.body.segment())
    }

    fn update_until<R>(
        &self,
        range: Range<usize>,
        change: impl FnOnce(&mut [T]) -> R,
        deadline: Deadline,
    ) -> Result<R, ArrayError> {
        self.check(&range)?;
        let held = self.hold(deadline)?;
        let elements = self.elements(&range).iter();
        let mut part: Vec<T> = elements.map(|word| from_word(word.load(Ordering::Acquire))).collect();
        let result = change(&mut part);
        // The child of a fork inside `change` returns from here too, and must not commit.
        if self.keeper.is_mine(held.me) {
            self.commit(range.start, &part);
        }
        Ok(result)
    }

    /// Writes the log, commits it and applies it, for the holder of the lock.
    fn commit(&self, start: usize, part: &[T]) {
        let [_, logged] = self.words();
        let next = (self.body.log.load(Ordering::Relaxed) & !PENDING).wrapping_add(2);
        // SYNC: array.reuse.
        fence(Ordering::Release);
        self.body.log_start.store(start as u64, Ordering::Relaxed);
        self.body.log_len.store(part.len() as u64, Ordering::Relaxed);
        for (word, value) in logged.iter().zip(part) {
            word.store(to_word(value), Ordering::Relaxed);
            crash_point("array.logging");
        }
        // SYNC: array.commit.
        self.body.log.store(next | PENDING, Ordering::Release);
        crash_point("array.committed");
        self.apply();
    }

    /// Copies what is pending to the elements, for the holder of the lock.
    fn apply(&self) {
        let log = self.body.log.load(Ordering::Acquire);
        if log & PENDING == 0 {
            return;
        }
        let (start, len) = self.pending();
        let [elements, logged] = self.words();
        // A range that cannot be is cut where the array ends.
        let range = elements.get(start..).unwrap_or_default();
        for (element, word) in range.iter().zip(logged).take(len) {
            element.store(word.load(Ordering::Relaxed), Ordering::Release);
            crash_point("array.applying");
        }
        self.body.log.store(log & !PENDING, Ordering::Release);
        crash_point("array.applied");
    }

    /// The range that the log is about.
    fn pending(&self) -> (usize, usize) {
        let start = self.body.log_start.load(Ordering::Relaxed);
        let len = self.body.log_len.load(Ordering::Relaxed);
        (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Acquires the lock, and finishes what a dead holder has committed.
    fn hold(&self, deadline: Deadline) -> Result<Held<'_, T>, LockError> {
        let me = self.keeper.claim(&self.body.lock, self.body.segment(), Claim::Ignore, deadline)?;
        let held = Held { array: self, me, not_send: PhantomData };
        self.apply();
        Ok(held)
    }

    /// The elements, and the words of the log.
    fn words(&self) -> [&[AtomicU64]; 2] {
        // There always are so many: `attach` has looked.
        let all: &[AtomicU64] = self.body.slice(ELEMENTS, 2 * self.len).unwrap_or_default();
        let (elements, logged) = all.split_at(self.len.min(all.len()));
        [elements, logged]
    }

    fn elements(&self, range: &Range<usize>) -> &[AtomicU64] {
        self.words()[0].get(range.clone()).unwrap_or_default()
    }

    fn check(&self, range: &Range<usize>) -> Result<(), ArrayError> {
        let fits = range.start <= range.end && range.end <= self.len;
        if fits { Ok(()) } else { Err(self.out_of_range(range)) }
    }

    fn out_of_range(&self, range: &Range<usize>) -> ArrayError {
        ArrayError::OutOfRange { start: range.start, end: range.end, len: self.len }
    }
}

impl<T: Integer> Array<T> {
    /// Adds to an element, wrapping around, without the lock; what it was before. Not for elements that somebody
    /// updates at the same time: the update would not see it.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`]; [`ArrayError::Lock`] only when a dead holder's update must be finished first.
    pub fn fetch_add(&self, index: usize, n: T) -> Result<T, ArrayError> {
        let range = index..index.saturating_add(1);
        self.check(&range)?;
        if self.body.log.load(Ordering::Acquire) & PENDING != 0 {
            drop(self.hold(Deadline::NEVER)?);
        }
        let element = self.elements(&range).first().ok_or_else(|| self.out_of_range(&range))?;
        let (n, mut word) = (to_word(&n), element.load(Ordering::Relaxed));
        loop {
            let sum: T = from_word(word.wrapping_add(n));
            match element.compare_exchange_weak(word, to_word(&sum), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        crash_point("array.fetched");
        Ok(from_word(word))
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), keeper: self.keeper, len: self.len, elements: PhantomData }
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array")
            .field("name", &self.body.segment().name())
            .field("len", &self.len)
            .field("holder", &holder::of_word(&self.body.lock, self.body.segment()))
            .finish_non_exhaustive()
    }
}

/// The array's lock, held.
struct Held<'a, T> {
    array: &'a Array<T>,
    me: Hold,
    not_send: PhantomData<*const ()>,
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // A forked child's copy is inert.
        if self.array.keeper.is_mine(self.me) {
            self.array.keeper.release(&self.array.body.lock, self.me, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Array, ArrayError, PENDING};
    use crate::LockError;
    use procession_shm::Namespace;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::Ordering;

    fn array(len: usize) -> Array<u32> {
        Array::options().namespace(&Namespace::private()).len(len).anonymous().unwrap()
    }

    #[test]
    fn elements_and_ranges_come_back_as_they_went_in() {
        let array = array(10);
        array.write(2, &[1, 2, 3]).unwrap();
        array.set(9, u32::MAX).unwrap();
        assert_eq!((array.fetch_add(9, 2).unwrap(), array.get(9).unwrap()), (u32::MAX, 1));
        assert_eq!(array.read(0..10).unwrap(), [0, 0, 1, 2, 3, 0, 0, 0, 0, 1]);
        assert_eq!(array.update(3..5, |part| part.iter().sum::<u32>()).unwrap(), 5);
        assert_eq!(array.read(4..4).unwrap(), []);
        let nested = array.update(0..1, |_| {
            matches!(array.try_update(1..2, |_| ()), Err(ArrayError::Lock(LockError::WouldBlock)))
        });
        assert!(nested.unwrap());
    }

    #[test]
    fn nonsense_is_refused() {
        let array = array(3);
        let backwards = std::ops::Range { start: 2, end: 1 };
        for range in [0..4, 4..4, backwards, 0..usize::MAX] {
            assert!(matches!(array.read(range), Err(ArrayError::OutOfRange { len: 3, .. })));
        }
        assert!(matches!(array.get(3), Err(ArrayError::OutOfRange { start: 3, end: 4, len: 3 })));
        assert!(matches!(array.set(usize::MAX, 1), Err(ArrayError::OutOfRange { .. })));
        assert!(self::array(0).is_empty());
        let huge = Array::<u64>::options().namespace(&Namespace::private()).len(usize::MAX).anonymous();
        assert!(huge.is_err());
    }

    #[test]
    fn a_panic_changes_nothing() {
        let array = array(4);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            array.update(0..4, |part| {
                part.fill(7);
                panic!("changing it");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(array.read(0..4).unwrap(), [0; 4]);
    }

    #[test]
    fn a_pending_log_of_any_range_is_read_and_applied_within_bounds() {
        for (start, len) in [(1, 2), (3, u64::MAX), (u64::MAX, 5), (4, 1)] {
            let array = array(4);
            array.words()[1].iter().for_each(|word| word.store(9, Ordering::Relaxed));
            array.body.log_start.store(start, Ordering::Relaxed);
            array.body.log_len.store(len, Ordering::Relaxed);
            array.body.log.store(6 | PENDING, Ordering::Relaxed);
            let seen: Vec<u32> = (0..4).map(|index| array.get(index).unwrap()).collect();
            assert_eq!(array.read(0..4).unwrap(), seen);
            assert_eq!(array.body.log.load(Ordering::Relaxed), 6);
        }
    }
}

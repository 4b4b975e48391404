//! Many small elements between processes: each of them is whole at every instant, and so is an update of a
//! range.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `lock` | see `lock_word.rs` | one at a time writes |
//! | `log` | holder of `lock` | number of updates · 2, + 1 while the log holds an update to be applied. **Its store commits** |
//! | `log_start`, `log_len` | holder of `lock`, while nothing is pending | the range that the log is about |
//! | elements | holder of `lock` | an atomic each, as wide as the element. **Storing a single one commits** |
//! | logged elements | holder of `lock`, while nothing is pending | the new elements of the range |
//!
//! A change of one element is one store. An update of several is written to the log, committed, copied from
//! the log to the elements, and then the log is empty again. Whoever acquires the lock finishes what it finds
//! pending. A reader that finds an update pending reads the log where the log speaks of its element: so
//! everybody sees the update from its commit on, also when its writer is dead.
//!
//! All who write hold the lock, `fetch_add` too: an addition that went past an update under way would be
//! written over when that is applied, and there is no bit in an element to keep it out by.
//!
//! # Orderings
//! Edge `array.commit`: the Release store of `log` meets the Acquire load of a reader. Edge `array.reuse`: a
//! Release fence before the log is written again meets the Acquire fence of a reader that has read from it,
//! who then sees that `log` has moved. Elements: Release and Acquire, so that who sees one applied element
//! sees the update pending.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | having stored a single element | the change | nothing: it is whole |
//! | writing the log | garbage in the log, nothing pending | nothing: the next update writes over it |
//! | after the commit, before all is applied | an update pending | readers read the log; the next holder of `lock` applies it |
//! | after it is applied, before the log is emptied | the same | the same: applying twice is applying once |
//! | finishing the update of another | the same | the same |

#[cfg(test)]
mod tests;

use crate::cells::{Cells, Plain, from_word, stride, to_word};
use crate::held_by;
use crate::hold::Hold;
use crate::holder::Holder;
use crate::integer::{Integer, integer_operations};
use crate::keeper::Keeper;
use crate::lock_error::LockError;
use crate::lock_word::{Claim, LockWord};
use crate::plain_face::{ArraySettings, array_options, elements_len, len_of};
use procession_shm::{HEADER_LEN, Kind, Label, Object, OpenError, Shape, Shared};
use procession_sys::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use procession_sys::{Deadline, Mapping, crash_point, shm_struct};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Duration;

shm_struct! {
    #[doc(hidden)]
    pub struct ArrayBody {
        lock: LockWord,
        log: AtomicU64,
        log_start: AtomicU64,
        log_len: AtomicU64,
        /// To the end of the cache line.
        spare: AtomicU64,
    }
}

const ELEMENTS: usize = size_of::<ArrayBody>();
/// The bit of `log` that says that an update is to be applied.
const PENDING: u64 = 1;
/// How often a reader tries before it keeps the writers out.
const TRIES: u32 = 64;

/// A fixed number of elements between processes, of at most 8 bytes each.
///
/// Every element is whole at every instant, and reading one takes no lock. All that writes takes the array's
/// lock: a change of one element is one step, and [`update`](Self::update) changes a range as one: all of it
/// from one instant on, or, if the process is killed before, nothing. An operation costs by the range it is
/// about, not by the array.
///
/// An element takes twice its own size of shared memory: the second half is for the update that is being
/// committed. Integers that are to be counted without a lock, and without updates of ranges, belong into a
/// [`RawArray`](crate::RawArray).
///
/// ```
/// use procession::Array;
///
/// let cells: Array<i32> = Array::create("cells", 1000)?;
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

array_options!(
    /// How an [`Array`] is created or opened.
    ArrayOptions => Array
);

impl<T: Plain> Object for Array<T> {
    const KIND: Kind = Kind::ARRAY;
    type Body = ArrayBody;
    type Settings = ArraySettings;

    fn check(settings: &ArraySettings) -> Result<(), &'static str> {
        settings.check(2 * stride(size_of::<T>()))
    }

    fn check_new(settings: &ArraySettings) -> Result<(), &'static str> {
        settings.check_new()
    }

    fn shape(settings: &ArraySettings) -> Shape {
        const { assert!(size_of::<T>() <= 8, "an element of an Array has at most 8 bytes: use a RawArray") };
        settings.shape::<T>(Self::KIND, Self::body_len)
    }

    fn initialise_all(_: &Self::Body, mapping: &Mapping, settings: &ArraySettings) {
        settings.initialise::<T>(mapping, HEADER_LEN + ELEMENTS);
    }

    fn forget_owners(body: &ArrayBody) {
        body.lock.forget_owner();
    }

    fn attach(body: Shared<ArrayBody>) -> Result<Self, OpenError> {
        let has_room = |bytes| body.slice::<AtomicU8>(0, bytes).is_some();
        let segment = body.segment();
        let len = len_of(segment, |len| Self::body_len(len).is_some_and(has_room))?;
        Ok(Self { keeper: Keeper::new(segment), len, body, elements: PhantomData })
    }
}

/// Why an operation on an array failed; then it has changed nothing.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// There are not so many elements.
    #[error("elements {start}..{end} were asked for of {object}, which has {len}")]
    OutOfRange {
        /// Which array.
        object: Label,
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

procession_shm::debug_as_text!(ArrayError);

impl<T: Plain> Array<T> {
    /// An element. No writer, alive or dead, is waited for, unless 64 updates in a row came in between.
    ///
    /// # Errors
    /// [`ArrayError::OutOfRange`]; [`ArrayError::Lock`] only in that last case.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ArrayError> {
        let elements = self.cells();
        for _ in 0..TRIES {
            // SYNC: array.commit.
            let log = self.body.log.load(Ordering::Acquire);
            let element = elements.load(index, Ordering::Acquire).ok_or_else(|| self.no_such(index))?;
            if log & PENDING == 0 {
                return Ok(from_word(element));
            }
            let (start, len) = self.pending();
            let logged = index.checked_sub(start).filter(|&at| at < len);
            let newer = logged.and_then(|at| self.logged().load(at, Ordering::Relaxed));
            // SYNC: array.reuse.
            fence(Ordering::Acquire);
            if self.body.log.load(Ordering::Relaxed) == log {
                return Ok(from_word(newer.unwrap_or(element)));
            }
        }
        self.change(index, |_| None)
    }

    /// Makes an element `value`.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn set(&self, index: usize, value: T) -> Result<(), ArrayError> {
        self.change(index, |_| Some(value)).map(drop)
    }

    /// A range of elements, as it was at one instant: writers are kept out meanwhile.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn read(&self, range: Range<usize>) -> Result<Vec<T>, ArrayError> {
        self.check(&range)?;
        let mut part = vec![T::zeroed(); range.len()];
        self.read_into(range.start, &mut part)?;
        Ok(part)
    }

    /// Reads as many elements as `part` has room for, from `start` on, as they were at one instant.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn read_into(&self, start: usize, part: &mut [T]) -> Result<(), ArrayError> {
        self.check(&(start..start.saturating_add(part.len())))?;
        let held = self.hold(Deadline::NEVER)?;
        self.copy_out(start, part);
        drop(held);
        Ok(())
    }

    /// Makes the elements from `start` on `values`, all at once.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn write(&self, start: usize, values: &[T]) -> Result<(), ArrayError> {
        self.check(&(start..start.saturating_add(values.len())))?;
        let held = self.hold(Deadline::NEVER)?;
        self.commit(start, values);
        drop(held);
        Ok(())
    }

    /// Changes a range: all of what `change` does to its copy is committed at once when it returns; nothing
    /// of it if it panics, or if the process is killed before.
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

    /// Updates as [`update`](Self::update) does, if nobody is writing now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] in [`ArrayError::Lock`]; otherwise as [`update`](Self::update).
    pub fn try_update<R>(
        &self,
        range: Range<usize>,
        change: impl FnOnce(&mut [T]) -> R,
    ) -> Result<R, ArrayError> {
        self.update_until(range, change, Deadline::PASSED)
    }

    /// Updates as [`update`](Self::update) does, waiting at most `timeout` for those who are writing.
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

    /// The process that is writing now, for people to read: by the time you look it may be another.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        held_by::holder_of(&self.body.lock, self.body.segment())
    }

    fn update_until<R>(
        &self,
        range: Range<usize>,
        change: impl FnOnce(&mut [T]) -> R,
        deadline: Deadline,
    ) -> Result<R, ArrayError> {
        self.check(&range)?;
        let held = self.hold(deadline)?;
        let mut part = vec![T::zeroed(); range.len()];
        self.copy_out(range.start, &mut part);
        let result = change(&mut part);
        // The child of a fork inside `change` returns from here too, and must not commit.
        if self.keeper.is_mine(held.me) {
            self.commit(range.start, &part);
        }
        Ok(result)
    }

    /// Changes one element, unless `change` says `None`; what it was.
    fn change(&self, index: usize, change: impl Fn(T) -> Option<T>) -> Result<T, ArrayError> {
        self.check(&(index..index.saturating_add(1)))?;
        let held = self.hold(Deadline::NEVER)?;
        let word = self.cells().load(index, Ordering::Relaxed).ok_or_else(|| self.no_such(index))?;
        let old = from_word(word);
        if let Some(new) = change(old) {
            self.commit(index, &[new]);
        }
        drop(held);
        Ok(old)
    }

    /// Copies elements out, for the holder of the lock: nobody writes them.
    fn copy_out(&self, start: usize, part: &mut [T]) {
        // As they lie there, if they lie close.
        let close = size_of::<T>() == stride(size_of::<T>());
        let offset = ELEMENTS + start * stride(size_of::<T>());
        if close && self.body.copy_out(offset, bytemuck::cast_slice_mut(part)) {
            return;
        }
        let elements = self.cells();
        for (index, element) in part.iter_mut().enumerate() {
            *element = from_word(elements.load(start + index, Ordering::Relaxed).unwrap_or_default());
        }
    }

    /// Makes the elements from `start` on `part`, for the holder of the lock: through the log, if they are
    /// several.
    fn commit(&self, start: usize, part: &[T]) {
        if let [single] = part {
            self.cells().store(start, to_word(single), Ordering::Release);
            crash_point("array.stored");
            return;
        }
        let next = (self.body.log.load(Ordering::Relaxed) & !PENDING).wrapping_add(2);
        // SYNC: array.reuse.
        fence(Ordering::Release);
        self.body.log_start.store(start as u64, Ordering::Relaxed);
        self.body.log_len.store(part.len() as u64, Ordering::Relaxed);
        let logged = self.logged();
        for (index, value) in part.iter().enumerate() {
            logged.store(index, to_word(value), Ordering::Relaxed);
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
        let (elements, logged) = (self.cells(), self.logged());
        // A range that cannot be is cut where the array ends.
        for (index, at) in (start..self.len).zip(0..len) {
            elements.store(index, logged.load(at, Ordering::Relaxed).unwrap_or_default(), Ordering::Release);
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
    fn hold(&self, deadline: Deadline) -> Result<HeldArray<'_, T>, LockError> {
        let me = self.keeper.claim(&self.body.lock, self.body.segment(), Claim::Ignore, deadline)?;
        let held = HeldArray { array: self, me, not_send: PhantomData };
        self.apply();
        Ok(held)
    }

    /// How many bytes the body of an array of `len` elements has.
    fn body_len(len: usize) -> Option<usize> {
        Self::log_offset(len)?.checked_add(elements_len::<T>(len)?)
    }

    /// Where the log of an array of `len` elements begins: on a cache line of its own.
    fn log_offset(len: usize) -> Option<usize> {
        elements_len::<T>(len)?.checked_next_multiple_of(64)?.checked_add(ELEMENTS)
    }

    #[inline]
    fn cells(&self) -> Cells<'_> {
        // There always are so many: `attach` has looked.
        Cells::of(&self.body, ELEMENTS, size_of::<T>(), self.len).unwrap_or_default()
    }

    #[inline]
    fn logged(&self) -> Cells<'_> {
        let offset = Self::log_offset(self.len).unwrap_or(usize::MAX);
        Cells::of(&self.body, offset, size_of::<T>(), self.len).unwrap_or_default()
    }
}

impl<T: Integer> Array<T> {
    /// Makes an element `new` if it is `current`; otherwise the inner error says what it is instead.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<Result<T, T>, ArrayError> {
        let was = self.change(index, |old| (old == current).then_some(new))?;
        Ok(if was == current { Ok(was) } else { Err(was) })
    }
}

integer_operations! {
    /// In one step, under the array's lock.
    Array(index) -> Result<T, ArrayError>;
    ///
    /// # Errors
    /// As [`update`](Array::update).
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
            .field("holder", &held_by::holder_of(&self.body.lock, self.body.segment()))
            .finish_non_exhaustive()
    }
}

/// The array's lock, held.
struct HeldArray<'a, T> {
    array: &'a Array<T>,
    me: Hold,
    not_send: PhantomData<*const ()>,
}

impl<T> Drop for HeldArray<'_, T> {
    fn drop(&mut self) {
        self.array.keeper.release(&self.array.body.lock, self.me, true);
    }
}

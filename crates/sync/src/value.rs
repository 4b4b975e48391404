//! A small piece of plain data between processes, that is never half-written.
//!
//! Two copies lie behind the body, and `version` says which of them is the value. A value of at most 8 bytes
//! has also a word of its own, `word`, which is the value unless it says `ASIDE`: then the copies are looked
//! at.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `lock` | its holder (`lock_word.rs`) | one at a time builds a new value |
//! | `version` | holder of `lock` | how many commits there were; its lowest bit says which copy is the value. **Its store commits** |
//! | copy `version & 1` | nobody | the value |
//! | the other copy | holder of `lock` | what the next commit will make the value |
//! | `word`, if not `ASIDE` | CAS, by anybody | a value of at most 8 bytes. **The CAS commits** |
//! | `word` = `ASIDE` | holder of `lock` | the value is aside, in the copies: a guard or an update has taken it, or it happens to be the number that `ASIDE` is. **Storing the new value commits** |
//!
//! So `fetch_add` and the like are one CAS and take no lock; and while somebody holds the value, they find
//! `ASIDE`, a CAS that was on its way fails, and they wait for the lock like everybody who writes. That is
//! all that keeps the two kinds of change apart.
//!
//! # Orderings
//! Edge `value.commit`: the Release store of `version` meets the Acquire load of a reader, so that the copy
//! is whole. Edge `value.reuse`: the Release fence before the spare copy is touched meets the reader's
//! Acquire fence after its copying: a reader that saw one word of a later build sees that `version` has
//! moved, and tries again. The copies are read and written word by word, Relaxed. Edge `value.aside`: who
//! reads `ASIDE` (Acquire) sees the copy that was committed before it was written (Release). A reader of the
//! copies looks at `word` once more before it looks at `version` again: at that instant the value was aside,
//! and it was this copy. Edge `value.word`: the Release with which a value is put into `word` meets the
//! Acquire of whoever reads it there, as of any atomic of std that hands something over.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | holding `lock`, building | half a value in the spare copy | nothing: the next writer builds it anew |
//! | after the commit, before the release | the new value; a dead owner of `lock` | any waiter, as for every lock |
//! | putting the value aside, before `ASIDE` is written | a copy of it that nobody looks at | nothing |
//! | having put it aside, before the commit | the old value in the copies; `ASIDE`; a dead owner of `lock` | readers read the copy; the next who writes takes the lock over, and puts the value back into `word` |
//!
//! The lock is taken over from the dead without a word, because at every instant the value is whole. Readers
//! do not look at the lock, and so never wait for a dead writer; only a reader that lost to 64 commits in a
//! row takes it.

mod guard;
#[cfg(test)]
mod tests;

pub use guard::{OwnedValueGuard, ValueGuard, ValueGuardOf};

use self::guard::{HeldValue, Unfinished};
use crate::cells::{Plain, from_word, load_words, store_words, to_word};
use crate::held_by;
use crate::holder::Holder;
use crate::integer::{Integer, integer_operations};
use crate::keeper::Keeper;
use crate::lock_error::LockError;
use crate::lock_word::LockWord;
use crate::plain_face::{ValueSettings, value_options};
use procession_shm::{HEADER_LEN, Kind, Object, OpenError, Segment, Shape, Shared};
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::{Deadline, Mapping, crash_point, shm_struct};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// The largest value, in bytes.
const MAX_BYTES: usize = 4096;
/// How often a reader tries before it keeps the writers out.
const TRIES: u32 = 64;
/// In `word`: the value is in the copies. Any number would do that few values are; this one is no number as a
/// float, and nothing that has less than 8 bytes.
const ASIDE: u64 = 0xfff5_3a1e_d0c3_7b69;

shm_struct! {
    #[doc(hidden)]
    pub struct ValueBody {
        lock: LockWord,
        version: AtomicU64,
        word: AtomicU64,
        /// To the end of the cache line.
        spare: [AtomicU64; 2],
    }
}

const COPIES: usize = size_of::<ValueBody>();

/// A value between processes: plain data of at most 4 KiB, of which everybody sees all of an update or
/// nothing.
///
/// `T` is any [`bytemuck::Pod`] type: integers, floats, arrays and `repr(C)` structs of them. Reading takes
/// no lock. Changing it under a guard or by [`update`](Self::update) takes the value's own lock; when a
/// writer is killed, what it had not committed never happened, and nobody is told: there is nothing to put
/// right.
///
/// What has at most 8 bytes is [set](Self::set) without the lock, and integers are changed without it by
/// [`fetch_add`](Self::fetch_add) and its friends. They wait only while somebody has a guard, or is inside
/// `update`: every change is made to what the one before it left.
///
/// ```
/// use procession::Value;
///
/// let range: Value<[f64; 2]> = Value::create("range", [0.0, 1.0])?;
/// range.update(|[low, high]| (*low, *high) = (*low - 1.0, *high + 1.0))?;
/// assert_eq!(range.get()?, [-1.0, 2.0]);
///
/// let hits: Value<u64> = Value::create("hits", 0)?;
/// hits.fetch_add(5)?;
/// {
///     let mut guard = hits.acquire()?;
///     *guard *= 2;
///     assert_eq!(hits.get()?, 5, "not yet committed");
/// }
/// assert_eq!(hits.get()?, 10);
/// # range.unlink()?;
/// # hits.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is not plain data is refused by the compiler, which says what to use instead:
/// ```compile_fail
/// let ready = procession::Value::new(true).unwrap();
/// ```
pub struct Value<T> {
    body: Shared<ValueBody>,
    keeper: Keeper,
    values: PhantomData<fn(T) -> T>,
}

value_options!(
    /// How a [`Value`] is created or opened.
    ValueOptions => Value
);

impl<T: Plain> Object for Value<T> {
    const KIND: Kind = Kind::VALUE;
    type Body = ValueBody;
    type Settings = ValueSettings<T>;

    fn shape(settings: &ValueSettings<T>) -> Shape {
        settings.shape(Self::KIND, COPIES + 2 * 8 * Self::WORDS)
    }

    fn initialise(body: &ValueBody, settings: &ValueSettings<T>) {
        if let (true, Some(value)) = (Self::IS_WORD, &settings.initial) {
            // If that happens to be `ASIDE`, it is: in the first copy, like every initial value.
            body.word.store(to_word(value), Ordering::Relaxed);
        }
    }

    fn initialise_all(_: &Self::Body, mapping: &Mapping, settings: &ValueSettings<T>) {
        if let (Some(value), Some(words)) =
            (&settings.initial, mapping.slice(HEADER_LEN + COPIES, Self::WORDS))
        {
            store_words(words, bytemuck::bytes_of(value), || ());
        }
    }

    fn forget_owners(body: &ValueBody) {
        body.lock.forget_owner();
    }

    fn attach(body: Shared<ValueBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        if body.slice::<AtomicU64>(COPIES, 2 * Self::WORDS).is_none() {
            return Err(segment.corrupt("the body is too small for its value"));
        }
        Ok(Self { keeper: Keeper::new(segment), body, values: PhantomData })
    }
}

impl<T: Plain> Value<T> {
    /// Whether it has a word of its own.
    const IS_WORD: bool = size_of::<T>() <= 8;
    /// How many words a copy takes.
    const WORDS: usize = {
        assert!(size_of::<T>() <= MAX_BYTES, "a Value holds at most 4 KiB: use an Array, or SharedMemory");
        if Self::IS_WORD { 1 } else { size_of::<T>().div_ceil(8) }
    };

    /// The value. No writer, alive or dead, is waited for, unless 64 commits in a row came in between.
    ///
    /// # Errors
    /// Those of [`update`](Self::update), and only in that last case.
    #[inline]
    pub fn get(&self) -> Result<T, LockError> {
        for _ in 0..TRIES {
            if let Some(value) = self.read() {
                return Ok(value);
            }
        }
        self.get_locked()
    }

    #[cold]
    fn get_locked(&self) -> Result<T, LockError> {
        let _held = HeldValue::claim(self, Deadline::NEVER)?;
        // SYNC: value.aside.
        Ok(match self.body.word.load(Ordering::Acquire) {
            word if Self::IS_WORD && word != ASIDE => from_word(word),
            _ => {
                let mut value = T::zeroed();
                self.copy_kept(&mut value);
                value
            }
        })
    }

    /// Makes it `value`; without the lock if that has at most 8 bytes and nobody has a guard or is in an
    /// update.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn set(&self, value: T) -> Result<(), LockError> {
        self.set_until(value, Deadline::NEVER)
    }

    /// Makes it `value` if nobody is changing it now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`update`](Self::update).
    pub fn try_set(&self, value: T) -> Result<(), LockError> {
        self.set_until(value, Deadline::PASSED)
    }

    /// Makes it `value`, waiting at most `timeout` for those who are changing it.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`update`](Self::update).
    pub fn set_timeout(&self, value: T, timeout: Duration) -> Result<(), LockError> {
        self.set_until(value, Deadline::after(timeout))
    }

    /// Changes the value: all of what `change` does to its copy is committed at once when it returns; nothing
    /// of it if it panics, or if the process is killed before.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] when this thread is changing the value already; `Orphaned`, `RegistryChanged`,
    /// `Corrupt` when the files beneath it were tampered with; `Unregistered` in a forked child.
    #[inline]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError> {
        self.update_until(change, Deadline::NEVER)
    }

    /// Updates as [`update`](Self::update) does, if nobody is changing the value now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`update`](Self::update).
    pub fn try_update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError> {
        self.update_until(change, Deadline::PASSED)
    }

    /// Updates as [`update`](Self::update) does, waiting at most `timeout` for those who are changing the
    /// value.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`update`](Self::update).
    pub fn update_timeout<R>(
        &self,
        change: impl FnOnce(&mut T) -> R,
        timeout: Duration,
    ) -> Result<R, LockError> {
        self.update_until(change, Deadline::after(timeout))
    }

    /// Waits until nobody else is changing the value: for several operations that are to be seen as one.
    ///
    /// The guard has a copy of the value, and commits it when it is dropped.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn acquire(&self) -> Result<ValueGuard<'_, T>, LockError> {
        ValueGuard::acquire(self, Deadline::NEVER)
    }

    /// Acquires as [`acquire`](Self::acquire) does, if nobody is changing the value now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`update`](Self::update).
    pub fn try_acquire(&self) -> Result<ValueGuard<'_, T>, LockError> {
        ValueGuard::acquire(self, Deadline::PASSED)
    }

    /// Acquires as [`acquire`](Self::acquire) does, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`update`](Self::update).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<ValueGuard<'_, T>, LockError> {
        ValueGuard::acquire(self, Deadline::after(timeout))
    }

    /// Acquires as [`acquire`](Self::acquire) does, with a guard that keeps the value's handle: for a struct
    /// that owns both, and for a hold that outlasts the handle.
    ///
    /// ```
    /// use procession::Value;
    ///
    /// let counter = Value::new(1u64)?;
    /// let mut guard = counter.acquire_owned()?;
    /// *guard += 1;
    /// drop(guard);
    /// assert_eq!(counter.get()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn acquire_owned(&self) -> Result<OwnedValueGuard<T>, LockError> {
        OwnedValueGuard::acquire(self.clone(), Deadline::NEVER)
    }

    /// The process that is changing it now, for people to read: by the time you look it may be another.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        held_by::holder_of(&self.body.lock, self.body.segment())
    }

    /// Its lock.
    pub(crate) fn lock_word(&self) -> (&LockWord, &Segment) {
        (&self.body.lock, self.body.segment())
    }

    fn set_until(&self, value: T, deadline: Deadline) -> Result<(), LockError> {
        if Self::IS_WORD {
            return self.change_until(|_| Some(value), deadline).map(drop);
        }
        self.update_until(|current| *current = value, deadline)
    }

    #[inline]
    fn update_until<R>(&self, change: impl FnOnce(&mut T) -> R, deadline: Deadline) -> Result<R, LockError> {
        let held = HeldValue::claim(self, deadline)?;
        // Not in a guard: what is only here can stay in registers, and the release of the lock waits for every
        // store before it.
        let mut copy = T::zeroed();
        self.take(&mut copy);
        let unfinished = Unfinished::new(&held);
        let result = change(&mut copy);
        unfinished.finish();
        if held.is_mine() {
            self.put(&copy);
        }
        Ok(result)
    }

    /// The value, unless a commit came in between.
    #[inline]
    fn read(&self) -> Option<T> {
        if Self::IS_WORD {
            // SYNC: value.aside.
            let word = self.body.word.load(Ordering::Acquire);
            if word != ASIDE {
                return Some(from_word(word));
            }
        }
        // SYNC: value.commit.
        let version = self.body.version.load(Ordering::Acquire);
        let mut value = T::zeroed();
        load_words(self.copy(version), bytemuck::bytes_of_mut(&mut value));
        // SYNC: value.reuse.
        fence(Ordering::Acquire);
        if Self::IS_WORD && self.body.word.load(Ordering::Acquire) != ASIDE {
            return None;
        }
        (self.body.version.load(Ordering::Relaxed) == version).then_some(value)
    }

    /// Copies the copy that is the value, for the holder of the lock: nobody else commits one.
    #[inline]
    fn copy_kept(&self, to: &mut T) {
        // SYNC: value.commit.
        load_words(self.copy(self.body.version.load(Ordering::Acquire)), bytemuck::bytes_of_mut(to));
    }

    /// Copies the value, for the holder of the lock, who from now on is the only one to change it, and must
    /// [`put`](Self::put) it back.
    #[inline]
    fn take(&self, to: &mut T) {
        if Self::IS_WORD {
            // SYNC: value.word.
            let mut word = self.body.word.load(Ordering::Acquire);
            while word != ASIDE {
                self.keep(&from_word(word));
                // SYNC: value.aside.
                let outcome =
                    self.body.word.compare_exchange(word, ASIDE, Ordering::AcqRel, Ordering::Acquire);
                crash_point("value.taken");
                match outcome {
                    Ok(_) => break,
                    Err(now) => word = now,
                }
            }
        }
        self.copy_kept(to);
    }

    /// Makes `value` the value, for the holder of the lock.
    #[inline]
    fn put(&self, value: &T) {
        let word = if Self::IS_WORD { to_word(value) } else { ASIDE };
        if word == ASIDE {
            self.keep(value);
        } else {
            // SYNC: value.word.
            self.body.word.store(word, Ordering::Release);
            crash_point("value.put");
        }
    }

    /// Makes `value` the copy that counts, for the holder of the lock.
    #[inline]
    fn keep(&self, value: &T) {
        let next = self.body.version.load(Ordering::Relaxed).wrapping_add(1);
        // SYNC: value.reuse.
        fence(Ordering::Release);
        store_words(self.copy(next), bytemuck::bytes_of(value), || crash_point("value.building"));
        crash_point("value.built");
        // SYNC: value.commit.
        self.body.version.store(next, Ordering::Release);
        crash_point("value.committed");
    }

    /// Changes a value of at most 8 bytes, unless `change` says `None`; what it was.
    #[inline]
    fn change_until(&self, change: impl Fn(T) -> Option<T>, deadline: Deadline) -> Result<T, LockError> {
        // SYNC: value.word.
        let mut word = self.body.word.load(Ordering::Acquire);
        while word != ASIDE {
            let old = from_word(word);
            let Some(new) = change(old).as_ref().map(to_word) else { return Ok(old) };
            if new == ASIDE {
                break;
            }
            // SYNC: value.word.
            match self.body.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    crash_point("value.changed");
                    return Ok(old);
                }
                Err(now) => word = now,
            }
        }
        self.change_aside(change, deadline)
    }

    #[cold]
    fn change_aside(&self, change: impl Fn(T) -> Option<T>, deadline: Deadline) -> Result<T, LockError> {
        let _held = HeldValue::claim(self, deadline)?;
        let mut old = T::zeroed();
        self.take(&mut old);
        self.put(&change(old).unwrap_or(old));
        Ok(old)
    }

    /// The copy that is the value at `version`.
    #[inline]
    fn copy(&self, version: u64) -> &[AtomicU64] {
        let offset = COPIES + (version & 1) as usize * Self::WORDS * 8;
        // There always is one: `attach` has looked.
        self.body.slice(offset, Self::WORDS).unwrap_or_default()
    }
}

impl<T: Integer> Value<T> {
    /// Makes it `new` if it is `current`; otherwise the inner error says what it is instead.
    ///
    /// # Errors
    /// As [`update`](Self::update), and only while somebody has a guard or is in an update.
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<Result<T, T>, LockError> {
        let was = self.change(|old| (old == current).then_some(new))?;
        Ok(if was == current { Ok(was) } else { Err(was) })
    }

    #[inline]
    fn change(&self, change: impl Fn(T) -> Option<T>) -> Result<T, LockError> {
        self.change_until(change, Deadline::NEVER)
    }
}

integer_operations! {
    /// Without the lock, in one step. Only while somebody has a guard, or is inside `update`, they wait until
    /// that is over.
    Value() -> Result<T, LockError>;
    ///
    /// # Errors
    /// As [`update`](Value::update), and only while somebody has a guard or is in an update: above all
    /// [`LockError::Deadlock`] if that is this thread.
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), keeper: self.keeper, values: PhantomData }
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("name", &self.body.segment().name())
            .field("holder", &held_by::holder_of(&self.body.lock, self.body.segment()))
            .finish_non_exhaustive()
    }
}

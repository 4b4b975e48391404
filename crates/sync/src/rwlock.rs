//! A lock that many may hold to read, or one to write, and that outlives whoever is killed holding it.
//!
//! | word | meaning |
//! |---|---|
//! | `writer` | a lock word (`lock_word.rs`): a writer that drains, writes or leaves; or a reader that had to queue |
//! | `writing` | owner of the writer that is inside, or died inside and has not been recovered; 0 for none. With `PANICKED`: it has left in a panic |
//! | cell | a thread that reads: its hold, as in a lock word; 0 free. `WAITERS`: a writer may sleep on the cell |
//! | cell's `deeper` | how many further read guards that thread has from this cell; the thread's own business |
//! | `used` | a bit for each cell that was ever claimed: a writer looks at no others |
//! | `space` | eventcount: readers that found no free cell |
//!
//! A reader claims a cell, and is inside if it then finds `writer` free and `writing` 0. Otherwise it gives
//! the cell back, queues for `writer` like everybody, claims a cell while it has it, and lets `writer` go. A
//! writer acquires `writer`, waits for every cell to be seen free, stores `writing`, and is inside. So a
//! writer that waits keeps new readers out, and does not starve; nor do readers, because `writer` passes over
//! no sleeper for long. A thread that reads already goes deeper in its own cell when it cannot come in
//! otherwise, and asks nobody.
//!
//! # Who may change what
//! Cell free → claimed: anybody, by CAS. Claimed → free: its thread; or anybody, by CAS from the exact value,
//! once its owner is dead. `writing`: the holder of `writer`. A bit of `used` is set before the cell is
//! claimed, and never cleared: so it is right whoever dies, and costs a writer one look at each cell that was
//! ever in use.
//!
//! # Orderings
//! Edge `rwlock.dekker`: the reader claims its cell, fences, looks at `writer`; the writer acquires `writer`,
//! fences, looks at `used` and the cells. One of the two sees the other. Edge `rwlock.read`: the Release that
//! frees a cell meets the Acquire of the writer that sees it free. Edge `rwlock.owner`: a cell, or `writing`,
//! is loaded with Acquire before anything is asked about its owner. Edge `lock.handover` covers the rest,
//! `writing` included.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | reading, or about to | a cell of a dead owner | a writer, or a reader that needs the cell: CAS to free |
//! | queueing or draining with `writer` | a dead owner of `writer`, `writing` 0 | any waiter: nothing was touched, nobody is told |
//! | writing | `writing` names the dead | every acquire says `OwnerDied` until somebody recovers |
//! | after `writing` was cleared | a dead owner of `writer` | any waiter, silently |
//! | recovering | `writing` still names the first that died | every acquire says `OwnerDied` again |
//! | a reader, after it freed its cell, before its wake | a writer asleep | the end of the writer's slice |
//!
//! # Not promised
//! Room for more than [`READERS`] readers at a time: further ones wait until one leaves. That a try succeeds
//! while others come and go: a reader that finds a writer has its cell for an instant, and one that queued
//! has `writer`.

mod drain;
mod guard;

pub use guard::{OwnedReadGuard, OwnedWriteGuard, ReadGuard, ReadGuardOf, WriteGuard, WriteGuardOf};

use self::drain::wake_writer;
use crate::eventcount::EventCount;
use crate::fault::Fault;
use crate::fencing::FencingTokens;
use crate::held_by::{self, HeldBy};
use crate::hold::Hold;
use crate::holder::Holder;
use crate::keeper::{Keeper, held_already, too_late};
use crate::lock_error::LockError;
use crate::lock_face::{LockSettings, lock_options, lock_recovery};
use crate::lock_word::{Claim, HolderEnd, LockWord};
use crate::owner_death;
use crate::patience::{Nap, Patience};
use crate::thread_tag;
use procession_shm::{Kind, Object, OpenError, OwnerId, Shape, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, crash_point, shm_struct};
use std::fmt;
use std::time::Duration;

/// How many guards for reading can exist at a time, in all processes, but for those of threads that have one
/// already.
pub const READERS: usize = 128;
/// In `writing`: that writer panicked.
const PANICKED: u64 = 1 << 30;
/// In a cell: a writer may sleep on it.
const WAITERS: u64 = 1 << 31;

shm_struct! {
    /// A thread that reads, on a cache line of its own.
    struct Cell {
        word: AtomicU64,
        deeper: AtomicU32,
        reserved: AtomicU32,
        spare: [AtomicU64; 6],
    }
}

shm_struct! {
    #[doc(hidden)]
    pub struct RwLockBody {
        writer: LockWord,
        writing: AtomicU64,
        /// When a writer last asked about readers, in milliseconds: see [`Patience`].
        asked: AtomicU32,
        reserved: AtomicU32,
        used: [AtomicU64; READERS / 64],
        space: EventCount,
        tokens: FencingTokens,
        space_spare: [AtomicU64; 5],
        cells: [Cell; READERS],
    }
}

/// A lock between processes that many may hold to read, or one to write.
///
/// Readers do not share a cache line, and so do not slow each other down; a writer looks at one line for each
/// of them. A writer that waits keeps new readers out; a thread that reads already may read once more. A
/// reader that is killed is as if it had left. A writer that is killed leaves the lock inconsistent: `read`
/// and `write` say [`LockError::OwnerDied`] until somebody calls [`recover`](Self::recover).
///
/// At most [`READERS`] can read at a time; further ones wait until one leaves, but never a thread that reads
/// already.
///
/// ```
/// use procession::{LockError, RwLock};
///
/// let table = RwLock::open_or_create("table")?;
/// {
///     let (_one, _two) = (table.read()?, table.read()?);
///     assert!(matches!(table.try_write(), Err(LockError::WouldBlock(_))));
/// }
/// let writing = table.write()?;
/// assert!(matches!(table.try_read(), Err(LockError::WouldBlock(_))));
/// let _reading = writing.downgrade();
/// assert!(table.try_read().is_ok());
/// # table.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RwLock {
    body: Shared<RwLockBody>,
    keeper: Keeper,
    claim: Claim,
}

lock_options!(
    /// How an [`RwLock`] is created or opened.
    RwLockOptions => RwLock, "writer", "waits for the lock, to read or to write"
);

impl Object for RwLock {
    const KIND: Kind = Kind::RWLOCK;
    type Body = RwLockBody;
    type Settings = LockSettings;

    fn shape(settings: &LockSettings) -> Shape {
        settings.shape::<RwLockBody>(Self::KIND)
    }

    fn forget_owners(body: &RwLockBody) {
        body.writer.forget_owner();
        if body.writing.load(Ordering::Relaxed) != 0 {
            // A writer died, but the slots of this registry know nothing of who it was.
            let nobody = OwnerId::new(OwnerId::MAX_SLOTS - 1, 1);
            body.writing.store(nobody.to_bits(), Ordering::Relaxed);
        }
        body.cells.iter().for_each(|cell| cell.word.store(0, Ordering::Relaxed));
        body.used.iter().for_each(|cells| cells.store(0, Ordering::Relaxed));
    }

    fn attach(body: Shared<RwLockBody>) -> Result<Self, OpenError> {
        let claim = owner_death::claim_of(body.segment());
        Ok(Self { keeper: Keeper::new(body.segment()), claim, body })
    }
}

impl RwLock {
    /// Waits until nobody writes, and nobody waits to write; then reads.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] when a writer was killed and nobody has recovered the lock since;
    /// [`LockError::Deadlock`] when this thread writes, and as [`RwLockOptions::detect_deadlock`] says;
    /// `Orphaned`, `RegistryChanged`, `Corrupt` when the files beneath it were tampered with; `Unregistered`
    /// in a forked child.
    #[inline]
    pub fn read(&self) -> Result<ReadGuard<'_>, LockError> {
        self.read_until(Deadline::NEVER)
    }

    /// Reads if nobody writes or waits to write, and there is room. A writer that is found dead counts as
    /// nobody. A reader that has just waited for a writer may be in the way for an instant.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`read`](Self::read).
    #[inline]
    pub fn try_read(&self) -> Result<ReadGuard<'_>, LockError> {
        self.read_until(Deadline::PASSED)
    }

    /// Reads as [`read`](Self::read) does, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_>, LockError> {
        self.read_until(Deadline::after(timeout))
    }

    /// Waits until nobody else reads or writes; then writes. New readers are kept out meanwhile.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`LockError::Deadlock`] also when this thread reads: whoever wants to write
    /// what it has read lets go of it first, and looks again.
    #[inline]
    pub fn write(&self) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(self.claim, Deadline::NEVER)
    }

    /// Writes if nobody else reads or writes. Those who are found dead count as nobody. A reader that is
    /// finding out that somebody writes, or has just waited for that, may be in the way for an instant.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`write`](Self::write).
    #[inline]
    pub fn try_write(&self) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(self.claim, Deadline::PASSED)
    }

    /// Writes as [`write`](Self::write) does, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(self.claim, Deadline::after(timeout))
    }

    /// Reads as [`read`](Self::read) does, with a guard that keeps the lock: for a struct that owns both, and
    /// for a hold that outlasts the handle.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_owned(&self) -> Result<OwnedReadGuard, LockError> {
        self.read().map(ReadGuard::into_owned)
    }

    /// Writes as [`write`](Self::write) does, with a guard that keeps the lock.
    ///
    /// ```
    /// use procession::RwLock;
    ///
    /// let writing = RwLock::new()?.write_owned()?;
    /// assert!(writing.lock().try_read().is_err());
    /// let reading = writing.downgrade()?;
    /// assert!(reading.lock().try_read().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_owned(&self) -> Result<OwnedWriteGuard, LockError> {
        self.write().map(WriteGuard::into_owned)
    }

    /// Releases once what this thread holds without a guard, to write or to read: for bindings of other
    /// languages, and after `std::mem::forget` of the guard. A guard that is still there releases nothing any
    /// more; but what this thread acquires before that guard is dropped, the guard would release.
    ///
    /// ```
    /// use procession::{LockError, RwLock};
    ///
    /// let table = RwLock::new()?;
    /// std::mem::forget(table.write()?);
    /// table.release()?;
    /// std::mem::forget(table.read()?);
    /// table.release()?;
    /// assert!(matches!(table.release(), Err(LockError::NotHeld { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LockError::NotHeld`] when this thread does not hold it.
    pub fn release(&self) -> Result<(), LockError> {
        let (writer, segment) = (&self.body.writer, self.body.segment());
        let me = self.keeper.hold().ok_or_else(|| LockError::NotHeld { object: segment.label() })?;
        if let Some(cell) = self.cell_of(me) {
            self.stop_reading(me, cell);
            return Ok(());
        }
        let me = self.keeper.must_hold(writer, segment)?;
        self.stop_writing(me, true);
        Ok(())
    }

    /// The process that writes, or is about to, for people to read.
    #[must_use]
    pub fn writer(&self) -> Option<Holder> {
        held_by::holder_of(&self.body.writer, self.body.segment())
    }

    /// The processes that read, once for each thread, for people to read.
    #[must_use]
    pub fn readers(&self) -> Vec<Holder> {
        // SYNC: rwlock.owner.
        let words = self.cells_in_use().map(|index| self.body.cells[index].word.load(Ordering::Acquire));
        let owners = words.filter(|&word| word != 0).map(OwnerId::from_bits);
        owners.map(|owner| Holder::of(self.body.segment(), owner)).collect()
    }

    /// How many writers have died with it, or left it in a panic, since it was created: at least so many, and of one that
    /// was killed while it told so of another, one more.
    #[must_use]
    pub fn n_owner_deaths(&self) -> u32 {
        self.body.writer.burials()
    }

    /// How many fencing tokens were handed out: for tools, which see by it that holders come and go.
    #[doc(hidden)]
    #[must_use]
    pub fn n_fencing_tokens(&self) -> u64 {
        self.body.tokens.handed_out()
    }

    /// Whether a writer died, and nobody has recovered the lock.
    #[must_use]
    pub fn is_inconsistent(&self) -> bool {
        // SYNC: rwlock.owner.
        let writing = || self.body.writing.load(Ordering::Acquire);
        let found = writing();
        found != 0
            && self.claim != Claim::Ignore
            && (found & PANICKED != 0 || self.body.writer.owner().map(OwnerId::to_bits) != Some(found))
            // Otherwise that writer has left in between.
            && writing() == found
    }

    fn recover_until(&self, deadline: Deadline) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(owner_death::recovering(self.claim), deadline)
    }

    #[inline(always)]
    fn read_until(&self, deadline: Deadline) -> Result<ReadGuard<'_>, LockError> {
        let (me, cell) = match self.keeper.hold().and_then(|me| Some((me, self.try_read_cell(me)?))) {
            Some(reading) => reading,
            None => self.read_contended(deadline)?,
        };
        // Here, and not on each of the two ways: a guard that is built on one and copied on the other goes
        // through memory, and the release's locked instruction waits for that.
        Ok(ReadGuard::new(self, me, cell))
    }

    /// The cell in which `me` reads, if nobody writes or wants to.
    #[inline]
    fn try_read_cell(&self, me: Hold) -> Option<usize> {
        let cell = self.claim_cell(me)?;
        if !self.body.writer.is_owned() && self.body.writing.load(Ordering::Relaxed) == 0 {
            self.reads(me, cell);
            return Some(cell);
        }
        // A writer is inside, or waits: it would wait for this cell, too.
        self.retreat(cell);
        None
    }

    #[cold]
    fn retreat(&self, cell: usize) {
        self.free_cell(cell);
    }

    #[cold]
    fn read_contended(&self, deadline: Deadline) -> Result<(Hold, usize), LockError> {
        let segment = self.body.segment();
        let me = Fault::or_owner(segment)?;
        let me = Hold::of_this_thread(me);
        // A thread that reads goes deeper although a writer waits: each would wait for the other.
        if let Some(cell) = self.cell_of(me) {
            let deeper = self.body.cells[cell].deeper.load(Ordering::Relaxed).checked_add(1);
            let deeper = deeper.ok_or_else(|| {
                Fault::corrupt(segment, "one thread has more guards of it than can be counted")
            })?;
            self.body.cells[cell].deeper.store(deeper, Ordering::Relaxed);
            crash_point("rwlock.deeper");
            return Ok((me, cell));
        }
        let mut has_slept = false;
        let found = self.queue_to_read(deadline, &mut has_slept);
        if has_slept {
            // Several may have left, and woken but this one: also if it goes without a cell.
            self.body.space.notify_one();
        }
        let (me, cell) = found?;
        self.reads(me, cell);
        Ok((me, cell))
    }

    /// Waits like those who write, and claims a cell while it has `writer`.
    fn queue_to_read(&self, deadline: Deadline, has_slept: &mut bool) -> Result<(Hold, usize), LockError> {
        let segment = self.body.segment();
        let mut patience = Patience::new(deadline);
        let mut listened = None;
        loop {
            // The claim shows by itself what this thread waits for.
            patience.hide();
            let me = self.keeper.claim(&self.body.writer, segment, Claim::Ignore, deadline)?;
            crash_point("rwlock.queued");
            // Whoever holds `writer` knows that nobody writes, and that nobody comes in to write.
            let cell = self.must_be_consistent().map(|()| self.claim_cell(me));
            self.keeper.release(&self.body.writer, me, true);
            if let Some(cell) = cell? {
                return Ok((me, cell));
            }
            // Not with `writer` held: those who read now must be able to leave, and to come back.
            // First announced, then looked again: a reader that leaves in between is not missed.
            let Some(heard) = listened.take() else {
                listened = Some(self.body.space.listen());
                continue;
            };
            // The dead wake nobody when they leave.
            if self.bury_readers()? {
                continue;
            }
            let readers = || {
                // SYNC: rwlock.owner.
                let words = self.body.cells.iter().map(|cell| cell.word.load(Ordering::Acquire));
                words.filter(|&word| word != 0).map(OwnerId::from_bits)
            };
            match self.body.space.sleep(Some(segment), heard, &mut patience, readers) {
                Ok(Nap::TimedOut) => {
                    // All places are taken: one of those who read stands for all.
                    return Err(too_late(self.held_by_reader(&self.body.cells[0]), deadline));
                }
                Ok(_) => self.body.space.arrive(),
                Err(stop) => {
                    return Err(Fault::of_stop(segment, stop, |object| LockError::Interrupted { object }));
                }
            }
            *has_slept = true;
        }
    }

    /// The reader in a cell, as a writer is told of it.
    fn held_by_reader(&self, cell: &Cell) -> HeldBy {
        // SYNC: rwlock.owner.
        HeldBy::new(self.body.segment(), cell.word.load(Ordering::Acquire) & !WAITERS)
    }

    #[inline]
    fn reads(&self, me: Hold, cell: usize) {
        me.note(self.keeper.key_of(cell));
        // Almost always it is 0, and then there is no store that the release would have to wait for.
        let deeper = &self.body.cells[cell].deeper;
        if deeper.load(Ordering::Relaxed) != 0 {
            deeper.store(0, Ordering::Relaxed);
        }
        crash_point("rwlock.reading");
    }

    /// Claims a free cell for `me`, from where this thread usually finds one.
    #[inline]
    fn claim_cell(&self, me: Hold) -> Option<usize> {
        let bits = me.to_bits();
        // Far apart for the processes, and not side by side for the threads: neighbouring lines travel
        // together.
        let first = ((bits >> 16 & 0x7ff) * 3 + (bits & 0xffff) * 79) as usize % READERS;
        let cell = if self.claims(first, me) { first } else { self.claim_cell_behind(first, me)? };
        // SYNC: rwlock.dekker.
        fence_after_rmw();
        crash_point("rwlock.claimed");
        Some(cell)
    }

    #[cold]
    fn claim_cell_behind(&self, first: usize, me: Hold) -> Option<usize> {
        (1..READERS).map(|step| (first + step) % READERS).find(|&index| self.claims(index, me))
    }

    #[inline]
    fn claims(&self, index: usize, me: Hold) -> bool {
        let word = &self.body.cells[index].word;
        word.load(Ordering::Relaxed) == 0 && {
            self.use_cell(index);
            // SYNC: rwlock.read: after whoever freed the cell.
            let claimed =
                word.compare_exchange(0, me.to_bits(), Ordering::Acquire, Ordering::Relaxed).is_ok();
            if claimed {
                thread_tag::took();
            }
            claimed
        }
    }

    /// Sees to it that writers look at the cell from now on.
    #[inline]
    fn use_cell(&self, index: usize) {
        let (cells, bit) = (&self.body.used[index / 64], 1 << (index % 64));
        // SYNC: rwlock.dekker. A bit that is seen here is seen by a writer that the cell's claim does not
        // see.
        if cells.load(Ordering::Relaxed) & bit == 0 {
            cells.fetch_or(bit, Ordering::Relaxed);
            crash_point("rwlock.used");
        }
    }

    /// The cells that were ever claimed.
    fn cells_in_use(&self) -> impl Iterator<Item = usize> {
        self.body.used.iter().zip([0, 64]).flat_map(|(cells, first)| {
            let mut left = cells.load(Ordering::Relaxed);
            std::iter::from_fn(move || {
                let index = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                (index < 64).then_some(first + index)
            })
        })
    }

    /// The cell in which this very thread, whose hold is `me`, reads.
    fn cell_of(&self, me: Hold) -> Option<usize> {
        self.cells_in_use().find(|&index| {
            self.body.cells[index].word.load(Ordering::Relaxed) & !WAITERS == me.to_bits()
                && me.is_this_threads(self.keeper.key_of(index))
        })
    }

    /// Frees a cell of this thread, and wakes who waits for that.
    #[inline]
    fn free_cell(&self, cell: usize) {
        let word = &self.body.cells[cell].word;
        // SYNC: rwlock.read.
        let before = word.swap(0, Ordering::AcqRel);
        fence_after_rmw();
        crash_point("rwlock.left");
        thread_tag::gave();
        if before & WAITERS != 0 {
            wake_writer(word);
        }
        self.body.space.notify_one();
    }

    fn write_until(&self, claim: Claim, deadline: Deadline) -> Result<WriteGuard<'_>, LockError> {
        let segment = self.body.segment();
        if let Some(me) = self.keeper.hold()
            && let Some(cell) = self.cell_of(me)
        {
            // A writer waits for every cell: also for its own.
            return Err(held_already(self.held_by_reader(&self.body.cells[cell]), deadline));
        }
        let me = self.keeper.claim(&self.body.writer, segment, Claim::Ignore, deadline)?;
        crash_point("rwlock.draining");
        let inconsistent = self.must_be_consistent();
        let recovers = claim == Claim::Recover && inconsistent.is_err();
        let entered = if claim == Claim::Report { inconsistent } else { Ok(()) };
        // Nothing was touched: whoever comes next need not be told.
        if let Err(error) = entered.and_then(|()| self.drain(deadline)) {
            self.keeper.release(&self.body.writer, me, true);
            return Err(error);
        }
        // A recovery leaves the name of the one that died: killed now, it has put nothing right.
        if !recovers {
            self.body.writing.store(me.owner().to_bits(), Ordering::Relaxed);
        }
        crash_point("rwlock.writing");
        Ok(WriteGuard::new(self, me, recovers))
    }

    /// For the holder of `writer`: whether a writer died inside.
    fn must_be_consistent(&self) -> Result<(), LockError> {
        let segment = self.body.segment();
        match self.body.writing.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ if self.claim == Claim::Ignore => {
                // Or else every reader would have to queue until somebody writes.
                self.body.writing.store(0, Ordering::Relaxed);
                crash_point("rwlock.ignored");
                Ok(())
            }
            dead => {
                let pid = segment.registration().pid_of(OwnerId::from_bits(dead));
                let end = if dead & PANICKED == 0 { HolderEnd::Died } else { HolderEnd::Panicked };
                Err(LockError::OwnerDied { object: segment.label(), pid: pid.unwrap_or(0), end })
            }
        }
    }
}

lock_recovery!(RwLock => WriteGuard, write, "the guard");

impl fmt::Debug for RwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("name", &self.body.segment().name())
            .field("writer", &self.writer())
            .field("readers", &self.readers())
            .field("inconsistent", &self.is_inconsistent())
            .finish()
    }
}

#[cfg(test)]
mod tests;

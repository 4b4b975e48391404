//! A lock that many may hold to read, or one to write, and that outlives whoever is killed holding it.
//!
//! | word | meaning |
//! |---|---|
//! | `writer` | a lock word (`lock_word.rs`): a writer that drains, writes or leaves; or a reader that had to queue |
//! | `writing` | owner of the writer that is inside, or died inside and has not been recovered; 0 for none |
//! | cell | a thread that reads: its hold, as in a lock word; 0 free. `WAITERS`: a writer may sleep on the cell |
//! | cell's `depth` | how many read guards that thread has from this cell; the thread's own business |
//! | `space` | eventcount: readers that found no free cell |
//!
//! A reader claims a cell, and is inside if it then finds `writer` free and `writing` 0. Otherwise it gives the cell
//! back, queues for `writer` like everybody, claims a cell while it has it, and lets `writer` go. A writer acquires
//! `writer`, waits for every cell to be seen free, stores `writing`, and is inside. So a writer that waits keeps new
//! readers out, and does not starve. A thread that reads already goes deeper in its own cell and asks nobody.
//!
//! # Who may change what
//! Cell free → claimed: anybody, by CAS. Claimed → free: its thread; or anybody, by CAS from the exact value, once its
//! owner is dead. `writing`: the holder of `writer`.
//!
//! # Orderings
//! Edge `rwlock.dekker`: the reader claims its cell, fences, looks at `writer`; the writer acquires `writer`, fences,
//! looks at the cells. One of the two sees the other. Edge `rwlock.read`: the Release that frees a cell meets the
//! Acquire of the writer that sees it free. Edge `lock.handover` covers the rest, `writing` included.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | reading, or about to | a cell of a dead owner | a writer, or a reader that needs the cell: CAS to free |
//! | queueing or draining with `writer` | a dead owner of `writer`, `writing` 0 | any waiter: nothing was touched, nobody is told |
//! | writing | `writing` names the dead | every acquire says `OwnerDied` until somebody recovers |
//! | after `writing` was cleared | a dead owner of `writer` | any waiter, silently |
//! | recovering | `writing` still names the first that died | the same again |
//! | a reader, after it freed its cell, before its wake | a writer asleep | the end of the writer's slice |
//!
//! # Not promised
//! Room for more than [`READERS`] threads at a time: further readers wait until one leaves.

use crate::keeper::{Keeper, unknowable, would_block};
use crate::lock_word::{Claim, Hold, LockWord};
use crate::patience::{Nap, Patience};
use crate::{EventCount, Holder, LockError, OnOwnerDeath, holder, thread_tag};
use procession_shm::{Kind, Object, OpenError, OwnerId, Parameter, Placement, Shape, Shared};
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, crash_point, futex, shm_struct};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

/// How many threads, of all processes, can read at a time.
pub const READERS: usize = 128;
/// In a cell: a writer may sleep on it.
const WAITERS: u64 = 1 << 31;

shm_struct! {
    /// A thread that reads, on a cache line of its own.
    struct Cell {
        word: AtomicU64,
        depth: AtomicU32,
        reserved: AtomicU32,
        spare: [AtomicU64; 6],
    }
}

shm_struct! {
    #[doc(hidden)]
    pub struct RwLockBody {
        writer: LockWord,
        writing: AtomicU64,
        /// When a writer last asked about readers: see [`Patience`].
        asked: AtomicU32,
        reserved: AtomicU32,
        spare: [AtomicU64; 3],
        space: EventCount,
        space_spare: [AtomicU64; 6],
        cells: [Cell; READERS],
    }
}

/// A lock between processes that many may hold to read, or one to write.
///
/// Readers do not share a cache line, and so do not slow each other down. A writer that waits keeps new readers out; a
/// thread that reads already may read once more. A reader that is killed is as if it had left. A writer that is killed
/// leaves the lock inconsistent: `read` and `write` say [`LockError::OwnerDied`] until somebody calls
/// [`recover`](Self::recover).
///
/// At most 128 threads can read at a time; further ones wait until one leaves.
///
/// ```
/// use procession_sync::{LockError, RwLock};
///
/// # let namespace = procession_shm::Namespace::private();
/// let table = RwLock::options().namespace(&namespace).open_or_create("table")?;
/// {
///     let (_one, _two) = (table.read()?, table.read()?);
///     assert!(matches!(table.try_write(), Err(LockError::WouldBlock)));
/// }
/// let writing = table.write()?;
/// assert!(matches!(table.try_read(), Err(LockError::WouldBlock)));
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

/// How an [`RwLock`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct RwLockOptions {
    place: Placement,
    settings: RwLockSettings,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RwLockSettings {
    on_owner_death: Option<OnOwnerDeath>,
}

impl RwLockOptions {
    /// What becomes of the lock when a writer is killed; [`OnOwnerDeath::Report`] unless said.
    #[must_use]
    pub fn on_owner_death(mut self, policy: OnOwnerDeath) -> Self {
        self.settings.on_owner_death = Some(policy);
        self
    }
}

procession_shm::object_builders!([] RwLockOptions => RwLock);

impl Object for RwLock {
    type Body = RwLockBody;
    type Settings = RwLockSettings;

    fn shape(settings: &RwLockSettings) -> Shape {
        let policy = holder::policy_parameter(settings.on_owner_death);
        let parameters = [policy, Parameter::default(), Parameter::default(), Parameter::default()];
        let body_len = size_of::<RwLockBody>() as u64;
        Shape { kind: Kind::RWLOCK, body_len, parameters, element: None, codec: 0 }
    }

    fn initialise(_: &RwLockBody, _: &RwLockSettings) {}

    fn forget_owners(body: &RwLockBody) {
        body.writer.forget_owner();
        if body.writing.load(Ordering::Relaxed) != 0 {
            // A writer died, but the slots of this registry know nothing of who it was.
            let nobody = OwnerId::new(OwnerId::MAX_SLOTS - 1, 1);
            body.writing.store(nobody.to_bits(), Ordering::Relaxed);
        }
        body.cells.iter().for_each(|cell| cell.word.store(0, Ordering::Relaxed));
    }

    fn attach(body: Shared<RwLockBody>) -> Result<Self, OpenError> {
        let claim = holder::claim_of(body.segment());
        Ok(Self { keeper: Keeper::new(body.segment()), claim, body })
    }
}

impl RwLock {
    /// Waits until nobody writes, and nobody waits to write; then reads.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] when a writer was killed and nobody has recovered the lock since;
    /// [`LockError::Deadlock`] when this thread writes; `Orphaned`, `RegistryChanged`, `Corrupt` when the files beneath
    /// it were tampered with; `Unregistered` in a forked child.
    #[inline]
    pub fn read(&self) -> Result<ReadGuard<'_>, LockError> {
        self.read_until(Deadline::NEVER)
    }

    /// Reads if nobody writes or waits to write. A writer that is found dead counts as nobody. A reader that has just
    /// waited for a writer may be in the way for an instant.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`read`](Self::read).
    #[inline]
    pub fn try_read(&self) -> Result<ReadGuard<'_>, LockError> {
        self.read_until(Deadline::PASSED).map_err(would_block)
    }

    /// As [`read`](Self::read), for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_>, LockError> {
        self.read_until(Deadline::after(timeout))
    }

    /// Waits until nobody else reads or writes; then writes. New readers are kept out meanwhile.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`LockError::Deadlock`] also when this thread reads.
    #[inline]
    pub fn write(&self) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(self.claim, Deadline::NEVER)
    }

    /// Writes if nobody else reads or writes.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`write`](Self::write).
    #[inline]
    pub fn try_write(&self) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(self.claim, Deadline::PASSED).map_err(would_block)
    }

    /// As [`write`](Self::write), for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(self.claim, Deadline::after(timeout))
    }

    /// As [`write`](Self::write), also if the last writer died: for those who can put right what it guards.
    ///
    /// Dropping the guard makes the lock consistent again; dropping it in a panic, or being killed, does not.
    ///
    /// # Errors
    /// As [`write`](Self::write), but for `OwnerDied`.
    pub fn recover(&self) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(Claim::Recover, Deadline::NEVER)
    }

    /// As [`recover`](Self::recover), for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`recover`](Self::recover).
    pub fn recover_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_>, LockError> {
        self.write_until(Claim::Recover, Deadline::after(timeout))
    }

    /// Who writes, or is about to, for people to read.
    #[must_use]
    pub fn writer(&self) -> Option<Holder> {
        holder::of_word(&self.body.writer, self.body.segment())
    }

    /// Who reads, once for each thread, for people to read.
    #[must_use]
    pub fn readers(&self) -> Vec<Holder> {
        let words = self.body.cells.iter().map(|cell| cell.word.load(Ordering::Acquire));
        let owners = words.filter(|&word| word != 0).map(OwnerId::from_bits);
        owners.map(|owner| Holder::of(self.body.segment(), owner)).collect()
    }

    /// Whether a writer died, and nobody has recovered the lock.
    #[must_use]
    pub fn is_inconsistent(&self) -> bool {
        let writing = self.body.writing.load(Ordering::Acquire);
        writing != 0 && self.body.writer.owner().map(OwnerId::to_bits) != Some(writing)
    }

    #[inline]
    fn read_until(&self, deadline: Deadline) -> Result<ReadGuard<'_>, LockError> {
        if let Some(me) = self.keeper.hold()
            && let Some(cell) = self.claim_cell(me)
        {
            if !self.body.writer.is_owned() && self.body.writing.load(Ordering::Relaxed) == 0 {
                return Ok(self.reads(me, cell));
            }
            self.free_cell(cell);
        }
        self.read_contended(deadline)
    }

    #[cold]
    fn read_contended(&self, deadline: Deadline) -> Result<ReadGuard<'_>, LockError> {
        let segment = self.body.segment();
        let me = segment.registration().owner().map_err(LockError::Unregistered)?;
        let me = Hold::of_this_thread(me);
        if let Some(cell) = self.cell_of(me) {
            let deeper = self.body.cells[cell].depth.load(Ordering::Relaxed).checked_add(1);
            let deeper = deeper.ok_or_else(|| LockError::Corrupt { lock: segment.display_name() })?;
            self.body.cells[cell].depth.store(deeper, Ordering::Relaxed);
            crash_point("rwlock.deeper");
            return Ok(ReadGuard { lock: self, me, cell, not_send: PhantomData });
        }
        let mut patience = Patience::new(deadline);
        loop {
            let listened = self.body.space.listen();
            let me = self.keeper.claim(&self.body.writer, segment, Claim::Ignore, deadline)?;
            crash_point("rwlock.queued");
            let cell = self.must_be_consistent().map(|()| self.claim_cell(me));
            self.keeper.release(&self.body.writer, me, true);
            if let Some(cell) = cell? {
                return Ok(self.reads(me, cell));
            }
            let found = self.bury_readers()?;
            if found {
                continue;
            }
            // Not with `writer` held: those who read now must be able to leave, and to come back.
            match self.body.space.sleep(listened, &mut patience) {
                Nap::TimedOut => return Err(LockError::TimedOut),
                Nap::Ask { survey: true } if segment.is_orphaned() => {
                    return Err(LockError::Orphaned { lock: segment.display_name() });
                }
                _ => self.body.space.arrive(),
            }
        }
    }

    fn reads(&self, me: Hold, cell: usize) -> ReadGuard<'_> {
        if !me.names_the_thread() {
            thread_tag::note(self.keeper.key_of(cell));
        }
        self.body.cells[cell].depth.store(1, Ordering::Relaxed);
        crash_point("rwlock.reading");
        ReadGuard { lock: self, me, cell, not_send: PhantomData }
    }

    /// Claims a free cell for `me`, from where this thread usually finds one.
    #[inline]
    fn claim_cell(&self, me: Hold) -> Option<usize> {
        let bits = me.to_bits();
        let start = ((bits >> 16 & 0x7ff) + bits.wrapping_mul(5)) as usize;
        let cell = (0..READERS).map(|step| (start + step) % READERS).find(|&index| {
            let word = &self.body.cells[index].word;
            word.load(Ordering::Relaxed) == 0
                && word.compare_exchange(0, bits, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })?;
        // SYNC: rwlock.dekker.
        fence_after_rmw();
        crash_point("rwlock.claimed");
        Some(cell)
    }

    /// The cell in which this very thread, whose hold is `me`, reads.
    fn cell_of(&self, me: Hold) -> Option<usize> {
        (0..READERS).find(|&index| {
            self.body.cells[index].word.load(Ordering::Relaxed) & !WAITERS == me.to_bits()
                && (me.names_the_thread() || thread_tag::holds(self.keeper.key_of(index)))
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
        if before & WAITERS != 0 {
            futex::wake_all(futex::low_half(word));
        }
        self.body.space.notify_one();
    }

    fn write_until(&self, claim: Claim, deadline: Deadline) -> Result<WriteGuard<'_>, LockError> {
        let segment = self.body.segment();
        if let Some(me) = self.keeper.hold()
            && self.cell_of(me).is_some()
        {
            return Err(LockError::Deadlock);
        }
        let me = self.keeper.claim(&self.body.writer, segment, Claim::Ignore, deadline)?;
        crash_point("rwlock.draining");
        let inconsistent = self.must_be_consistent();
        let recovers = claim == Claim::Recover && inconsistent.is_err();
        let entered = if claim == Claim::Report { inconsistent } else { Ok(()) };
        if let Err(error) = entered.and_then(|()| self.drain(deadline)) {
            self.keeper.release(&self.body.writer, me, true);
            return Err(error);
        }
        if !recovers {
            self.body.writing.store(me.owner().to_bits(), Ordering::Relaxed);
        }
        crash_point("rwlock.writing");
        Ok(WriteGuard { lock: self, me, recovers, not_send: PhantomData })
    }

    /// For the holder of `writer`: whether a writer died inside.
    fn must_be_consistent(&self) -> Result<(), LockError> {
        let segment = self.body.segment();
        match self.body.writing.load(Ordering::Relaxed) {
            dead if dead != 0 && self.claim != Claim::Ignore => {
                let pid = segment.registration().pid_of(OwnerId::from_bits(dead));
                Err(LockError::OwnerDied { pid: pid.unwrap_or(0) })
            }
            _ => Ok(()),
        }
    }

    /// For the holder of `writer`: waits until every cell has been seen free.
    fn drain(&self, deadline: Deadline) -> Result<(), LockError> {
        // SYNC: rwlock.dekker.
        fence(Ordering::SeqCst);
        let mut patience = Patience::new(deadline);
        self.body.cells.iter().try_for_each(|cell| {
            // SYNC: rwlock.read.
            while cell.word.load(Ordering::Acquire) != 0 {
                self.wait_for(cell, deadline, &mut patience)?;
            }
            Ok(())
        })
    }

    #[cold]
    fn wait_for(&self, cell: &Cell, deadline: Deadline, patience: &mut Patience) -> Result<(), LockError> {
        let segment = self.body.segment();
        let word = cell.word.load(Ordering::Acquire);
        if word == 0 {
            return Ok(());
        }
        if deadline.has_passed() {
            return if self.bury_reader(cell)? { Ok(()) } else { Err(LockError::TimedOut) };
        }
        let announced = word | WAITERS;
        if word != announced
            && cell.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return Ok(());
        }
        crash_point("rwlock.announced");
        let nap = patience.sleep(futex::low_half(&cell.word), announced as u32, &self.body.asked);
        if let Nap::Ask { survey } = nap {
            if survey && segment.is_orphaned() {
                return Err(LockError::Orphaned { lock: segment.display_name() });
            }
            self.bury_reader(cell)?;
        }
        Ok(())
    }

    /// Frees a cell if its owner is dead; whether it is free or changed now.
    fn bury_reader(&self, cell: &Cell) -> Result<bool, LockError> {
        let segment = self.body.segment();
        let word = cell.word.load(Ordering::Acquire);
        if word == 0 {
            return Ok(true);
        }
        let dead = segment.registration().is_dead(OwnerId::from_bits(word));
        if !dead.map_err(|error| unknowable(error, segment))? {
            return Ok(false);
        }
        crash_point("rwlock.reader_found_dead");
        // From the exact dead value. A failure means that another was quicker.
        let buried = cell.word.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed);
        if buried.is_ok() {
            crash_point("rwlock.buried");
            if word & WAITERS != 0 {
                futex::wake_all(futex::low_half(&cell.word));
            }
        }
        Ok(true)
    }

    /// Frees the cells of the dead; whether there was one.
    fn bury_readers(&self) -> Result<bool, LockError> {
        let mut any = false;
        for cell in &self.body.cells {
            any |= self.bury_reader(cell)?;
        }
        Ok(any)
    }
}

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

/// The lock, held to read. It stays with its thread; in a forked child its copy does nothing.
#[must_use = "dropping the guard releases the lock at once"]
pub struct ReadGuard<'a> {
    lock: &'a RwLock,
    me: Hold,
    cell: usize,
    not_send: PhantomData<*const ()>,
}

impl Drop for ReadGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let cell = &self.lock.body.cells[self.cell];
        let mine = cell.word.load(Ordering::Relaxed) & !WAITERS == self.me.to_bits();
        if !self.lock.keeper.is_mine(self.me) || !mine {
            return;
        }
        let depth = cell.depth.load(Ordering::Relaxed);
        if depth > 1 {
            cell.depth.store(depth - 1, Ordering::Relaxed);
            crash_point("rwlock.shallower");
            return;
        }
        if !self.me.names_the_thread() {
            thread_tag::forget(self.lock.keeper.key_of(self.cell));
        }
        self.lock.free_cell(self.cell);
    }
}

impl fmt::Debug for ReadGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").field("lock", &self.lock.body.segment().name()).finish_non_exhaustive()
    }
}

/// The lock, held to write. It stays with its thread; in a forked child its copy does nothing.
#[must_use = "dropping the guard releases the lock at once"]
pub struct WriteGuard<'a> {
    lock: &'a RwLock,
    me: Hold,
    /// Whether it was taken inconsistent, to be put right.
    recovers: bool,
    not_send: PhantomData<*const ()>,
}

impl<'a> WriteGuard<'a> {
    /// Whether the lock was inconsistent when it was acquired: a writer died.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.recovers
    }

    /// Goes on reading: no other writer comes in between, and other readers may read from now on.
    ///
    /// # Errors
    /// [`LockError::RegistryChanged`], `Corrupt`: then the lock is released. In a forked child, `Deadlock`: the guard
    /// is the parent's.
    pub fn downgrade(self) -> Result<ReadGuard<'a>, LockError> {
        let lock = self.lock;
        if !lock.keeper.is_mine(self.me) {
            return Err(LockError::Deadlock);
        }
        loop {
            // Those in the cells came in vain, and are about to leave, or dead.
            if let Some(cell) = lock.claim_cell(self.me) {
                let reading = lock.reads(self.me, cell);
                drop(self);
                return Ok(reading);
            }
            lock.bury_readers()?;
            std::thread::yield_now();
        }
    }
}

impl Drop for WriteGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.lock.keeper.is_mine(self.me) {
            return;
        }
        if !self.recovers || !std::thread::panicking() {
            self.lock.body.writing.store(0, Ordering::Relaxed);
            crash_point("rwlock.written");
        }
        self.lock.keeper.release(&self.lock.body.writer, self.me, true);
    }
}

impl fmt::Debug for WriteGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard")
            .field("lock", &self.lock.body.segment().name())
            .field("recovers", &self.recovers)
            .finish()
    }
}

#[cfg(test)]
mod tests;

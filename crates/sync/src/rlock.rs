//! A lock that its holder may acquire again, and that outlives whoever is killed holding it.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `lock` | see `lock_word.rs` | who holds it: a process, and in it a thread |
//! | `depth` | the thread that holds `lock` | how many guards of it that thread has; of no meaning while `lock` is free |
//! | `struck` | the thread that holds `lock` | 1: a panic has dropped one of its guards, and others are left. The last of them leaves `lock` inconsistent |
//! | `entries` | the thread that holds `lock` | how often the lock was entered; only grows |
//! | `entry` | the thread that holds `lock` | which of them the present one is: guards of another entry are inert |
//!
//! # Who may change what
//! `depth` belongs to the thread in `lock`: the first acquire stores 1, each further one adds 1, each drop
//! subtracts 1, and the drop at 1 releases `lock`. Guards are not `Send`, so no other thread can release.
//!
//! A thread can have guards and not hold `lock`: those that were left when a wait on a condition gave all
//! levels up and could not get the lock back. Should the thread enter again, they are of an earlier `entry`,
//! and do nothing.
//!
//! # Orderings
//! Edge `lock.handover` of the lock word also hands over the other words, which are therefore Relaxed.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | after acquiring `lock`, before the others are stored | a dead owner, old values | as for a lock; the next owner stores its own |
//! | anywhere inside, at any depth | a dead owner, some values | the same |
//! | after the last release | nothing | – |

use crate::fault::Fault;
use crate::fencing::{FencingTokens, gives_fencing_tokens};
use crate::held_by;
use crate::hold::Hold;
use crate::holder::Holder;
use crate::keeper::{Keeper, Panics};
use crate::lock_error::LockError;
use crate::lock_face::{LockSettings, lock_options, lock_recovery};
use crate::lock_word::{Claim, LockWord};
use crate::owner_death;
use procession_shm::{Kind, Object, OpenError, Segment, Shape, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{Deadline, crash_point, shm_struct};
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

shm_struct! {
    #[doc(hidden)]
    pub struct RLockBody {
        lock: LockWord,
        depth: AtomicU32,
        /// Whether a panic that began under a guard has dropped it, while others still hold the lock.
        struck: AtomicU32,
        entries: AtomicU64,
        entry: AtomicU64,
        tokens: FencingTokens,
    }
}

/// A recursive lock between processes: one thread at a time has guards of it, as many as it likes.
///
/// It is free again when the thread has dropped all of its guards. Another thread, of the same process or
/// another, waits. If the holder is killed, at whatever depth, the lock is free and inconsistent, as a
/// [`Lock`](crate::Lock) is.
///
/// ```
/// use procession::RLock;
///
/// let lock = RLock::open_or_create("tree")?;
/// let outer = lock.acquire()?;
/// {
///     let inner = lock.acquire()?;
///     assert_eq!(inner.depth(), 2);
/// }
/// assert_eq!(outer.depth(), 1);
/// # drop(outer);
/// # lock.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A guard stays with its thread:
/// ```compile_fail
/// let lock = procession::RLock::new().unwrap();
/// let guard = lock.acquire().unwrap();
/// std::thread::scope(|scope| scope.spawn(|| drop(guard)));
/// ```
#[derive(Clone)]
pub struct RLock {
    body: Shared<RLockBody>,
    keeper: Keeper,
    claim: Claim,
}

lock_options!(
    /// How an [`RLock`] is created or opened.
    RLockOptions => RLock, "holder", "waits for the lock"
);

impl Object for RLock {
    const KIND: Kind = Kind::RLOCK;
    const GROUP: Option<Kind> = Some(Kind::RLOCK_GROUP);
    type Body = RLockBody;
    type Settings = LockSettings;

    fn shape(settings: &LockSettings) -> Shape {
        settings.shape::<RLockBody>(Self::KIND)
    }

    fn forget_owners(body: &RLockBody) {
        body.lock.forget_owner();
    }

    fn attach(body: Shared<RLockBody>) -> Result<Self, OpenError> {
        let claim = owner_death::claim_of(body.segment());
        Ok(Self { keeper: Keeper::of_cell(body.segment(), body.offset()), claim, body })
    }
}

impl RLock {
    /// Waits until the lock is this thread's; at once if it is already.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] when a holder was killed and nobody has recovered the lock since; `Orphaned`,
    /// `RegistryChanged`, `Corrupt` when the files beneath it were tampered with; `Unregistered` in a forked
    /// child.
    #[inline]
    pub fn acquire(&self) -> Result<RLockGuard<'_>, LockError> {
        RLockGuardOf::enter(self, self.claim, Deadline::NEVER)
    }

    /// Takes the lock if no other thread holds it. A holder that is found dead counts as nobody.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`acquire`](Self::acquire).
    #[inline]
    pub fn try_acquire(&self) -> Result<RLockGuard<'_>, LockError> {
        RLockGuardOf::enter(self, self.claim, Deadline::PASSED)
    }

    /// Waits at most `timeout` until the lock is this thread's.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, LockError> {
        RLockGuardOf::enter(self, self.claim, Deadline::after(timeout))
    }

    /// Acquires as [`acquire`](Self::acquire) does, with a guard that keeps the lock: for a struct that owns
    /// both, and for a hold that outlasts the handle.
    ///
    /// ```
    /// use procession::RLock;
    ///
    /// let outer = RLock::new()?.acquire_owned()?;
    /// let inner = outer.lock().acquire_owned()?;
    /// assert_eq!((outer.depth(), inner.depth()), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_owned(&self) -> Result<OwnedRLockGuard, LockError> {
        RLockGuardOf::enter(self.clone(), self.claim, Deadline::NEVER)
    }

    /// Releases once what this thread holds without a guard: for bindings of other languages, and after
    /// `std::mem::forget` of the guard. A guard that is still there releases nothing any more; but what this
    /// thread acquires before that guard is dropped, the guard would release.
    ///
    /// # Errors
    /// [`LockError::NotHeld`] when this thread does not hold it.
    pub fn release(&self) -> Result<(), LockError> {
        let me = self.keeper.must_hold(&self.body.lock, self.body.segment())?;
        self.leave(me, self.body.entry.load(Ordering::Relaxed), false, false);
        Ok(())
    }

    /// A guard for one of the times that this thread has acquired the lock and has no guard: see
    /// [`Lock::adopt`](crate::Lock::adopt).
    ///
    /// # Errors
    /// [`LockError::NotHeld`] when this thread does not hold it.
    pub fn adopt(&self) -> Result<RLockGuard<'_>, LockError> {
        let me = self.keeper.must_hold(&self.body.lock, self.body.segment())?;
        Ok(RLockGuardOf::new(self, me))
    }

    /// The process that holds it now, for people to read: by the time you look it may be another.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        held_by::holder_of(&self.body.lock, self.body.segment())
    }

    /// The word that says who holds it.
    pub(crate) fn word(&self) -> (&LockWord, &Segment) {
        (&self.body.lock, self.body.segment())
    }

    /// How many holders have died with it, or left it in a panic, since it was created: at least so many, and of one that
    /// was killed while it told so of another, one more.
    #[must_use]
    pub fn n_owner_deaths(&self) -> u32 {
        self.body.lock.burials()
    }

    /// How many fencing tokens were handed out: for tools, which see by it that holders come and go.
    #[doc(hidden)]
    #[must_use]
    pub fn n_fencing_tokens(&self) -> u64 {
        self.body.tokens.handed_out()
    }

    /// Whether a holder died and nobody has recovered the lock.
    #[must_use]
    pub fn is_inconsistent(&self) -> bool {
        self.body.lock.is_inconsistent()
    }

    fn recover_until(&self, deadline: Deadline) -> Result<RLockGuard<'_>, LockError> {
        RLockGuardOf::enter(self, owner_death::recovering(self.claim), deadline)
    }

    /// Begins a new entry of `me`, which has just acquired the lock.
    #[inline]
    fn begin(&self) {
        let entry = self.body.entries.load(Ordering::Relaxed).wrapping_add(1);
        self.body.entries.store(entry, Ordering::Relaxed);
        self.body.entry.store(entry, Ordering::Relaxed);
        self.body.depth.store(1, Ordering::Relaxed);
        if self.body.struck.load(Ordering::Relaxed) != 0 {
            // Left by a holder that died. Looked at first: almost always there is nothing to store.
            self.body.struck.store(0, Ordering::Relaxed);
        }
        crash_point("rlock.entered");
    }

    /// Goes one deeper into the entry of this thread, which holds the lock.
    fn deepen(&self) -> Result<(), Fault> {
        let deeper = self.body.depth.load(Ordering::Relaxed).checked_add(1);
        let corrupt =
            || Fault::corrupt(self.body.segment(), "one thread has more guards of it than can be counted");
        self.body.depth.store(deeper.ok_or_else(corrupt)?, Ordering::Relaxed);
        crash_point("rlock.deeper");
        Ok(())
    }

    /// Gives up one guard of `me`, or `all` of them; how many there were. What the lock guards may be
    /// half-changed if a panic has `struck` under this guard, or did under one that went before.
    fn leave(&self, me: Hold, entry: u64, all: bool, struck: bool) -> u32 {
        let lock = &self.body.lock;
        if !self.counts(me, entry) {
            return 0;
        }
        let depth = self.body.depth.load(Ordering::Relaxed);
        let struck = struck && self.claim != Claim::Ignore;
        if depth > 1 && !all {
            if struck {
                // The guards that are left still hold the lock: the last of them tells the next holder.
                self.body.struck.store(1, Ordering::Relaxed);
            }
            self.body.depth.store(depth - 1, Ordering::Relaxed);
            crash_point("rlock.shallower");
        } else {
            let whole = !struck && self.body.struck.load(Ordering::Relaxed) == 0;
            self.keeper.release(lock, me, whole);
        }
        depth
    }

    /// Whether a guard of this thread is one of those that hold the lock. A forked child's copy is not, nor
    /// is one whose lock was lost in a wait that failed.
    #[inline]
    fn counts(&self, me: Hold, entry: u64) -> bool {
        self.keeper.is_mine(me)
            && self.keeper.holds(&self.body.lock, me)
            && self.body.entry.load(Ordering::Relaxed) == entry
    }
}

lock_recovery!(RLock => RLockGuard, acquire, "the last guard");

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.holder();
        let depth = holder.as_ref().map_or(0, |_| self.body.depth.load(Ordering::Relaxed));
        f.debug_struct("RLock")
            .field("name", &self.body.segment().name())
            .field("holder", &holder)
            .field("depth", &depth)
            .field("inconsistent", &self.is_inconsistent())
            .finish()
    }
}

/// The recursive lock, held once more; dropping the last of a thread's guards releases the lock.
///
/// It stays with the thread that acquired it. In a forked child the copy of a guard does nothing: the parent
/// holds the lock. Dropping it in a panic that began while it was held leaves the lock inconsistent, as a
/// death does, as soon as the last guard is dropped.
pub type RLockGuard<'a> = RLockGuardOf<&'a RLock>;

/// The recursive lock, held once more, with the lock itself: what [`RLockGuard`] is, for as long as one
/// likes.
pub type OwnedRLockGuard = RLockGuardOf<RLock>;

/// A hold of a recursive lock, with a reference to it ([`RLockGuard`]) or with the lock itself
/// ([`OwnedRLockGuard`]).
#[must_use = "dropping the guard releases the lock at once"]
pub struct RLockGuardOf<L: Borrow<RLock>> {
    lock: L,
    me: Hold,
    entry: u64,
    panics: Panics,
    not_send: PhantomData<*const ()>,
}

impl<L: Borrow<RLock>> RLockGuardOf<L> {
    gives_fencing_tokens!(lock.borrow().body.tokens);

    #[inline]
    fn enter(lock: L, claim: Claim, deadline: Deadline) -> Result<Self, LockError> {
        let RLock { keeper, body, .. } = lock.borrow();
        match keeper.try_claim(&body.lock) {
            Some(me) => {
                lock.borrow().begin();
                Ok(Self::new(lock, me))
            }
            None => Self::enter_contended(lock, claim, deadline),
        }
    }

    /// Goes one deeper if this thread holds the lock already, else waits for it.
    #[cold]
    fn enter_contended(lock: L, claim: Claim, deadline: Deadline) -> Result<Self, LockError> {
        let RLock { keeper, body, .. } = lock.borrow();
        if let Some(me) = keeper.hold().filter(|&me| keeper.holds(&body.lock, me)) {
            lock.borrow().deepen()?;
            return Ok(Self::new(lock, me));
        }
        let me = keeper.claim_contended(&body.lock, body.segment(), claim, deadline)?;
        lock.borrow().begin();
        Ok(Self::new(lock, me))
    }

    #[inline]
    fn new(lock: L, me: Hold) -> Self {
        let entry = lock.borrow().body.entry.load(Ordering::Relaxed);
        Self { lock, me, entry, panics: Panics::now(), not_send: PhantomData }
    }

    /// Releases the lock over all levels; the lock, how many there were, and of which entry.
    pub(crate) fn leave_all(self) -> (L, u32, u64)
    where
        L: Clone,
    {
        // Dropping the guard then finds nothing to release.
        (self.lock.clone(), self.lock().leave(self.me, self.entry, true, false), self.entry)
    }

    /// Acquires the lock as deep as it was before [`leave_all`](Self::leave_all): the guards of that entry
    /// count again.
    pub(crate) fn enter_again(lock: L, depth: u32, entry: u64) -> Result<Self, LockError> {
        let claim = lock.borrow().claim;
        let mut guard = Self::enter(lock, claim, Deadline::NEVER)?;
        if depth > 0 {
            guard.entry = entry;
            let body = &guard.lock.borrow().body;
            body.entry.store(entry, Ordering::Relaxed);
            body.depth.store(depth, Ordering::Relaxed);
            crash_point("rlock.restored");
        }
        Ok(guard)
    }

    /// The lock it is a guard of.
    #[must_use]
    pub fn lock(&self) -> &RLock {
        self.lock.borrow()
    }

    /// How many guards hold the lock together with this one; 0 in a forked child, and when a wait on a
    /// [`Condition`](crate::Condition) has lost the lock: then it holds nothing.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let lock = self.lock();
        if lock.counts(self.me, self.entry) { lock.body.depth.load(Ordering::Relaxed) } else { 0 }
    }

    /// Whether the lock was inconsistent when this thread acquired it: its previous holder died.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.depth() > 0 && self.lock().is_inconsistent()
    }
}

impl RLockGuard<'_> {
    /// This hold, with a guard that keeps the lock: see [`RLock::acquire_owned`].
    pub fn into_owned(self) -> OwnedRLockGuard {
        let guard = ManuallyDrop::new(self);
        let (me, entry, panics) = (guard.me, guard.entry, guard.panics);
        OwnedRLockGuard { lock: guard.lock.clone(), me, entry, panics, not_send: PhantomData }
    }
}

impl<L: Borrow<RLock>> Drop for RLockGuardOf<L> {
    #[inline]
    fn drop(&mut self) {
        self.lock.borrow().leave(self.me, self.entry, false, self.panics.has_begun());
    }
}

impl<L: Borrow<RLock>> fmt::Debug for RLockGuardOf<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLockGuard")
            .field("lock", &self.lock().body.segment().name())
            .field("depth", &self.depth())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{RLock, RLockGuardOf};
    use crate::{Fault, LockError};
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    fn lock() -> RLock {
        RLock::options().namespace(&procession_shm::Namespace::private()).anonymous().unwrap()
    }

    /// What another thread meets.
    fn from_outside(lock: &RLock) -> Result<(), LockError> {
        std::thread::scope(|scope| scope.spawn(|| lock.try_acquire().map(drop)).join()).unwrap()
    }

    #[test]
    fn the_last_guard_releases_in_whatever_order_they_go() {
        let lock = lock();
        let (one, two) = (lock.acquire().unwrap(), lock.try_acquire().unwrap());
        let three = lock.acquire_timeout(Duration::ZERO).unwrap();
        assert_eq!((three.depth(), lock.holder().unwrap().pid), (3, std::process::id()));
        drop(one);
        assert_eq!(three.depth(), 2);
        assert!(matches!(from_outside(&lock), Err(LockError::WouldBlock(_))));
        drop(three);
        assert!(matches!(from_outside(&lock), Err(LockError::WouldBlock(_))));
        drop(two);
        from_outside(&lock).unwrap();
        assert!(lock.holder().is_none() && !lock.is_inconsistent());
    }

    #[test]
    fn what_a_thread_holds_without_a_guard_is_adopted_once_for_each_time() {
        let lock = lock();
        assert!(matches!(lock.adopt(), Err(LockError::NotHeld { .. })));
        for _ in 0..2 {
            std::mem::forget(lock.acquire().unwrap());
        }
        let adopted = lock.adopt().unwrap();
        assert_eq!(adopted.depth(), 2);
        drop(adopted);
        assert!(matches!(from_outside(&lock), Err(LockError::WouldBlock(_))));
        drop(lock.adopt().unwrap());
        from_outside(&lock).unwrap();
    }

    #[test]
    fn a_depth_that_cannot_be_is_corrupt_and_still_released() {
        let lock = lock();
        let guard = lock.acquire().unwrap();
        lock.body.depth.store(u32::MAX, Ordering::Relaxed);
        assert!(matches!(lock.acquire(), Err(LockError::Fault(Fault::Corrupt { .. }))));
        lock.body.depth.store(0, Ordering::Relaxed);
        drop(guard);
        from_outside(&lock).unwrap();
    }

    #[test]
    fn a_wait_gives_up_all_levels() {
        let lock = lock();
        let (outer, inner) = (lock.acquire().unwrap(), lock.acquire().unwrap());
        assert_eq!(lock.leave(inner.me, inner.entry, true, false), 2);
        from_outside(&lock).unwrap();
        // Neither guard can do anything now, nor if the lock is acquired anew.
        assert_eq!((outer.depth(), inner.depth()), (0, 0));
        drop(inner);
        let anew = lock.acquire().unwrap();
        assert_eq!((outer.depth(), anew.depth()), (0, 1));
        drop(outer);
        assert!(matches!(from_outside(&lock), Err(LockError::WouldBlock(_))));
        drop(anew);
        from_outside(&lock).unwrap();
    }

    #[test]
    fn guards_from_before_a_wait_count_again_after_it() {
        let lock = lock();
        let (outer, inner) = (lock.acquire().unwrap(), lock.acquire().unwrap());
        let (_, depth, entry) = inner.leave_all();
        for _ in 0..3 {
            from_outside(&lock).unwrap();
        }
        let inner = RLockGuardOf::enter_again(&lock, depth, entry).unwrap();
        assert_eq!((outer.depth(), inner.depth()), (2, 2));
        drop(outer);
        assert!(matches!(from_outside(&lock), Err(LockError::WouldBlock(_))));
        drop(inner);
        // An entry that was restored is not given out again.
        let (one, entries) = (lock.acquire().unwrap(), lock.body.entries.load(Ordering::Relaxed));
        assert_eq!(one.entry, entries);
        drop(one);
        from_outside(&lock).unwrap();
    }
}

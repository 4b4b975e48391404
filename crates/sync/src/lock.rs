//! A lock that one process at a time holds, and that outlives whoever is killed holding it.
//!
//! The protocol, its state table and what survives a death at each step are in `lock_word.rs`; here is the
//! type that people use: options, guards, errors.
//!
//! # If a process dies
//! A dead waiter leaves nothing. A dead holder leaves the lock free and inconsistent: every `acquire` answers
//! [`LockError::OwnerDied`], because what the lock guards may be half-changed, until somebody who knows how
//! to put it right calls [`Lock::recover`] and drops that guard. A lock that guards nothing of the kind is
//! created with [`OnOwnerDeath::Ignore`](crate::OnOwnerDeath::Ignore) and is simply free again.

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
use procession_sys::atomic::AtomicU64;
use procession_sys::{Deadline, shm_struct};
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

shm_struct! {
    #[doc(hidden)]
    pub struct LockBody {
        lock: LockWord,
        tokens: FencingTokens,
        /// To the end of the cache line.
        spare: [AtomicU64; 3],
    }
}

/// A lock between processes: at most one guard of it exists anywhere.
///
/// It is not recursive: a thread that already holds it is told [`LockError::Deadlock`]. Handles are cheap to
/// clone, may be used by any number of threads, and can be sent to other processes as arguments and in
/// messages.
///
/// ```
/// use procession::{Lock, LockError};
///
/// let lock = Lock::open_or_create("deploy")?;
/// {
///     let _guard = lock.acquire()?;
///     assert!(matches!(lock.try_acquire(), Err(LockError::WouldBlock(_))));
///     assert!(matches!(lock.acquire(), Err(LockError::Deadlock { .. })));
/// }
/// assert!(lock.try_acquire().is_ok());
/// # lock.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Lock {
    body: Shared<LockBody>,
    keeper: Keeper,
    claim: Claim,
}

lock_options!(
    /// How a [`Lock`] is created or opened.
    LockOptions => Lock, "holder", "waits for the lock"
);

impl Object for Lock {
    const KIND: Kind = Kind::LOCK;
    const GROUP: Option<Kind> = Some(Kind::LOCK_GROUP);
    type Body = LockBody;
    type Settings = LockSettings;

    fn shape(settings: &LockSettings) -> Shape {
        settings.shape::<LockBody>(Self::KIND)
    }

    fn forget_owners(body: &LockBody) {
        body.lock.forget_owner();
    }

    fn attach(body: Shared<LockBody>) -> Result<Self, OpenError> {
        let claim = owner_death::claim_of(body.segment());
        Ok(Self { keeper: Keeper::of_cell(body.segment(), body.offset()), claim, body })
    }
}

impl Lock {
    /// Waits until the lock is ours.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] when a holder was killed, or panicked, and nobody has recovered the lock
    /// since; [`LockError::Deadlock`] when this thread holds it; `Orphaned`, `RegistryChanged`, `Corrupt`
    /// when the files beneath it were tampered with; `Unregistered` in a forked child.
    #[inline]
    pub fn acquire(&self) -> Result<LockGuard<'_>, LockError> {
        LockGuardOf::claim(self, self.claim, Deadline::NEVER)
    }

    /// Takes the lock if nobody holds it.
    ///
    /// A holder that is found dead counts as nobody, so that a try never fails for ever.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`], also when this thread holds it; otherwise as [`acquire`](Self::acquire).
    #[inline]
    pub fn try_acquire(&self) -> Result<LockGuard<'_>, LockError> {
        LockGuardOf::claim(self, self.claim, Deadline::PASSED)
    }

    /// Waits at most `timeout` until the lock is ours.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, LockError> {
        LockGuardOf::claim(self, self.claim, Deadline::after(timeout))
    }

    /// Acquires as [`acquire`](Self::acquire) does, with a guard that keeps the lock: for a struct that owns
    /// both, and for a hold that outlasts the handle.
    ///
    /// ```
    /// use procession::{Lock, OwnedLockGuard};
    ///
    /// struct Deployment {
    ///     _alone: OwnedLockGuard,
    /// }
    ///
    /// let lock = Lock::new()?;
    /// let deployment = Deployment { _alone: lock.acquire_owned()? };
    /// assert!(lock.try_acquire().is_err());
    /// drop(deployment);
    /// assert!(lock.try_acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_owned(&self) -> Result<OwnedLockGuard, LockError> {
        OwnedLockGuard::acquire(self.clone())
    }

    /// Releases what this thread holds without a guard: for bindings of other languages, and after
    /// `std::mem::forget` of the guard. A guard that is still there releases nothing any more; but what this
    /// thread acquires before that guard is dropped, the guard would release.
    ///
    /// # Errors
    /// [`LockError::NotHeld`] when this thread does not hold it.
    pub fn release(&self) -> Result<(), LockError> {
        let me = self.keeper.must_hold(&self.body.lock, self.body.segment())?;
        if !self.keeper.try_release(&self.body.lock, me) {
            self.let_go(me, true);
        }
        Ok(())
    }

    /// A guard of what this thread holds without one: for bindings of other languages, which have to wait on a
    /// [`Condition`](crate::Condition), and after `std::mem::forget` of the guard.
    ///
    /// ```
    /// use procession::{Lock, LockError};
    ///
    /// let lock = Lock::new()?;
    /// std::mem::forget(lock.acquire()?);
    /// drop(lock.adopt()?);
    /// assert!(matches!(lock.adopt(), Err(LockError::NotHeld { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LockError::NotHeld`] when this thread does not hold it.
    pub fn adopt(&self) -> Result<LockGuard<'_>, LockError> {
        let me = self.keeper.must_hold(&self.body.lock, self.body.segment())?;
        Ok(LockGuardOf::new(self, me, self.is_inconsistent()))
    }

    /// The process that holds it now, for people to read: by the time you look it may be another.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        held_by::holder_of(&self.body.lock, self.body.segment())
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

    fn recover_until(&self, deadline: Deadline) -> Result<LockGuard<'_>, LockError> {
        LockGuardOf::claim(self, owner_death::recovering(self.claim), deadline)
    }

    #[cfg(feature = "async")]
    pub(crate) fn keeper(&self) -> Keeper {
        self.keeper
    }

    #[cfg(feature = "async")]
    pub(crate) fn claim(&self) -> Claim {
        self.claim
    }

    /// The word that it is.
    pub(crate) fn word(&self) -> (&LockWord, &Segment) {
        (&self.body.lock, self.body.segment())
    }

    /// Ends a hold of this thread; `whole` says whether what the lock guards is: otherwise a panic is under
    /// way.
    #[cold]
    fn let_go(&self, me: Hold, whole: bool) {
        // A guard whose lock was released without it is inert.
        if self.keeper.holds(&self.body.lock, me) {
            self.keeper.release(&self.body.lock, me, whole || self.claim == Claim::Ignore);
        }
    }
}

lock_recovery!(Lock => LockGuard, acquire, "the guard");

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("name", &self.body.segment().name())
            .field("holder", &self.holder())
            .field("inconsistent", &self.is_inconsistent())
            .finish()
    }
}

/// The lock, held; dropping it releases the lock.
///
/// It stays with the thread that acquired it. In a forked child the copy of a guard does nothing: the parent
/// holds the lock. Dropping it in a panic that began while it was held leaves the lock inconsistent, as a
/// death does.
pub type LockGuard<'a> = LockGuardOf<&'a Lock>;

/// The lock, held, with the lock itself: what [`LockGuard`] is, for as long as one likes.
pub type OwnedLockGuard = LockGuardOf<Lock>;

/// A hold of a lock, with a reference to it ([`LockGuard`]) or with the lock itself ([`OwnedLockGuard`]).
#[must_use = "dropping the guard releases the lock at once"]
pub struct LockGuardOf<L: Borrow<Lock>> {
    lock: L,
    me: Hold,
    /// Whether it was taken inconsistent, to be put right.
    recovers: bool,
    panics: Panics,
    not_send: PhantomData<*const ()>,
}

impl<L: Borrow<Lock>> LockGuardOf<L> {
    #[inline]
    fn claim(lock: L, claim: Claim, deadline: Deadline) -> Result<Self, LockError> {
        let Lock { keeper, body, .. } = lock.borrow();
        match keeper.try_claim(&body.lock) {
            // Free and nothing else: consistent, too.
            Some(me) => Ok(Self::new(lock, me, false)),
            None => Self::claim_contended(lock, claim, deadline),
        }
    }

    /// A function of its own that returns the finished guard: so the guard of an uncontended acquire stays in
    /// registers. In memory it would be written in parts and read as a whole, for which the processor waits
    /// (store forwarding fails): three times as long as the lock itself.
    #[cold]
    fn claim_contended(lock: L, claim: Claim, deadline: Deadline) -> Result<Self, LockError> {
        let Lock { keeper, body, .. } = lock.borrow();
        let me = keeper.claim_contended(&body.lock, body.segment(), claim, deadline)?;
        let recovers = claim == Claim::Recover && body.lock.is_inconsistent();
        Ok(Self::new(lock, me, recovers))
    }

    #[inline]
    fn new(lock: L, me: Hold, recovers: bool) -> Self {
        Self { lock, me, recovers, panics: Panics::now(), not_send: PhantomData }
    }

    /// The lock it is a guard of.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        self.lock.borrow()
    }

    /// Whether the lock was inconsistent when it was acquired: its previous holder died.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.recovers
    }

    gives_fencing_tokens!(lock.borrow().body.tokens);

    /// Acquires the lock.
    pub(crate) fn acquire(lock: L) -> Result<Self, LockError> {
        let claim = lock.borrow().claim;
        Self::claim(lock, claim, Deadline::NEVER)
    }

    /// Releases the lock; what it was a guard of.
    pub(crate) fn into_lock(self) -> L
    where
        L: Clone,
    {
        self.lock.clone()
    }
}

impl LockGuard<'_> {
    /// This hold, with a guard that keeps the lock: see [`Lock::acquire_owned`].
    pub fn into_owned(self) -> OwnedLockGuard {
        let guard = ManuallyDrop::new(self);
        let (me, recovers, panics) = (guard.me, guard.recovers, guard.panics);
        OwnedLockGuard { lock: guard.lock.clone(), me, recovers, panics, not_send: PhantomData }
    }
}

impl<L: Borrow<Lock>> Drop for LockGuardOf<L> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock.borrow();
        if !lock.keeper.try_release(&lock.body.lock, self.me) {
            lock.let_go(self.me, !self.panics.has_begun());
        }
    }
}

impl<L: Borrow<Lock>> fmt::Debug for LockGuardOf<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("lock", &self.lock().body.segment().name())
            .field("recovers", &self.recovers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Lock;
    use crate::Event;
    use procession_shm::{Namespace, OpenError};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_handle_of_a_lock_whose_name_is_another_objects_now_leads_nowhere() {
        let namespace = Namespace::private();
        let lock = Lock::options().namespace(&namespace).create("x").unwrap();
        let handle = lock.word().1.handle();
        lock.unlink().unwrap();
        let gone = || matches!(handle.open::<Lock>(&Default::default()), Err(OpenError::Gone { .. }));
        assert!(gone());
        let event = Event::options().namespace(&namespace).create("x").unwrap();
        assert!(gone(), "it is no event either");
        event.unlink().unwrap();
        let again = Lock::options().namespace(&namespace).create("x").unwrap();
        assert!(gone());
        again.unlink().unwrap();
    }

    #[test]
    fn a_guard_whose_lock_was_released_without_it_does_nothing_in_a_panic_either() {
        let lock = Lock::options().namespace(&Namespace::private()).anonymous().unwrap();
        let panics = || {
            let _guard = lock.acquire().unwrap();
            lock.release().unwrap();
            panic!("with a guard of nothing");
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!((lock.n_owner_deaths(), lock.is_inconsistent()), (0, false));
    }
}

//! What `Lock`, `RLock` and `RwLock` have in common for those who use them: options, and how one recovers a
//! lock whose holder died.
//!
//! What differs is how each is claimed, and is said in its own file.

use crate::deadlock;
use crate::owner_death::{self, OnOwnerDeath};
use procession_shm::{Kind, Parameter, Shape};

/// What a creator chooses about a lock, and an opener may insist on.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LockSettings {
    pub(crate) on_owner_death: Option<OnOwnerDeath>,
    pub(crate) detect_deadlock: Option<bool>,
}

impl LockSettings {
    /// The header of a lock of this `kind`, whose body is a `Body`.
    pub(crate) fn shape<Body>(&self, kind: Kind) -> Shape {
        // Where `owner_death::claim_of` and `deadlock::PARAMETER` look for them.
        let policy = owner_death::parameter(self.on_owner_death);
        let detect = deadlock::parameter(self.detect_deadlock);
        let parameters = [policy, detect, Parameter::default(), Parameter::default()];
        Shape { kind, body_len: size_of::<Body>() as u64, parameters, element: None, codec: 0 }
    }
}

/// Declares the options of a kind of lock; `$holder` is what people call the one that leaves it
/// inconsistent, `$waits` how one waits for it.
macro_rules! lock_options {
    ($(#[$about:meta])* $Options:ident => $Lock:ident, $holder:literal, $waits:literal) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default)]
        pub struct $Options {
            place: procession_shm::Placement,
            settings: $crate::lock_face::LockSettings,
        }

        impl $Options {
            #[doc = concat!("Chooses what becomes of the lock when its ", $holder, " is killed, or panics;")]
            /// [`OnOwnerDeath::Report`](crate::OnOwnerDeath::Report) unless said.
            #[must_use]
            pub fn on_owner_death(mut self, policy: $crate::OnOwnerDeath) -> Self {
                self.settings.on_owner_death = Some(policy);
                self
            }

            #[doc = concat!("Whether a thread that ", $waits, ", and finds that it is in a deadlock, is told")]
            /// [`LockError::Deadlock`](crate::LockError::Deadlock) instead of waiting on; not unless said. Of
            /// the threads in one deadlock, one is told. [`deadlocks`](crate::deadlocks) reports them in any
            /// case, and says which can be found.
            #[must_use]
            pub fn detect_deadlock(mut self, detect: bool) -> Self {
                self.settings.detect_deadlock = Some(detect);
                self
            }
        }

        procession_shm::object_builders!([] $Options => $Lock);
    };
}
pub(crate) use lock_options;

/// Gives a kind of lock the three ways to recover it, by its `recover_until(deadline)`; `$acquire` is the
/// method that fails after a holder's death.
macro_rules! lock_recovery {
    ($Lock:ident => $Guard:ident, $acquire:ident, $guard:literal) => {
        impl $Lock {
            #[doc = concat!("Waits as [`", stringify!($acquire), "`](Self::", stringify!($acquire), ") does, and")]
            /// acquires the lock also if its last holder died: for those who can put right what it guards.
            ///
            #[doc = concat!("Dropping ", $guard, " makes the lock consistent again; dropping it in a panic, or")]
            /// being killed, does not.
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($acquire), "`](Self::", stringify!($acquire), "), but for `OwnerDied`.")]
            pub fn recover(&self) -> Result<$Guard<'_>, LockError> {
                self.recover_until(Deadline::NEVER)
            }

            /// Recovers the lock as [`recover`](Self::recover) does, if nobody holds it now.
            ///
            /// # Errors
            /// [`LockError::WouldBlock`](crate::LockError::WouldBlock); otherwise as
            /// [`recover`](Self::recover).
            pub fn try_recover(&self) -> Result<$Guard<'_>, LockError> {
                self.recover_until(Deadline::PASSED)
            }

            /// Recovers the lock as [`recover`](Self::recover) does, waiting at most `timeout`.
            ///
            /// # Errors
            /// [`LockError::TimedOut`](crate::LockError::TimedOut); otherwise as [`recover`](Self::recover).
            pub fn recover_timeout(&self, timeout: Duration) -> Result<$Guard<'_>, LockError> {
                self.recover_until(Deadline::after(timeout))
            }
        }
    };
}
pub(crate) use lock_recovery;

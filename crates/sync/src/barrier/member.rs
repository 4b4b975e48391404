//! A place at a barrier that one process has taken: waiting there, leaving, and handing it to a child.

use super::place::{MEMBER, Place};
use super::waiter::Waiter;
use super::{Action, Barrier, BarrierError, Failed};
use procession_shm::{Handle, Object, OwnerId, owner_of_child};
use procession_sys::{Deadline, crash_point};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A place at a [`Barrier`]: one of its parties, of whose death the others are told.
///
/// Dropping it leaves the place: at an elastic barrier there is one party less then, and at any other
/// somebody else may take it. In a forked child the copy of it does nothing: the parent has the place.
///
/// # Handing it to a child
/// A member can be an argument of `Process::spawn`, and nothing else: not a message, not the argument of a
/// pool's worker. When the arguments have been encoded the place is the child's, although there is no child
/// yet, and the sender's own `Member` does nothing any more. From then on the child's death counts as that of
/// any member, whenever it comes: when it could not be started, when it is killed while its program is still
/// being loaded, before its first wait, or later. If the parent is killed before the child has started, or
/// kills the child by its own death, that is the same. The action does not cross: see
/// [`Member::with_action`].
///
/// There is an example at `Process::spawn`.
///
/// ```
/// use procession::{Barrier, BarrierError};
///
/// let barrier = Barrier::new(1)?;
/// let mut place = barrier.join()?;
/// assert_eq!(place.wait()?, 0);
/// assert!(matches!(barrier.join(), Err(BarrierError::NoPlace { parties: 1, .. })));
/// drop(place);
/// assert!(barrier.join().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping the member leaves its place at once"]
pub struct Member {
    barrier: Barrier,
    me: OwnerId,
    index: usize,
}

impl Member {
    pub(super) fn new(barrier: Barrier, me: OwnerId, index: usize) -> Self {
        Self { barrier, me, index }
    }

    /// Adds an action for this member, as [`Barrier::with_action`] does: it runs it when it is the last to
    /// arrive.
    pub fn with_action(mut self, action: impl Fn() -> Result<(), Failed> + Send + Sync + 'static) -> Self {
        self.barrier.action = Some(Arc::new(action) as Action);
        self
    }

    /// The barrier at which it has a place.
    #[must_use]
    pub fn barrier(&self) -> &Barrier {
        &self.barrier
    }

    /// Waits as [`Barrier::wait`] does. At an elastic barrier the order of the arrivals counts those, too,
    /// that died or left since.
    ///
    /// # Errors
    /// As [`Barrier::wait`]; [`BarrierError::NotAMember`] in a forked child, and after it was handed to a
    /// child.
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait(&mut self) -> Result<u32, BarrierError> {
        self.wait_until(self.barrier.usual_deadline())
    }

    /// Waits as [`Barrier::wait_timeout`] does.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`Barrier::wait`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<u32, BarrierError> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<u32, BarrierError> {
        let place = self.place().ok_or_else(|| self.not_here())?;
        Waiter::new(&self.barrier, Some(place), deadline)?.pass()
    }

    /// The member's place, if it is this process's.
    fn place(&self) -> Option<&Place> {
        if self.barrier.keeper.owner() != Some(self.me) {
            return None;
        }
        let place = self.barrier.member_places().get(self.index)?;
        place.belongs_to(self.me.to_bits() | MEMBER).then_some(place)
    }
}

impl Member {
    fn not_here(&self) -> BarrierError {
        BarrierError::NotAMember { object: self.barrier.label() }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some(place) = self.place() else { return };
        if place.free(self.me.to_bits() | MEMBER) {
            crash_point("barrier.left");
            if self.barrier.rules.elastic {
                self.barrier.call_waiters();
            }
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("barrier", &self.barrier)
            .field("place", &self.index)
            .field("is_here", &self.place().is_some())
            .finish()
    }
}

/// A member on its way: the barrier, which place, and whose it is.
#[derive(Serialize, Deserialize)]
struct Passage {
    barrier: Handle,
    index: u64,
    owner: u64,
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let segment = self.barrier.body.segment();
        let child = owner_of_child(segment.registration())
            .ok_or_else(|| {
                Error::custom("a member of a barrier crosses only as an argument of Process::spawn")
            })?
            .map_err(Error::custom)?;
        let place = self.place().ok_or_else(|| Error::custom(self.not_here()))?;
        if !place.hand_over(self.me.to_bits() | MEMBER, child.to_bits() | MEMBER) {
            return Err(Error::custom(self.not_here()));
        }
        crash_point("barrier.handed_over");
        let passage = Passage { barrier: segment.handle(), index: self.index as u64, owner: child.to_bits() };
        passage.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let passage = Passage::deserialize(deserializer)?;
        let settings = <Barrier as Object>::Settings::default();
        let barrier: Barrier = passage.barrier.open(&settings).map_err(Error::custom)?;
        let index = usize::try_from(passage.index).map_err(Error::custom)?;
        let member = Self { barrier, me: OwnerId::from_bits(passage.owner), index };
        if member.place().is_none() {
            return Err(Error::custom(member.not_here()));
        }
        Ok(member)
    }
}

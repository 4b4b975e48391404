//! What one process sees of another's end: a pidfd, which is readable from then on.
//!
//! A slot of the registry says the pid of its process, as that process knows it. The pidfd is opened first, and
//! the lifeline asked after it: an owner that lives then has lived all along, so that no other process had its
//! pid in between. A process in another pid namespace may know itself by the pid of somebody else here; then it
//! is somebody else's end that is seen. That does no harm, because an end that is seen proves nothing: the
//! lifeline does.

use super::Registration;
use super::ward::Ward;
use crate::owner::OwnerId;
use procession_sys::{KeptFd, pidfd};

/// What is seen of the end of an owner's process.
#[derive(Debug)]
pub enum Sight<E = KeptFd> {
    /// The process has ended, and can store nothing any more.
    Dead,
    /// The process lives; a descriptor is readable once it has ended.
    Alive(E),
    /// Nothing: the pid leads nowhere, there are too many open files, the kernel has no pidfds, or the owner
    /// cannot be asked about.
    Unseen,
}

impl Registration {
    /// Opens what shows when the process of `owner` has ended.
    #[must_use]
    pub fn watch_end(&self, owner: OwnerId) -> Sight {
        let open = |pid| pidfd::open(pid).and_then(KeptFd::keep).ok();
        let end = self.pid_of(owner).and_then(open);
        // After the opening.
        match self.life(owner) {
            Ok(Life::Dead) => Sight::Dead,
            Ok(Life::Itself) => end.map_or(Sight::Unseen, Sight::Alive),
            Ok(Life::ByWard(Ward::Seen(end))) => Sight::Alive(end),
            // The end of its own process has been, and would show for ever.
            Ok(Life::ByWard(Ward::Unseen)) | Err(_) => Sight::Unseen,
        }
    }
}

impl Registration {
    /// Opens what shows when the ward has ended by which `owner` lives although its own process has ended; `None` if
    /// there is none, or it cannot be seen.
    #[must_use]
    pub fn watch_ward(&self, owner: OwnerId) -> Option<KeptFd> {
        match self.life(owner) {
            Ok(Life::ByWard(Ward::Seen(end))) => Some(end),
            _ => None,
        }
    }
}

/// By what an owner lives.
#[derive(Debug)]
pub(super) enum Life {
    /// It does not.
    Dead,
    /// Its own process does.
    Itself,
    /// Its process has ended, and its ward lives.
    ByWard(Ward),
}

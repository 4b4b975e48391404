//! The children of this process, for those who ask about them.

use crate::children::{self, Child};
use crate::servers;
use std::sync::Arc;

/// A child of this process that has not ended.
#[derive(Clone, Debug)]
pub struct ActiveChild(Arc<Child>);

impl ActiveChild {
    /// The child's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.label.pid()
    }

    /// The child's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.label.name()
    }

    /// Whether it is terminated when this process exits.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }
}

/// The children of this process that still run, whether or not their handles were kept; those that have ended
/// are reaped on the way, and so is a forkserver that was killed, with the copies that it had made beforehand.
///
/// ```
/// assert!(procession::active_children().is_empty());
/// ```
#[must_use]
pub fn active_children() -> Vec<ActiveChild> {
    servers::bury_ended();
    children::running().into_iter().map(ActiveChild).collect()
}

//! Joinable queues among the things that [`wait`](procession_sync::wait()) waits for.

use super::JoinableQueue;
use procession_shm::{OwnerId, Segment};
use procession_sync::{Waitable, Watch};

impl<T> Waitable for JoinableQueue<T> {
    fn is_ready(&self) -> bool {
        self.has_answer()
    }

    fn is_ready_after_all(&self) -> bool {
        self.has_answer_after_all()
    }

    fn mortal(&self) -> Option<&Segment> {
        Some(self.body.segment())
    }

    fn concerned(&self) -> Vec<OwnerId> {
        self.lessees()
    }

    fn watch(&self) -> Watch<'_> {
        Watch::at(&self.body.items)
    }

    fn unwatch(&self) {
        Watch::leave(&self.body.items, || self.has_answer());
    }
}

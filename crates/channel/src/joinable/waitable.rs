//! Joinable queues, and that they are done, among the things that [`wait`](procession_sync::wait()) waits for.

use super::JoinableQueue;
use procession_shm::{OwnerId, Segment};
use procession_sync::{Waitable, Watch};
use std::fmt;

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

impl<T> JoinableQueue<T> {
    /// That everything is done, as something that can be waited for among others: what [`join`](Self::join) waits for.
    ///
    /// ```
    /// use procession::{JoinableQueue, wait};
    /// let jobs: JoinableQueue<u32> = JoinableQueue::new()?;
    /// jobs.put(&1)?;
    /// assert_eq!(wait(&[&jobs, &jobs.finished()])?, [0]);
    /// jobs.get()?.task_done()?;
    /// assert_eq!(wait(&[&jobs, &jobs.finished()])?, [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn finished(&self) -> Finished<'_, T> {
        Finished(self)
    }
}

/// That everything in a queue is done: see [`JoinableQueue::finished`].
pub struct Finished<'q, T>(&'q JoinableQueue<T>);

impl<T> Waitable for Finished<'_, T> {
    fn is_ready(&self) -> bool {
        self.0.unfinished() == 0
    }

    fn is_ready_after_all(&self) -> bool {
        self.0.gives_back_what_is_lost();
        self.is_ready()
    }

    fn mortal(&self) -> Option<&Segment> {
        self.0.mortal()
    }

    fn concerned(&self) -> Vec<OwnerId> {
        self.0.lessees()
    }

    fn watch(&self) -> Watch<'_> {
        Watch::at(&self.0.body.finished)
    }

    fn unwatch(&self) {
        Watch::leave(&self.0.body.finished, || self.is_ready());
    }
}

impl<T> fmt::Debug for Finished<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Finished").field(self.0).finish()
    }
}

//! Queues among the things that [`wait`](crate::wait()) waits for.

use super::Queue;
use crate::waitable::{Waitable, Watch, leave};

impl<T> Waitable for Queue<T> {
    fn is_ready(&self) -> bool {
        !self.is_empty() || self.is_closed()
    }

    fn watch(&self) -> Watch<'_> {
        Watch::at(&self.body.words.items)
    }

    fn unwatch(&self) {
        leave(&self.body.words.items, || self.is_ready());
    }
}

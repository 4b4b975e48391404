//! Ends that receive, among the things that [`wait`](procession_sync::wait()) waits for.

use super::error::RecvError;
use super::{Connection, Receiver};
use procession_shm::{OwnerId, Segment};
use procession_sync::{Waitable, Watch};

macro_rules! waits {
    ([$($generics:tt)*] $End:ty) => {
        impl<$($generics)*> Waitable for $End {
            /// As [`try_poll`](Self::try_poll), which uses the end. A fault is an answer, too.
            fn is_ready(&self) -> bool {
                !matches!(self.try_poll(), Err(RecvError::WouldBlock))
            }

            fn mortal(&self) -> Option<&Segment> {
                Some(self.end.body.segment())
            }

            fn concerned(&self) -> Vec<OwnerId> {
                self.end.peer_owner().into_iter().collect()
            }

            fn watch(&self) -> Watch<'_> {
                Watch::at(self.end.incoming().data())
            }

            fn unwatch(&self) {
                // Another thread may wait to receive.
                Watch::leave(self.end.incoming().data(), || self.is_ready());
            }
        }
    };
}

waits!([T] Receiver<T>);
waits!([S, R] Connection<S, R>);

//! Ends that receive, for tasks of an executor: each operation is its try, and the bell that rings when it is worth another
//! one.

use super::{Connection, Receiver, RecvError};
use crate::pipe_end::End;
use procession_sync::{Rung, when_ready};
use serde::de::DeserializeOwned;

macro_rules! receives {
    ([$($generics:tt)*] $End:ty => $T:ident) => {
        impl<$($generics)*> $End
        where
            $T: DeserializeOwned,
        {
            /// Receives the next message as [`recv`](Self::recv) does, as a task. It is cancel-safe: a future that
            /// is dropped has received nothing. What has come of a long message stays with this end.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            ///
            /// # Panics
            /// As [`recv`](Self::recv).
            pub async fn recv_async(&self) -> Result<$T, RecvError> {
                let data = || Rung::new(self.end.twin(), |end: &End| end.incoming().data());
                let attempt = || match self.try_recv() {
                    Err(RecvError::WouldBlock) => None,
                    outcome => Some(outcome),
                };
                // Without its file a pipe still has its two ends: what matters is whether the peer lives.
                when_ready(None, data, attempt).await
            }
        }
    };
}

receives!([T] Receiver<T> => T);
receives!([S, R] Connection<S, R> => R);

//! The ends of pipes, for tasks of an executor: each operation is its try, and the bell that rings when it is worth
//! another one.

use super::{Connection, Receiver, RecvError, SendError, Sender};
use crate::pipe_end::End;
use procession_sync::{Rung, when_ready};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;

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

macro_rules! sends {
    ([$($generics:tt)*] $End:ty => $T:ident) => {
        impl<$($generics)*> $End
        where
            $T: Serialize + DeserializeOwned,
        {
            /// Sends a message as [`send`](Self::send) does, as a task. It is cancel-safe: a future that is dropped has
            /// sent nothing. What it waits for is room for all of the message, which is encoded at each try.
            ///
            /// ```
            /// use procession::{SendError, Sender};
            ///
            /// async fn count(numbers: &Sender<u32>) -> Result<(), SendError> {
            ///     for number in 0..3 {
            ///         numbers.send_async(&number).await?;
            ///     }
            ///     Ok(())
            /// }
            /// ```
            ///
            /// # Errors
            /// [`SendError::TooLarge`] for a message longer than the pipe, which only a thread that waits can send
            /// in parts; otherwise as [`send`](Self::send).
            ///
            /// # Panics
            /// As [`send`](Self::send).
            pub async fn send_async<Q>(&self, message: &Q) -> Result<(), SendError>
            where
                $T: Borrow<Q>,
                Q: Serialize + ?Sized,
            {
                let room = || Rung::new(self.end.twin(), |end: &End| end.outgoing().room());
                let attempt = || match self.try_send(message) {
                    Err(SendError::WouldBlock) => None,
                    outcome => Some(outcome),
                };
                when_ready(None, room, attempt).await
            }
        }
    };
}

receives!([T] Receiver<T> => T);
receives!([S, R] Connection<S, R> => R);
sends!([T] Sender<T> => T);
sends!([S, R] Connection<S, R> => S);

//! What can be done with the ends of pipes: each kind of end shows what it has a way for, by
//! [`Outgoing`](super::outgoing) and [`Incoming`](super::incoming).

use super::error::{RecvError, SendError};
use super::incoming::after;
use super::{Connection, RECEIVER, Receiver, SENDER, Sender};
use crate::codec::{Codec, Form};
use crate::messages::{After, Messages, Source, iterates};
use crate::pipe_end::{End, Passage};
use crate::underway;
use procession_shm::Element;
use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

/// What every end that sends can do.
macro_rules! sends {
    ([$($generics:tt)*] $End:ty, $T:ident) => {
        impl<$($generics)*> $End {
            /// Sends bytes as one message, waiting for room. The pipe must carry bytes, as one of
            /// [`Bytes`](crate::Bytes) does, or be one of [`Encoded`](crate::Encoded) messages: then they are encoded
            /// already.
            ///
            /// # Errors
            /// [`SendError::PeerClosed`], [`SendError::PeerDied`], [`SendError::NotBytes`],
            /// [`SendError::Fault`].
            pub fn send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
                self.outgoing.send_bytes(&self.end, message, Deadline::NEVER)
            }

            /// Sends bytes if there is room for all of them now.
            ///
            /// # Errors
            /// [`SendError::WouldBlock`], [`SendError::TooLarge`] for more than the pipe holds; otherwise as
            /// [`send_bytes`](Self::send_bytes).
            pub fn try_send_bytes(&self, message: &[u8]) -> Result<(), SendError> {
                self.outgoing.send_bytes(&self.end, message, Deadline::PASSED).map_err(full)
            }

            /// Sends bytes, waiting for room at most `timeout`. After a timeout nothing of them is received.
            ///
            /// # Errors
            /// [`SendError::TimedOut`]; otherwise as [`send_bytes`](Self::send_bytes).
            pub fn send_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendError> {
                self.outgoing.send_bytes(&self.end, message, Deadline::after(timeout))
            }
        }

        impl<$($generics)*> $End
        where
            $T: Serialize + DeserializeOwned,
        {
            /// Sends a message, waiting for room. A message longer than the pipe goes through it in parts, as
            /// fast as the other side receives them, and is received as one. What a message borrows as can be
            /// sent in its place, as a `&str` where there are `String`s.
            ///
            /// # Errors
            /// [`SendError::PeerClosed`], [`SendError::PeerDied`], [`SendError::Encode`],
            /// [`SendError::Fault`].
            ///
            /// # Panics
            /// When the message's `Serialize` does; nothing is sent.
            pub fn send<Q>(&self, message: &Q) -> Result<(), SendError>
            where
                $T: Borrow<Q>,
                Q: Serialize + ?Sized,
            {
                self.outgoing.send(&self.end, message, Deadline::NEVER)
            }

            /// Sends a message if there is room for all of it now.
            ///
            /// # Errors
            /// [`SendError::WouldBlock`], [`SendError::TooLarge`] for one longer than the pipe; otherwise as
            /// [`send`](Self::send).
            ///
            /// # Panics
            /// As [`send`](Self::send).
            pub fn try_send<Q>(&self, message: &Q) -> Result<(), SendError>
            where
                $T: Borrow<Q>,
                Q: Serialize + ?Sized,
            {
                self.outgoing.send(&self.end, message, Deadline::PASSED).map_err(full)
            }

            /// Sends a message, waiting for room at most `timeout`. After a timeout nothing of it is
            /// received.
            ///
            /// # Errors
            /// [`SendError::TimedOut`]; otherwise as [`send`](Self::send).
            ///
            /// # Panics
            /// As [`send`](Self::send).
            pub fn send_timeout<Q>(&self, message: &Q, timeout: Duration) -> Result<(), SendError>
            where
                $T: Borrow<Q>,
                Q: Serialize + ?Sized,
            {
                self.outgoing.send(&self.end, message, Deadline::after(timeout))
            }
        }
    };
}

/// What every end that receives can do.
macro_rules! receives {
    ([$($generics:tt)*] $End:ty, $T:ident) => {
        impl<$($generics)*> $End {
            /// Receives the next message as bytes, waiting for one.
            ///
            /// # Errors
            /// [`RecvError::Eof`], [`RecvError::PeerDied`], [`RecvError::NotBytes`], [`RecvError::Fault`].
            pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                self.incoming.recv_bytes(&self.end, Deadline::NEVER)
            }

            /// Receives the next message as bytes, if there is one now.
            ///
            /// # Errors
            /// [`RecvError::WouldBlock`]; otherwise as [`recv_bytes`](Self::recv_bytes).
            pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                self.incoming.recv_bytes(&self.end, Deadline::PASSED).map_err(empty)
            }

            /// Receives the next message as bytes, waiting for all of it at most `timeout`.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`]; otherwise as [`recv_bytes`](Self::recv_bytes).
            pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
                self.incoming.recv_bytes(&self.end, Deadline::after(timeout))
            }

            /// Receives the next message into `buffer`, waiting for one; how long it is. What is behind it in
            /// the buffer, and all of the buffer after an error, is undefined.
            ///
            /// # Errors
            /// [`RecvError::BufferTooShort`], and then the message is still to be received; otherwise as
            /// [`recv_bytes`](Self::recv_bytes).
            pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
                self.incoming.recv_into(&self.end, buffer, Deadline::NEVER)
            }

            /// As [`recv_bytes_into`](Self::recv_bytes_into), if there is a message now.
            ///
            /// # Errors
            /// [`RecvError::WouldBlock`]; otherwise as [`recv_bytes_into`](Self::recv_bytes_into).
            pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
                self.incoming.recv_into(&self.end, buffer, Deadline::PASSED).map_err(empty)
            }

            /// As [`recv_bytes_into`](Self::recv_bytes_into), waiting for all of the message at most
            /// `timeout`.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`]; otherwise as [`recv_bytes_into`](Self::recv_bytes_into).
            pub fn recv_bytes_into_timeout(
                &self,
                buffer: &mut [u8],
                timeout: Duration,
            ) -> Result<usize, RecvError> {
                self.incoming.recv_into(&self.end, buffer, Deadline::after(timeout))
            }

            /// Waits until [`recv`](Self::recv) would return at once: because there is a whole message, be it
            /// empty, or because the other side has closed its end or died.
            ///
            /// # Errors
            /// [`RecvError::Unusable`], [`RecvError::Fault`].
            pub fn poll(&self) -> Result<(), RecvError> {
                self.incoming.poll(&self.end, Deadline::NEVER)
            }

            /// Whether [`recv`](Self::recv) would return at once.
            ///
            /// # Errors
            /// [`RecvError::WouldBlock`] if it would not; otherwise as [`poll`](Self::poll).
            pub fn try_poll(&self) -> Result<(), RecvError> {
                self.incoming.poll(&self.end, Deadline::PASSED).map_err(empty)
            }

            /// As [`poll`](Self::poll), waiting at most `timeout`.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`]; otherwise as [`poll`](Self::poll).
            pub fn poll_timeout(&self, timeout: Duration) -> Result<(), RecvError> {
                self.incoming.poll(&self.end, Deadline::after(timeout))
            }
        }

        impl<$($generics)*> $End
        where
            $T: DeserializeOwned,
        {
            /// Receives the next message, waiting for one.
            ///
            /// # Errors
            /// [`RecvError::Eof`], [`RecvError::PeerDied`], [`RecvError::Decode`], [`RecvError::Fault`].
            ///
            /// # Panics
            /// When the message's `Deserialize` does; the message is then gone.
            pub fn recv(&self) -> Result<$T, RecvError> {
                self.incoming.recv(&self.end, Deadline::NEVER)
            }

            /// Receives the next message, if there is one now.
            ///
            /// # Errors
            /// [`RecvError::WouldBlock`]; otherwise as [`recv`](Self::recv).
            ///
            /// # Panics
            /// As [`recv`](Self::recv).
            pub fn try_recv(&self) -> Result<$T, RecvError> {
                self.incoming.recv(&self.end, Deadline::PASSED).map_err(empty)
            }

            /// Receives the next message, waiting for all of it at most `timeout`.
            ///
            /// # Errors
            /// [`RecvError::TimedOut`]; otherwise as [`recv`](Self::recv).
            ///
            /// # Panics
            /// As [`recv`](Self::recv).
            pub fn recv_timeout(&self, timeout: Duration) -> Result<$T, RecvError> {
                self.incoming.recv(&self.end, Deadline::after(timeout))
            }

            /// Receives message after message, waiting for each, until the other side has closed its end;
            /// `for` does the same with a reference. [`RecvError::PeerDied`] and [`RecvError::Fault`] are the
            /// last item; a [`RecvError::Decode`] is about one message, and others follow.
            #[must_use]
            pub fn iter(&self) -> Messages<'_, Self> {
                Messages::of(self)
            }

        }

        impl<$($generics)*> Source for $End
        where
            $T: DeserializeOwned,
        {
            type Message = $T;
            type Error = RecvError;

            fn take(&self) -> Result<$T, RecvError> {
                self.recv()
            }

            fn after(error: &RecvError) -> After {
                after(error)
            }
        }
    };
}

/// What every end can do.
macro_rules! ends {
    ([$($generics:ident),*] $End:ty, $name:literal, $both_ways:literal, $side:pat, $element:expr, |$this:ident| $quiesce:expr) => {
        impl<$($generics),*> $End {
            /// Closes this end, for all threads of this process: the other side receives what was sent, and
            /// then the end of the pipe; threads that wait here get
            /// [`UnusableEnd::Closed`](crate::UnusableEnd::Closed). Closing twice is the same as once. Nothing happens to an end that
            /// another process uses, or that was given away.
            pub fn close(&self) {
                let $this = self;
                self.end.close(|_| $quiesce);
                underway::let_go_of_arrived();
            }

            /// In a process that was forked from the one that made this end, or had received it: the end as this
            /// process's, if nobody has used it yet. Handles that a fork has copied do nothing otherwise. It is for bindings
            /// of other languages, whose processes fork.
            ///
            /// # Errors
            /// [`UnusableEnd`](crate::UnusableEnd) if another process uses it, or it was closed; as
            #[doc = concat!("[`RecvError`](crate::RecvError) has them, which is for all ends alike: this is a ", $name, ".")]
            pub fn claim_in_fork(&self) -> Result<Self, super::RecvError> {
                Ok(Self::new(self.end.claim_in_fork()?))
            }

            /// Leaves this end, which nobody has used yet, to a process that was forked from this one: this process cannot
            /// use it any more, and dropping it closes nothing. If no other process ever
            /// [claims](Self::claim_in_fork) it, the other side learns of that only by this process's end.
            pub fn leave_to_fork(&self) {
                self.end.leave_to_fork();
            }

            /// Whether this end was closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.end.is_closed()
            }
        }

        impl<$($generics),*> Drop for $End {
            fn drop(&mut self) {
                // No other thread has it.
                self.end.close(|_| ());
                underway::let_go_of_arrived();
            }
        }

        impl<$($generics),*> fmt::Debug for $End {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    .field("pipe", &self.end.body.segment().name())
                    .field("closed", &self.is_closed())
                    .finish_non_exhaustive()
            }
        }

        impl<$($generics),*> Serialize for $End {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                let passage = self.end.depart().map_err(serde::ser::Error::custom)?;
                underway::departs(&self.end);
                passage.serialize(serializer)
            }
        }

        impl<'de, $($generics: DeserializeOwned),*> Deserialize<'de> for $End {
            fn deserialize<Z: Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                use serde::de::Error;
                let passage = Passage::deserialize(deserializer)?;
                let (pipe, end) = End::arrive(&passage, underway::rules()).map_err(Error::custom)?;
                match (pipe.both_ways, end.side()) {
                    ($both_ways, $side) => {
                        // If it is refused, it is dropped, and so closed: the other side is told.
                        let arrived = Self::new(end);
                        let element: Element = $element(arrived.end.side());
                        arrived.end.body.segment().must_hold(&element).map_err(Error::custom)?;
                        Ok(arrived)
                    }
                    _ => {
                        end.close(|_| ());
                        Err(Error::custom(concat!("another end of a pipe than a ", $name)))
                    }
                }
            }
        }
    };
}

sends!([T] Sender<T>, T);
receives!([T] Receiver<T>, T);
iterates!([T: DeserializeOwned] Receiver<T>);
sends!([S, R] Connection<S, R>, S);
receives!([S, R] Connection<S, R>, R);
iterates!([S, R: DeserializeOwned] Connection<S, R>);
ends!([T] Sender<T>, "Sender", false, SENDER, one_way::<T>, |this| this.outgoing.quiesce());
ends!([T] Receiver<T>, "Receiver", false, RECEIVER, one_way::<T>, |this| this.incoming.quiesce());
ends!([S, R] Connection<S, R>, "Connection", true, _, both_ways::<S, R>, |this| this.outgoing.quiesce());

/// The messages of a pipe whose ends are a `Sender<T>` and a `Receiver<T>`.
fn one_way<T: DeserializeOwned>(_: usize) -> Element {
    Form::default().element::<T>()
}

/// The messages of a pipe whose end `side` is a `Connection<S, R>`. Its codec does not count: what is carried as
/// bytes is compared with what they are here.
fn both_ways<S: DeserializeOwned, R: DeserializeOwned>(side: usize) -> Element {
    let form = Form::default();
    match side {
        0 => form.element_of_both::<S, R>(Codec::Bincode),
        _ => form.element_of_both::<R, S>(Codec::Bincode),
    }
}

/// What a try answers instead of having waited.
fn full(error: SendError) -> SendError {
    match error {
        SendError::TimedOut => SendError::WouldBlock,
        other => other,
    }
}

/// What a try answers instead of having waited.
fn empty(error: RecvError) -> RecvError {
    match error {
        RecvError::TimedOut => RecvError::WouldBlock,
        other => other,
    }
}

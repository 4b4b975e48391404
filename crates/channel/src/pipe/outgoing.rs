//! The way out of an end: what a [`Sender`](super::Sender) and a [`Connection`](super::Connection) send by.

use super::error::SendError;
use super::transfer::send;
use crate::codec::{Codec, NotBytes, is_encoded};
use crate::lane::LaneWriter;
use crate::pipe_end::End;
use crate::underway;
use procession_sys::{Deadline, Turn, TurnGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

pub(super) struct Outgoing<T> {
    writer: Turn<LaneWriter>,
    messages: PhantomData<fn(T)>,
}

impl<T> Outgoing<T> {
    pub(super) fn new(end: &End) -> Self {
        let side = end.side();
        let writer = LaneWriter::new(end.lane(side), end.rings(side));
        Self { writer: Turn::new(writer), messages: PhantomData }
    }

    pub(super) fn send_bytes(&self, end: &End, message: &[u8], deadline: Deadline) -> Result<(), SendError> {
        must_be_bytes::<T>(end)?;
        send(end, &self.writer, message, deadline)
    }

    #[cfg(test)]
    pub(super) fn writer(&self) -> &Turn<LaneWriter> {
        &self.writer
    }

    /// Keeps the other threads from sending until what it returns is dropped.
    pub(super) fn quiesce(&self) -> Option<TurnGuard<'_, LaneWriter>> {
        self.writer.lock_until(Deadline::NEVER).ok()
    }
}

impl<T: Serialize + DeserializeOwned> Outgoing<T> {
    pub(super) fn send<Q>(&self, end: &End, message: &Q, deadline: Deadline) -> Result<(), SendError>
    where
        Q: Serialize + ?Sized,
    {
        // Before the turn: the user's code runs in no turn.
        let send = |bytes: &[u8]| send(end, &self.writer, bytes, deadline);
        underway::send::<T, Q, _>(end.codec().of_messages::<T>(), message, || end.as_location(), send)
    }
}

/// What is sent and received as bytes must be nothing else, unless it is messages as they lie.
#[inline]
pub(super) fn must_be_bytes<T>(end: &End) -> Result<(), NotBytes> {
    let codec = end.codec();
    if codec == Codec::Bytes || is_encoded::<T>() {
        Ok(())
    } else {
        Err(NotBytes::new(end.body.segment(), codec))
    }
}

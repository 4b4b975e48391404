//! The way into an end: what a [`Receiver`](super::Receiver) and a [`Connection`](super::Connection) receive
//! by.

use super::error::RecvError;
use super::outgoing::must_be_bytes;
use super::taker::{Fill, Look, Take};
use super::transfer::receive;
use crate::codec::{Bytes, with_scratch};
use crate::lane::LaneReader;
use crate::messages::After;
use crate::pipe_end::End;
use crate::underway::Parcel;
use procession_sys::{Deadline, Turn, TurnGuard};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

pub(super) struct Incoming<T> {
    reader: Turn<LaneReader>,
    messages: PhantomData<fn() -> T>,
}

impl<T> Incoming<T> {
    pub(super) fn new(end: &End) -> Self {
        let side = 1 - end.side();
        let reader = LaneReader::new(end.lane(side), end.rings(side));
        Self { reader: Turn::new(reader), messages: PhantomData }
    }

    pub(super) fn recv_bytes(&self, end: &End, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        must_be_bytes::<T>(end)?;
        let mut bytes = Vec::new();
        receive(end, &self.reader, &mut Take(&mut bytes), deadline)?;
        if end.codec().carries_ends() {
            // Nobody asked for them: they are closed.
            drop(Parcel::take_from(&mut bytes));
        }
        Ok(bytes)
    }

    pub(super) fn recv_into(
        &self,
        end: &End,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize, RecvError> {
        must_be_bytes::<Bytes>(end)?;
        receive(end, &self.reader, &mut Fill(buffer), deadline)
    }

    /// Waits until there is an answer for who receives: a message, or the end of all messages.
    pub(super) fn poll(&self, end: &End, deadline: Deadline) -> Result<(), RecvError> {
        match receive(end, &self.reader, &mut Look, deadline) {
            Err(RecvError::Eof | RecvError::PeerDied { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    #[cfg(test)]
    pub(super) fn reader(&self) -> &Turn<LaneReader> {
        &self.reader
    }

    /// Keeps the other threads from receiving until what it returns is dropped.
    pub(super) fn quiesce(&self) -> Option<TurnGuard<'_, LaneReader>> {
        self.reader.lock_until(Deadline::NEVER).ok()
    }
}

impl<T: DeserializeOwned> Incoming<T> {
    pub(super) fn recv(&self, end: &End, deadline: Deadline) -> Result<T, RecvError> {
        let codec = end.codec();
        // After the turn: the user's code runs in no turn.
        with_scratch(|scratch| {
            receive(end, &self.reader, &mut Take(scratch), deadline)?;
            // Closed after it, where decoding made no handles.
            let _ends = if codec.carries_ends() { Parcel::take_from(scratch) } else { Parcel::default() };
            codec
                .of_messages::<T>()
                .decode(scratch)
                .map_err(|source| RecvError::Decode { bytes: std::mem::take(scratch), source })
        })
    }
}

/// What becomes of an iteration.
pub(super) fn after(error: &RecvError) -> After {
    match error {
        RecvError::Eof => After::End,
        RecvError::Decode { .. } => After::More,
        _ => After::Last,
    }
}

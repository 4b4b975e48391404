//! What is done with a message that is there: it is taken out, into a buffer, or left.

use super::error::RecvError;
use crate::lane::{LaneCorrupt, LaneReader};
use crate::pipe_end::End;

/// What is to be done with a message that is there.
pub(super) trait Taker {
    type Taken;
    /// Where parts of a long message may go at once.
    fn place(&mut self) -> &mut [u8] {
        &mut []
    }
    /// The next message has `len` bytes; `reader` has it.
    fn take(&mut self, end: &End, reader: &mut LaneReader, len: usize) -> Result<Self::Taken, RecvError>;
}

/// Takes the message out.
pub(super) struct Take<'a>(pub(super) &'a mut Vec<u8>);

impl Taker for Take<'_> {
    type Taken = ();

    #[inline]
    fn take(&mut self, end: &End, reader: &mut LaneReader, len: usize) -> Result<(), RecvError> {
        reader.read(len, self.0).map_err(|error| corrupt(end, error))
    }
}

/// Takes the message out into a buffer that may be too short.
pub(super) struct Fill<'a>(pub(super) &'a mut [u8]);

impl Taker for Fill<'_> {
    type Taken = usize;

    fn place(&mut self) -> &mut [u8] {
        self.0
    }

    fn take(&mut self, end: &End, reader: &mut LaneReader, len: usize) -> Result<usize, RecvError> {
        let whole = self.0.len();
        let place = self.0.get_mut(..len).ok_or(RecvError::BufferTooShort { needed: len, len: whole })?;
        reader.read_into(place).map_err(|error| corrupt(end, error))?;
        Ok(len)
    }
}

/// Leaves the message where it is.
pub(super) struct Look;

impl Taker for Look {
    type Taken = ();

    fn take(&mut self, _: &End, _: &mut LaneReader, _: usize) -> Result<(), RecvError> {
        Ok(())
    }
}

#[cold]
pub(super) fn corrupt(end: &End, _: LaneCorrupt) -> RecvError {
    end.corrupt("a message lies where the ring cannot hold it").into()
}

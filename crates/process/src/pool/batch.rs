//! Encoded items on their way to the workers.

use super::error::{TaskError, TaskItem};
use super::wire::push_encoded;
use procession_channel::{Parcel, codec};
use procession_shm::{Carried, carrying};
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

/// A batch that has grown to this many bytes takes no further item.
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Consecutive encoded items of one job, shared by all who may have to run a part of them again.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The index of the first item.
    first: usize,
    /// The items, each behind its length.
    bytes: Vec<u8>,
    /// Where each item begins, and where the last one ends.
    starts: Vec<usize>,
    /// The handles and ends of pipes in the items, kept until they are done.
    _cargo: Cargo,
}

/// The cargo of something encoded: the objects whose handles are in it live as long, and ends of pipes that
/// nobody has taken by then are closed.
#[derive(Debug, Default)]
pub(crate) struct Cargo {
    _handles: Carried,
    ends: Parcel,
}

impl Cargo {
    /// Runs `encode`, and collects the cargo of what it encodes.
    pub(crate) fn of<R>(encode: impl FnOnce() -> R) -> (R, Self) {
        let ((result, ends), _handles) = carrying(|| Parcel::of_encoding(encode));
        (result, Self { _handles, ends })
    }

    /// The cargo whose handles were collected already.
    pub(crate) fn of_handles(handles: Carried) -> Self {
        Self { _handles: handles, ends: Parcel::default() }
    }

    /// Adds the ends in what was encoded besides, whose handles are kept otherwise.
    pub(crate) fn add_ends(&mut self, ends: Parcel) {
        self.ends.join(ends);
    }
}

/// A part of a batch, as it is given to one worker.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) job: u64,
    batch: Arc<Batch>,
    /// Which of the batch's items.
    pub(crate) range: Range<usize>,
    /// How many chunks were given to the pool before it.
    pub(super) turn: u64,
}

impl Chunk {
    /// The encoded items, as a worker reads them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.batch.bytes[self.batch.starts[self.range.start]..self.batch.starts[self.range.end]]
    }

    /// The index in the job of the chunk's `nth` item.
    pub(crate) fn index(&self, nth: usize) -> usize {
        self.batch.first + self.range.start + nth
    }

    /// The items from the `nth` on, up to the `end`th; `None` if there are none.
    pub(crate) fn part(&self, part: Range<usize>) -> Option<Self> {
        let range = self.range.start + part.start..(self.range.start + part.end).min(self.range.end);
        (!range.is_empty()).then(|| Self { range, batch: Arc::clone(&self.batch), ..*self })
    }
}

/// Collects encoded items.
pub(crate) struct BatchBuilder {
    first: usize,
    bytes: Vec<u8>,
    starts: Vec<usize>,
    ends: Parcel,
}

impl BatchBuilder {
    pub(crate) fn new(first: usize) -> Self {
        Self { first, bytes: Vec::new(), starts: vec![0], ends: Parcel::default() }
    }

    /// A batch of one item, with what that relies on.
    pub(crate) fn of_one<A: Serialize + 'static>(
        name: TaskItem,
        item: &A,
    ) -> Result<(Self, Cargo), TaskError> {
        let mut batch = Self::new(name.index);
        let (pushed, cargo) = Cargo::of(|| push_encoded(&mut batch.bytes, item));
        pushed.map_err(|error| TaskError::encode(name, &error))?;
        batch.starts.push(batch.bytes.len());
        Ok((batch, cargo))
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The index behind that of the last item.
    pub(crate) fn end(&self) -> usize {
        self.first + self.len()
    }

    /// Adds items until there are `most`, or they have grown long; whether it stopped because there are no
    /// more.
    ///
    /// # Errors
    /// The first item that cannot be encoded, whose index is [`end`](Self::end), ends it, too.
    pub(crate) fn fill<A: Serialize + 'static>(
        &mut self,
        items: &mut impl Iterator<Item = A>,
        most: usize,
    ) -> Result<bool, codec::EncodeError> {
        let Self { bytes, starts, .. } = self;
        // Once for all of them: few items have ends of pipes in them.
        let (filled, ends) = Parcel::of_encoding(|| {
            while starts.len() <= most && bytes.len() < MAX_CHUNK_BYTES {
                match items.next() {
                    Some(item) => push_encoded(bytes, &item)?,
                    None => return Ok(true),
                }
                starts.push(bytes.len());
            }
            Ok(false)
        });
        self.ends.join(ends);
        filled
    }

    pub(crate) fn finish(self, job: u64, mut cargo: Cargo) -> Chunk {
        let range = 0..self.len();
        let Self { first, bytes, starts, ends } = self;
        cargo.add_ends(ends);
        Chunk { job, batch: Arc::new(Batch { first, bytes, starts, _cargo: cargo }), range, turn: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Cargo, Chunk};
    use std::sync::Arc;

    #[test]
    fn parts_of_a_chunk_keep_their_indices() {
        let batch = Batch {
            first: 100,
            bytes: (0..40).collect(),
            starts: vec![0, 10, 20, 30, 40],
            _cargo: Cargo::default(),
        };
        let chunk = Chunk { job: 1, batch: Arc::new(batch), range: 0..4, turn: 0 };
        let rest = chunk.part(2..usize::MAX - 10).unwrap();
        assert_eq!((rest.index(0), rest.bytes().len(), rest.bytes()[0]), (102, 20, 20));
        let one = rest.part(0..1).unwrap();
        assert_eq!((one.index(0), one.bytes()), (102, &(20..30).collect::<Vec<u8>>()[..]));
        assert!(one.part(1..5).is_none());
    }
}

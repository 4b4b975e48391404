//! How a pipe is made.

use super::{Connection, Receiver, Sender};
use crate::codec::{Codec, Form, form_setters};
use crate::pipe_end::{End, MAX_BYTES, MIN_BYTES, PipeObject, PipeSettings};
use procession_shm::{Element, HEADER_LEN, Namespace, Object, OpenError, Placement};
use procession_sys::limits;
use serde::de::DeserializeOwned;

/// How many bytes a ring holds unless said.
const DEFAULT_BYTES: u32 = 256 << 10;
/// And how many the larger one, to which a lane then moves when a long message comes: more than a processor's
/// own caches.
const LARGER_BYTES: u32 = 4 << 20;

/// How a pipe is made.
///
/// ```
/// use procession::Pipe;
///
/// let (sender, receiver) = Pipe::options().bytes(4096).pipe::<String>()?;
/// sender.send("small")?;
/// assert_eq!(receiver.recv()?, "small");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PipeOptions {
    place: Placement,
    bytes: Option<u32>,
    larger: Option<u32>,
    form: Form,
}

impl PipeOptions {
    /// Puts the pipe into `namespace` instead of the process's own.
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.place.namespace = Some(namespace.clone());
        self
    }

    /// Holds at most so many bytes of messages each way (each takes 8 more, and whole multiples of 8): 256
    /// KiB unless said, rounded up to a power of two between 64 bytes and 2 GiB. A longer message is sent all
    /// the same, by who waits.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(ring_of(bytes));
        self
    }

    /// Holds so many bytes instead, each way in which a message longer than a quarter of its bytes has been
    /// sent, or as many bytes as it will hold in messages of more than 1 KiB: from then on, and only then
    /// does it take the memory for them, which takes a millisecond or so for each 4 MiB, whatever the
    /// timeout. Without enough memory, with no more bytes than it has, or where no file may be so long
    /// (`RLIMIT_FSIZE`), it stays as it was.
    ///
    /// Unless said it is 4 MiB, or nothing if [`bytes`](Self::bytes) were said. Long messages go several
    /// times faster through a pipe that holds more than a processor's own caches.
    ///
    /// ```
    /// use procession::{Bytes, Pipe, PipeOptions, SendError};
    ///
    /// let (sender, receiver) = Pipe::options().bytes(4096).long_bytes(1 << 20).pipe::<Bytes>()?;
    /// sender.try_send_bytes(&[7; 100_000])?;
    /// assert_eq!(receiver.recv_bytes()?, [7; 100_000]);
    /// let refused = sender.try_send_bytes(&vec![0; 2 << 20]);
    /// assert!(matches!(refused, Err(SendError::TooLarge { most: 1_048_568, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn long_bytes(mut self, bytes: u64) -> Self {
        self.larger = Some(ring_of(bytes));
        self
    }

    /// As [`pipe`](super::pipe).
    ///
    /// # Errors
    /// As [`pipe`](super::pipe).
    pub fn pipe<T: DeserializeOwned>(&self) -> Result<(Sender<T>, Receiver<T>), OpenError> {
        let [sender, receiver] = self.make(false, self.form.codec::<T>(), self.form.element::<T>())?;
        Ok((Sender::new(sender), Receiver::new(receiver)))
    }

    /// As [`duplex`](super::duplex).
    ///
    /// # Errors
    /// As [`pipe`](super::pipe).
    #[expect(clippy::type_complexity, reason = "two ends, each of which says what it sends and receives")]
    pub fn duplex<A, B>(&self) -> Result<(Connection<A, B>, Connection<B, A>), OpenError>
    where
        A: DeserializeOwned,
        B: DeserializeOwned,
    {
        let (one, other) = (self.form.codec::<A>(), self.form.codec::<B>());
        // Bytes each way, or values in which there may be bytes.
        let codec = if one == other { one } else { Codec::Bincode };
        let [first, second] = self.make(true, codec, self.form.element_of_both::<A, B>(codec))?;
        Ok((Connection::new(first), Connection::new(second)))
    }

    fn make(&self, both_ways: bool, codec: Codec, element: Element) -> Result<[End; 2], OpenError> {
        let bytes = self.bytes.unwrap_or(DEFAULT_BYTES);
        // Who says how much a pipe holds, and no more, means it.
        let larger = self.larger.unwrap_or(if self.bytes.is_some() { 0 } else { LARGER_BYTES });
        let larger = if larger > bytes { larger } else { 0 };
        let mut settings = PipeSettings { bytes, larger, both_ways, codec, element: Some(element) };
        if HEADER_LEN as u64 + PipeObject::shape(&settings).body_len > limits::longest_file() {
            settings.larger = 0;
        }
        End::pair(&settings, &self.place)
    }
}

form_setters!([] PipeOptions, form, "messages", "Who receives an end in a message finds it in the pipe.");

/// The ring that holds so many bytes.
fn ring_of(bytes: u64) -> u32 {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    bytes.clamp(MIN_BYTES, MAX_BYTES).next_power_of_two()
}

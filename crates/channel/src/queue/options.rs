//! How a queue is created or opened.

use crate::codec::{Codec, Form};
use procession_shm::Placement;
use std::fmt;
use std::marker::PhantomData;

/// How many messages stand in the header; what it cannot say is no limit.
pub(crate) fn limit(messages: usize) -> u64 {
    u32::try_from(messages).map_or(0, u64::from)
}

pub(super) const MIN_BYTES: u64 = 64;
pub(super) const MAX_BYTES: u64 = 8 << 31;

/// How a [`Queue`](super::Queue) is created or opened.
pub struct QueueOptions<T> {
    pub(super) place: Placement,
    pub(super) settings: QueueSettings,
    messages: PhantomData<fn(T) -> T>,
}

#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct QueueSettings {
    pub(super) capacity: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) form: Form,
}

impl<T> Default for QueueOptions<T> {
    fn default() -> Self {
        Self { place: Placement::default(), settings: QueueSettings::default(), messages: PhantomData }
    }
}

impl<T> QueueOptions<T> {
    /// Holds at most so many messages; 0, the default, for as many as the bytes allow.
    #[must_use]
    pub fn capacity(mut self, messages: usize) -> Self {
        self.settings.capacity = Some(limit(messages));
        self
    }

    /// Holds at most so many bytes of messages (each takes 8 more, and whole multiples of 8): 1 MiB unless
    /// said, rounded up to a power of two between 64 bytes and 16 GiB. A larger message gets a file of its
    /// own, and is then much slower; it takes a quarter of this, so that there are four of them at the most.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.settings.bytes = Some(bytes.clamp(MIN_BYTES, MAX_BYTES).next_power_of_two());
        self
    }

    /// How messages are written: [`Codec::Bincode`] unless said, [`Codec::Bytes`] in a queue of
    /// [`Bytes`](crate::Bytes). Who opens one need not say it, and is told when that says another than it was
    /// created with.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.settings.form.codec = Some(codec);
        self
    }

    /// Messages are bytes and nothing else: [`Codec::Bytes`].
    #[must_use]
    pub fn bytes_only(self) -> Self {
        self.codec(Codec::Bytes)
    }

    /// Says what the messages are called, instead of the name of `T`: so that programs in which the type has
    /// another path can share the queue. Only in [`Codec::Bincode`] is the name of `T` asked about; in the
    /// others any program may read them.
    #[must_use]
    pub fn type_tag(mut self, tag: &str) -> Self {
        self.settings.form.type_tag = Some(tag.to_owned());
        self
    }
}

impl<T> Clone for QueueOptions<T> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), settings: self.settings.clone(), messages: PhantomData }
    }
}

impl<T> fmt::Debug for QueueOptions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueOptions").field("place", &self.place).field("settings", &self.settings).finish()
    }
}

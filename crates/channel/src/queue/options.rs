//! How a queue is created or opened.

use crate::codec::Form;

/// The options of a queue or a joinable queue of `T`s, and what both say about messages. `Clone` and `Debug` are
/// written out: derived, they would be there only for a `T` that has them.
macro_rules! typed_options {
    ($(#[$doc:meta])* $Options:ident<T>, $Settings:ty, $messages:literal) => {
        $(#[$doc])*
        pub struct $Options<T> {
            pub(super) place: procession_shm::Placement,
            pub(super) settings: $Settings,
            messages: std::marker::PhantomData<fn(T) -> T>,
        }

        impl<T> Default for $Options<T> {
            fn default() -> Self {
                let (place, settings) = Default::default();
                Self { place, settings, messages: std::marker::PhantomData }
            }
        }

        impl<T> Clone for $Options<T> {
            fn clone(&self) -> Self {
                let (place, settings) = (self.place.clone(), self.settings.clone());
                Self { place, settings, messages: std::marker::PhantomData }
            }
        }

        impl<T> std::fmt::Debug for $Options<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($Options));
                shown.field("place", &self.place).field("settings", &self.settings).finish()
            }
        }

        crate::codec::form_setters!(
            [T] $Options<T>, settings.form, $messages,
            "Who opens a queue need not say it, and is told when that says another than it was created with."
        );

        impl<T> $Options<T> {
            #[doc = concat!("Says what the ", $messages, " are called, instead of the name of `T`: so that")]
            /// programs in which the type has another path can share the queue. Only in
            /// [`Codec::Bincode`](crate::Codec::Bincode) is the name of `T` asked about; in the others any
            /// program may read them.
            #[must_use]
            pub fn type_tag(mut self, tag: &str) -> Self {
                self.settings.form.type_tag = Some(tag.to_owned());
                self
            }
        }
    };
}
pub(crate) use typed_options;

/// How many messages stand in the header; what it cannot say is no limit.
pub(crate) fn limit(messages: usize) -> u64 {
    u32::try_from(messages).map_or(0, u64::from)
}

pub(super) const MIN_BYTES: u64 = 64;
pub(super) const MAX_BYTES: u64 = 8 << 31;

typed_options! {
    /// How a [`Queue`](super::Queue) is created or opened.
    QueueOptions<T>, QueueSettings, "messages"
}

#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct QueueSettings {
    pub(super) capacity: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) form: Form,
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
}

//! The ends in a message, from its encoding until it is known whether it was sent.
//!
//! serde tells an end that it is being serialized, not into which message. So whoever encodes a message says
//! so to its thread, by an [`Encoding`], and the thread notes the ends that come by. What is encoded meanwhile, by
//! a `Serialize` that puts another message, has notes of its own.

use super::list;
use crate::codec::EncodeError;
use crate::pipe_end::{End, Location, Passage};
use std::cell::{Cell, RefCell};

thread_local! {
    /// 0 while this thread encodes no message; then 1, and 1 more for each end it has noted. One word: an
    /// `Option`, written in two parts and read as a whole, would wait for the parts (store forwarding fails).
    static NOTED: Cell<u32> = const { Cell::new(0) };
    /// They, those of the innermost message last.
    static NOTES: RefCell<Vec<End>> = const { RefCell::new(Vec::new()) };
}

/// Notes that `end` is in the message that this thread encodes; one that it only serializes, as for a file, is
/// nobody's here.
pub(super) fn note(end: End) {
    let noted = NOTED.get();
    // While the thread ends there is nowhere to note it.
    if noted != 0 && NOTES.try_with(|notes| notes.borrow_mut().push(end)).is_ok() {
        NOTED.set(noted + 1);
    }
}

/// A message that this thread encodes, and then sends. Dropped before it is [sent](Self::sent), also because
/// the user's code panics, it leaves its ends where they were.
pub(super) struct Encoding {
    /// What `NOTED` was outside of it.
    around: u32,
}

impl Encoding {
    #[inline]
    pub(super) fn begin() -> Self {
        let around = NOTED.get();
        NOTED.set(around.max(1));
        Self { around }
    }

    /// Whether there is an end in the message.
    #[inline]
    pub(super) fn has_ends(&self) -> bool {
        NOTED.get() != self.around.max(1)
    }

    /// Appends the list of its ends to the message, and says at each where the message is about to be put;
    /// `None`: where nobody can be asked.
    #[cold]
    #[inline(never)]
    pub(super) fn list_ends(
        &self,
        message: &mut Vec<u8>,
        home: impl FnOnce() -> Option<Location>,
    ) -> Result<(), EncodeError> {
        let home = home();
        let ends = NOTES.try_with(|notes| {
            let notes = notes.borrow();
            let ends = notes.get(self.around.max(1) as usize - 1..).unwrap_or_default();
            for end in ends {
                // In two messages at once: nobody could say when both are lost.
                end.set_home(home.as_ref().filter(|_| end.is_in_one_message()));
            }
            ends.iter().map(End::passage).collect::<Vec<Passage>>()
        });
        list::append(message, &ends.unwrap_or_default())
    }

    /// The message is where others get it, and its ends with it.
    #[inline]
    pub(super) fn sent(self) {
        if self.has_ends() {
            self.departed().sent();
        }
    }

    /// The ends in the message, of which it is not known yet whether it will be sent.
    #[cold]
    pub(super) fn departed(&self) -> Departed {
        let start = self.around.max(1);
        NOTED.set(start);
        let ends = NOTES.try_with(|notes| notes.borrow_mut().split_off(start as usize - 1));
        Departed(ends.unwrap_or_default())
    }
}

impl Drop for Encoding {
    #[inline]
    fn drop(&mut self) {
        if self.has_ends() {
            drop(self.departed());
        }
        NOTED.set(self.around);
    }
}

/// The ends in a message that was encoded. Dropped before the message is [sent](Self::sent), it leaves them
/// where they were.
#[must_use = "dropping it takes the ends back"]
pub(crate) struct Departed(Vec<End>);

impl Departed {
    /// The message is where others get it, and its ends with it.
    pub(crate) fn sent(mut self) {
        self.0.clear();
    }

    /// The ends that this process carries, each with the word of its cell.
    pub(super) fn carried(self) -> Vec<(End, u64)> {
        let carried = |end: &End| end.carried_word().map(|word| (end.twin(), word));
        let ends = self.0.iter().filter_map(carried).collect();
        self.sent();
        ends
    }
}

impl Drop for Departed {
    fn drop(&mut self) {
        self.0.iter().for_each(End::came_back);
    }
}

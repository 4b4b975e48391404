//! Message after message: iteration is the same for queues and for the receiving ends of pipes.

use std::fmt;
use std::iter::FusedIterator;

/// What becomes of an iteration after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is over, and the error no item.
    End,
    /// It is over, and the error its last item.
    Last,
    /// The error was about one message.
    More,
}

/// What messages can be taken from.
pub trait Source {
    /// What is taken.
    type Message;
    /// Why not.
    type Error;
    /// The next message, waiting for one.
    fn take(&self) -> Result<Self::Message, Self::Error>;
    /// Whether there may be more after this error.
    fn after(error: &Self::Error) -> After;
}

/// Message after message, waiting for each: see `iter` of the queue, or of the end of a pipe, that they come
/// from.
pub struct Messages<'a, C>(Option<&'a C>);

impl<'a, C> Messages<'a, C> {
    pub(crate) fn of(source: &'a C) -> Self {
        Self(Some(source))
    }
}

impl<C: Source> Iterator for Messages<'_, C> {
    type Item = Result<C::Message, C::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = self.0?.take();
        let after = taken.as_ref().err().map_or(After::More, C::after);
        if after != After::More {
            self.0 = None;
        }
        (after != After::End).then_some(taken)
    }
}

impl<C: Source> FusedIterator for Messages<'_, C> {}

impl<C: fmt::Debug> fmt::Debug for Messages<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Messages").field(&self.0).finish()
    }
}

/// Lets `for` go through a [`Source`].
macro_rules! iterates {
    ([$($generics:tt)*] $Source:ty) => {
        impl<'a, $($generics)*> IntoIterator for &'a $Source {
            type Item = Result<
                <$Source as crate::messages::Source>::Message,
                <$Source as crate::messages::Source>::Error,
            >;
            type IntoIter = crate::messages::Messages<'a, $Source>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }
    };
}
pub(crate) use iterates;

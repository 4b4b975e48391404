//! Results of a call of a pool that can be used while others are not there yet.

use crate::error::ClusterError;
use crate::pool::Call;
use procession_process::Crossing;
use std::fmt;

/// The results of [`Pool::imap`](crate::Pool::imap), in the order of the items.
#[must_use = "dropping it gives up what is not begun"]
pub struct Imap<R: Crossing + 'static>(Results<R>);

/// The results of [`Pool::imap_unordered`](crate::Pool::imap_unordered), as they come.
#[must_use = "dropping it gives up what is not begun"]
pub struct ImapUnordered<R: Crossing + 'static>(Results<R>);

struct Results<R> {
    call: Call<R>,
    /// How many were given out.
    given: usize,
    /// Whether it could not be waited for the others.
    is_over: bool,
}

impl<R: Crossing + 'static> Results<R> {
    fn new(call: Call<R>) -> Self {
        Self { call, given: 0, is_over: false }
    }

    /// The next one, with the number of its item: `which` says what the number of the one is that is given out as that.
    fn next(
        &mut self,
        which: impl Fn(&Call<R>, usize) -> Option<usize>,
    ) -> Option<(usize, Result<R, ClusterError>)> {
        if self.is_over || self.given == self.call.count {
            return None;
        }
        let nth = self.given;
        let waited = loop {
            if let Some(item) = which(&self.call, nth) {
                break Ok(item);
            }
            if let Err(error) = self.call.wait_for_more() {
                break Err(error);
            }
        };
        match waited {
            Ok(item) => {
                self.given += 1;
                Some((item, self.call.result(item)))
            }
            Err(error) => {
                self.is_over = true;
                Some((self.call.tally.first_missing(), Err(error)))
            }
        }
    }
}

impl<R: Crossing + 'static> Imap<R> {
    pub(crate) fn new(call: Call<R>) -> Self {
        Self(Results::new(call))
    }
}

impl<R: Crossing + 'static> ImapUnordered<R> {
    pub(crate) fn new(call: Call<R>) -> Self {
        Self(Results::new(call))
    }
}

impl<R: Crossing + 'static> Iterator for Imap<R> {
    type Item = Result<R, ClusterError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(|call, nth| call.tally.outcome(nth).map(|_| nth)).map(|(_, result)| result)
    }
}

impl<R: Crossing + 'static> Iterator for ImapUnordered<R> {
    type Item = (usize, Result<R, ClusterError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(|call, nth| call.tally.arrived(nth))
    }
}

impl<R: Crossing + 'static> fmt::Debug for Imap<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("given", &self.0.given).finish_non_exhaustive()
    }
}

impl<R: Crossing + 'static> fmt::Debug for ImapUnordered<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered").field("given", &self.0.given).finish_non_exhaustive()
    }
}

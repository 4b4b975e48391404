//! Ends that receive, among the things that [`wait`](crate::wait) waits for.

use super::{Connection, Receiver};
use crate::wait::{Waitable, Watch};
use std::time::Duration;

macro_rules! waits {
    ([$($generics:tt)*] $End:ty) => {
        impl<$($generics)*> Waitable for $End {
            /// As [`poll`](Self::poll), which uses the end. A fault is an answer, too.
            fn is_ready(&self) -> bool {
                self.poll(Duration::ZERO).unwrap_or(true)
            }

            fn watch(&self) -> Watch<'_> {
                let bell = self.end.incoming().data();
                let expected = bell.listen();
                Watch::Futex(bell.word(), expected)
            }

            fn unwatch(&self) {
                let bell = self.end.incoming().data();
                bell.arrive();
                // Another thread may wait to receive.
                if self.is_ready() {
                    bell.notify_one();
                }
            }
        }
    };
}

waits!([T] Receiver<T>);
waits!([S, R] Connection<S, R>);

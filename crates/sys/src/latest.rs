//! A value of the process that a copy of the process replaces by one of its own.
//!
//! A process that is copied has all the values of the one that it was copied from, and what had been decided
//! once, its name for example, is to be decided once more. Old values are never freed: there are as many as
//! the process has ancestors that were copied.
//!
//! No thread waits for another one that makes the value, as with `OnceLock` of std: a process that was copied
//! meanwhile has no such thread, and would wait for ever.
//!
//! # Orderings
//! Edge `latest.set`: the Release of the thread that sets a value meets the Acquire of every thread that finds
//! it.
#![expect(unsafe_code, reason = "references into boxes that are never freed")]

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A value that can be replaced; references to those before stay good.
#[derive(Debug)]
pub struct Latest<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync> Latest<T> {
    /// None yet.
    #[must_use]
    pub const fn none() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// The value that was set last.
    pub fn get(&self) -> Option<&'static T> {
        // SYNC: latest.set.
        // SAFETY: the pointer is null or was made from a box that is never freed.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Sets another value.
    pub fn set(&self, value: T) -> &'static T {
        let value: &'static mut T = Box::leak(Box::new(value));
        let pointer = std::ptr::from_mut(value);
        // SYNC: latest.set.
        self.0.store(pointer, Ordering::Release);
        // SAFETY: it was made of a box a moment ago, which is never freed, and from here on only shared.
        unsafe { &*pointer }
    }

    /// The value; `make` makes it where there is none. Of two threads that are there first, both call `make`, and
    /// what one of them has made is the value of both.
    pub fn get_or_set(&self, make: impl FnOnce() -> T) -> &'static T {
        if let Some(value) = self.get() {
            return value;
        }
        let fresh = Box::into_raw(Box::new(make()));
        // SYNC: latest.set. Acquire on failure, too: another thread's value is used then.
        match self.0.compare_exchange(null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: the box is never freed.
            Ok(_) => unsafe { &*fresh },
            Err(others) => {
                // SAFETY: the box was made above, and nobody else has seen its pointer.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: the pointer is not null, and was made from a box that is never freed.
                unsafe { &*others }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Latest;
    use crate::forking::{Forked, fork};
    use crate::pidfd::{EndFd, EndWait, Ended, Who, discard, reap};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn the_last_value_counts_and_those_before_can_still_be_read() {
        static NAME: Latest<String> = Latest::none();
        assert_eq!(NAME.get(), None);
        let first = NAME.get_or_set(|| "first".to_owned());
        assert_eq!(NAME.get_or_set(|| "another".to_owned()), "first");
        assert_eq!(NAME.set("second".to_owned()), "second");
        assert_eq!((first.as_str(), NAME.get().map(String::as_str)), ("first", Some("second")));
    }

    #[test]
    fn a_process_that_was_copied_while_a_thread_made_the_value_makes_its_own() {
        static VALUE: Latest<i32> = Latest::none();
        let ((begun, begins), (go_on, goes_on)) = (channel(), channel::<()>());
        let thread = std::thread::spawn(move || {
            *VALUE.get_or_set(|| {
                begun.send(()).unwrap();
                goes_on.recv().unwrap();
                1
            })
        });
        begins.recv().unwrap();
        let child = match fork().unwrap() {
            Forked::Child => crate::exit_now(*VALUE.get_or_set(|| 2)),
            Forked::Parent(child, _) => child,
        };
        let end = EndFd::of_child(child).unwrap();
        let ended = end.wait(Some(Duration::from_secs(30))).unwrap();
        if ended != EndWait::Ended {
            discard(child);
        }
        assert_eq!((ended, reap(Who::Pid(child)).unwrap()), (EndWait::Ended, Some(Ended::Exited(2))));
        go_on.send(()).unwrap();
        assert_eq!(thread.join().unwrap(), 1);
    }
}

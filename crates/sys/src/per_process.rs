//! A value of which each process has its own, so that a forked child finds none that a thread of its parent
//! was using.
//!
//! A lock that some other thread holds at the moment of `fork` stays held in the child for ever: the child
//! has no such thread. Here the child makes a fresh value instead, and the copy of its parent's is left as it
//! is.
//!
//! # Orderings
//! Edge `per_process.made`: the AcqRel of the thread that publishes its entry meets the Acquire of every
//! thread that finds the pointer, so that what `make` wrote is there.
#![expect(unsafe_code, reason = "references into boxes that are never freed")]

use crate::fork;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A value that each process makes when it first uses it; the values of a process's ancestors are never
/// looked at again.
#[derive(Debug)]
pub struct PerProcess<T: 'static> {
    current: AtomicPtr<Entry<T>>,
    make: fn() -> T,
}

struct Entry<T> {
    cookie: u64,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// Makes no value yet; `make` makes it, at most once for each of the threads that are there first.
    pub const fn new(make: fn() -> T) -> Self {
        Self { current: AtomicPtr::new(null_mut()), make }
    }

    /// This process's value.
    pub fn get(&self) -> &'static T {
        let cookie = fork::cookie();
        // SYNC: per_process.made.
        let mut seen = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: the pointer is null or was made from a box below, and no such box is ever freed.
            if let Some(entry) = unsafe { seen.as_ref() }
                && entry.cookie == cookie
            {
                return &entry.value;
            }
            let fresh = Box::into_raw(Box::new(Entry { cookie, value: (self.make)() }));
            // SYNC: per_process.made. Acquire on failure, too: another thread's entry is used then.
            match self.current.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => seen = fresh,
                // Another thread has made one in the meantime: its entry is everybody's.
                Err(others) => {
                    // SAFETY: the box was made above, and nobody else has seen its pointer.
                    drop(unsafe { Box::from_raw(fresh) });
                    seen = others;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PerProcess;
    use std::sync::Mutex;

    #[test]
    fn all_threads_of_a_process_have_the_same_value() {
        static LIST: PerProcess<Mutex<Vec<u32>>> = PerProcess::new(Mutex::default);
        std::thread::scope(|scope| {
            (0..8).for_each(|n| drop(scope.spawn(move || LIST.get().lock().unwrap().push(n))));
        });
        assert_eq!(LIST.get().lock().unwrap().len(), 8);
    }
}

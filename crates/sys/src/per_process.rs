//! A value of which each process has its own, so that a forked child finds none that a thread of its parent
//! was using.
//!
//! A lock that some other thread holds at the moment of `fork` stays held in the child for ever: the child
//! has no such thread. Here the child makes a fresh value instead, and the copy of its parent's is left as it
//! is.
#![expect(unsafe_code, reason = "references into boxes that are never freed")]

use crate::fork;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A value that is made on first use in each process; those of a process's ancestors are never looked at
/// again.
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
    /// Nothing yet; `make` makes the value, at most once for each thread that is there first.
    pub const fn new(make: fn() -> T) -> Self {
        Self { current: AtomicPtr::new(null_mut()), make }
    }

    /// This process's value.
    pub fn get(&self) -> &'static T {
        let cookie = fork::cookie();
        // Acquire: what `make` wrote is visible to whoever finds the pointer.
        let mut seen = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: the pointer is null or was made from a box below, and no such box is ever freed.
            if let Some(entry) = unsafe { seen.as_ref() }
                && entry.cookie == cookie
            {
                return &entry.value;
            }
            let fresh = Box::into_raw(Box::new(Entry { cookie, value: (self.make)() }));
            match self.current.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => seen = fresh,
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

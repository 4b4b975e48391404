//! Noticing that this process is a fork, and keeping forks out of what must not be copied half-done.
//!
//! `pthread_atfork` is not enough: a raw `clone` runs no handlers. So the words here lie in
//! pages that the kernel wipes in the child ([`wiped_on_fork`]).
//!
//! Nor does anybody here wait for a thread that makes something for all: in a child that was forked meanwhile there
//! is no such thread (`latest.rs`).
//!
//! # Orderings
//! Edge `fork_lock.handover`: the Release that opens the lock meets the Acquire of its next holder. Edge
//! `fork_lock.handlers`: the Release that says that the handlers are there meets the Acquire of whoever relies on
//! them.
#![expect(unsafe_code, reason = "pthread_atfork takes handlers of our own")]

use crate::clock::Deadline;
use crate::futex;
use crate::latest::Latest;
use crate::thread::thread_id;
use crate::wiped_page::wiped_on_fork;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A number that tells this process from the one it was forked from; never zero.
///
/// Objects note it when they are made; a destructor that finds another number runs in a forked child and
/// leaves the shared state alone.
#[must_use]
pub fn cookie() -> u64 {
    static COOKIE: Latest<Option<&'static AtomicU64>> = Latest::none();
    static LAST: AtomicU64 = AtomicU64::new(0);
    let Some(cell) = COOKIE.get_or_set(|| wiped_on_fork::<AtomicU64>().ok()) else {
        // Without the page, the pid tells all forks apart but those of a process whose pid was used again.
        return u64::from(std::process::id());
    };
    // Relaxed: the value is compared, nothing is published through it.
    match cell.load(Ordering::Relaxed) {
        0 => {
            // `LAST` is copied by fork, so a child's number is larger than each of its ancestors'.
            let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            match cell.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => fresh,
                Err(winner) => winner,
            }
        }
        cookie => cookie,
    }
}

/// A lock between the threads of one process that no forked child finds held: its word is wiped there, and
/// `fork()` waits until nobody holds it, so that no half-done registration is copied.
#[derive(Debug)]
pub struct ForkLock {
    page: Latest<Option<&'static AtomicU32>>,
}

impl ForkLock {
    /// The lock that registrations hold; one for the process, because `pthread_atfork` takes no argument.
    pub const fn registration() -> &'static Self {
        static LOCK: ForkLock = ForkLock { page: Latest::none() };
        &LOCK
    }

    /// Runs `work` while no other thread does, and while no thread forks.
    pub fn hold<R>(&self, work: impl FnOnce() -> R) -> R {
        struct Release<'a>(&'a ForkLock);
        impl Drop for Release<'_> {
            fn drop(&mut self) {
                self.0.release();
            }
        }
        // The page first: the handlers only use it.
        if self.word().is_some() {
            have_handlers();
        }
        self.acquire();
        let _release = Release(self);
        work()
    }

    fn word(&self) -> Option<&'static AtomicU32> {
        *self.page.get_or_set(|| wiped_on_fork::<AtomicU32>().ok())
    }

    fn acquire(&self) {
        let Some(word) = self.word() else { return };
        // SYNC: fork_lock.handover.
        while word.swap(1, Ordering::Acquire) != 0 {
            let _ = futex::wait(word, 1, Deadline::after(Duration::from_millis(1)));
        }
    }

    fn release(&self) {
        if let Some(word) = self.word() {
            // SYNC: fork_lock.handover.
            word.store(0, Ordering::Release);
            futex::wake(word, 1);
        }
    }
}

/// Has `handler` called in each process that `fork()` makes of this one, though not in one that a raw `clone`
/// makes. It may make system calls and use atomics, and nothing else.
pub fn in_forked(handler: extern "C" fn()) {
    // SAFETY: a plain function of the right type, which is never unloaded. Failure (no memory) means that it
    // is not called.
    unsafe { libc::pthread_atfork(None, None, Some(handler)) };
}

/// Whether this process, or one that it was forked from, may have been copied by `fork()` since it first
/// registered. A raw `clone` is not noticed, but for our own ([`note_copy`]); what is started by `posix_spawn`, or otherwise executes another
/// program at once, does not count.
#[must_use]
pub fn may_have_copies() -> bool {
    // Relaxed: who asks is not in the middle of a fork, and what happens in other threads meanwhile cannot be
    // ordered.
    FORKED.load(Ordering::Relaxed)
}

/// Notes that this process is about to be copied in a way that `fork()` knows nothing of.
pub fn note_copy() {
    FORKED.store(true, Ordering::Relaxed);
}

static FORKED: AtomicBool = AtomicBool::new(false);

/// Sees to it that `fork()` calls the handlers below.
fn have_handlers() {
    /// The cookie of the process that has registered them, and in the lowest bit whether it is done.
    static HANDLERS: AtomicU64 = AtomicU64::new(0);
    const DONE: u64 = 1;
    let ours = cookie() << 1;
    // SYNC: fork_lock.handlers.
    let mut seen = HANDLERS.load(Ordering::Acquire);
    while seen & DONE == 0 {
        if seen == ours {
            // Another thread does it just now.
            std::thread::yield_now();
            seen = HANDLERS.load(Ordering::Acquire);
            continue;
        }
        // Nobody has, or a thread of an ancestor was about to: then they may be there twice, which does no harm.
        match HANDLERS.compare_exchange(seen, ours, Ordering::Relaxed, Ordering::Acquire) {
            Ok(_) => {
                // SAFETY: the handlers only touch atomics and the wiped page, and make system calls, all of it
                // async-signal-safe. They are never removed, and this code is never unloaded before the process ends.
                unsafe {
                    libc::pthread_atfork(
                        Some(before_fork),
                        Some(after_fork_in_parent),
                        Some(after_fork_in_child),
                    )
                };
                // SYNC: fork_lock.handlers.
                HANDLERS.store(ours | DONE, Ordering::Release);
                return;
            }
            Err(now) => seen = now,
        }
    }
}

/// The thread that forks now, and holds the lock while it does.
static FORKER: AtomicU32 = AtomicU32::new(0);

extern "C" fn before_fork() {
    note_copy();
    // Relaxed, here and below: only the thread that finds its own number depends on it, and that has written it.
    if FORKER.load(Ordering::Relaxed) != thread_id() {
        ForkLock::registration().acquire();
        FORKER.store(thread_id(), Ordering::Relaxed);
    }
}

extern "C" fn after_fork_in_parent() {
    if FORKER.load(Ordering::Relaxed) == thread_id() {
        FORKER.store(0, Ordering::Relaxed);
        ForkLock::registration().release();
    }
}

extern "C" fn after_fork_in_child() {
    FORKER.store(0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::cookie;

    #[test]
    fn the_cookie_is_stable_and_not_zero() {
        assert_ne!(cookie(), 0);
        assert_eq!(cookie(), cookie());
    }
}

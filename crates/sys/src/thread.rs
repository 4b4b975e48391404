//! The kernel's number of a thread, and work that runs last in one.
#![expect(
    unsafe_code,
    reason = "a system call without arguments; keys whose destructors the C library calls"
)]

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// This thread's number, as people see it in `ps -L` and below `/proc/PID/task`; nothing is ever claimed by
/// it.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: gettid touches no memory and cannot fail.
    let tid = unsafe { libc::gettid() };
    tid.cast_unsigned()
}

/// How often the C library goes through a thread's keys, if destructors set values anew:
/// `PTHREAD_DESTRUCTOR_ITERATIONS`.
const ROUNDS: u32 = 4;

thread_local! {
    // Without destructors, so that they can be read until the very end.
    /// The work that is to run when this thread ends.
    static LAST_WORK: Cell<Option<fn()>> = const { Cell::new(None) };
    /// How many rounds of destructors it has let pass.
    static ROUND: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work` at the end of this thread, once: after the destructors of all thread-locals, and as late as
/// the C library lets anything run. Whether it will; it will not when the process has no key left
/// (`PTHREAD_KEYS_MAX`), nor when the process ends before the thread does.
///
/// Of `work` there is one for each thread: a second one takes the place of the first.
pub fn at_thread_end(work: fn()) -> bool {
    LAST_WORK.set(Some(work));
    set_key()
}

/// Has the C library call [`on_key`] at the end of this thread, or in its next round.
fn set_key() -> bool {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    let key = *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the key is written before it is read; the destructor is never unloaded, and the key never
        // deleted.
        let outcome = unsafe { libc::pthread_key_create(&raw mut key, Some(on_key)) };
        (outcome == 0).then_some(key)
    });
    let some_value = NonNull::<c_void>::dangling().as_ptr();
    // SAFETY: the key exists; the value is never dereferenced, only told from null.
    key.is_some_and(|key| unsafe { libc::pthread_setspecific(key, some_value) } == 0)
}

unsafe extern "C" fn on_key(_: *mut c_void) {
    ROUND.set(ROUND.get() + 1);
    // Other keys' destructors may still use what the work ends: theirs come first in each round but the last.
    if ROUND.get() < ROUNDS && set_key() {
        return;
    }
    if let Some(work) = LAST_WORK.take() {
        work();
    }
}

#[cfg(test)]
mod tests {
    use super::at_thread_end;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn the_last_work_comes_after_the_destructors_of_thread_locals() {
        static DESTROYED: AtomicU32 = AtomicU32::new(0);
        static SEEN: AtomicU32 = AtomicU32::new(u32::MAX);
        struct Noisy(Cell<u32>);
        impl Drop for Noisy {
            fn drop(&mut self) {
                DESTROYED.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread_local! {
            static EARLY: Noisy = const { Noisy(Cell::new(0)) };
            static LATE: Noisy = const { Noisy(Cell::new(0)) };
        }
        let thread = std::thread::spawn(|| {
            EARLY.with(|noisy| noisy.0.set(1));
            assert!(at_thread_end(|| SEEN.store(DESTROYED.load(Ordering::Relaxed), Ordering::Relaxed)));
            LATE.with(|noisy| noisy.0.set(1));
        });
        thread.join().unwrap();
        assert_eq!(SEEN.load(Ordering::Relaxed), 2);
    }
}

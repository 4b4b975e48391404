//! The kernel's number of a thread, and work that runs last in one.
#![expect(
    unsafe_code,
    reason = "a system call without arguments; keys whose destructors the C library calls"
)]

use crate::latest::Latest;
use crate::signals;
use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// This thread's number, as people see it in `ps -L` and below `/proc/PID/task`; nothing is ever claimed by
/// it.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: gettid touches no memory and cannot fail.
    let tid = unsafe { libc::gettid() };
    tid.cast_unsigned()
}

/// Starts a thread that costs little: none of its signals is delivered to it, and Rust's runtime knows nothing of
/// it. It should not allocate, because the C library then makes it a heap of its own.
///
/// # Errors
/// `EAGAIN` at the limit of threads.
pub fn start_lean(stack_bytes: usize, run: fn()) -> Result<()> {
    create_lean(stack_bytes, run, libc::PTHREAD_CREATE_DETACHED).map(drop)
}

/// Has a thread as [`start_lean`] makes it begin and end, so that copies of this process find done what the C
/// library does for the first one, and a stack to use again.
///
/// # Errors
/// `EAGAIN` at the limit of threads.
pub fn rehearse_lean(stack_bytes: usize) -> Result<()> {
    let thread = create_lean(stack_bytes, || (), libc::PTHREAD_CREATE_JOINABLE)?;
    // SAFETY: the thread is joinable, and joined once.
    unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
    Ok(())
}

fn create_lean(stack_bytes: usize, run: fn(), state: libc::c_int) -> Result<libc::pthread_t> {
    let run: *mut Lean = Box::into_raw(Box::new(Lean(run)));
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the call initialises what the pointer leads to, and fails for want of nothing.
    unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
    // SAFETY: the attributes are initialised; a size that is too small leaves them as they are.
    unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), stack_bytes) };
    // SAFETY: the attributes are initialised.
    unsafe { libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), state) };
    let mut thread = MaybeUninit::zeroed();
    let before = signals::set_blocked(signals::SignalSet::from_bits(u64::MAX));
    // SAFETY: everything outlives the call, and the thread alone uses what `run` leads to.
    let code =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), begin_lean, run.cast()) };
    signals::set_blocked(before);
    // SAFETY: the attributes are initialised, and not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if code == 0 {
        // SAFETY: it was zeroed, and the call has written it.
        return Ok(unsafe { thread.assume_init() });
    }
    // SAFETY: there is no thread that would use it.
    drop(unsafe { Box::from_raw(run) });
    Err(Error::from_raw_os_error(code))
}

struct Lean(fn());

extern "C" fn begin_lean(run: *mut c_void) -> *mut c_void {
    // SAFETY: `start_lean` made the box for this thread. It is never freed: that would be work for the heap.
    let run = unsafe { &*run.cast::<Lean>() };
    (run.0)();
    std::ptr::null_mut()
}

/// Shows `name`, cut to 15 bytes, as the calling thread's name.
pub fn set_thread_name(name: &CStr) {
    let _ = nix::sys::prctl::set_name(name);
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
    static KEY: Latest<Option<libc::pthread_key_t>> = Latest::none();
    let key = *KEY.get_or_set(|| {
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

//! What the kernel calls a thread.
#![expect(unsafe_code, reason = "a system call without arguments")]

/// This thread's number, as people see it in `ps -L` and below `/proc/PID/task`; nothing is ever claimed by it.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: gettid touches no memory and cannot fail.
    let tid = unsafe { libc::gettid() };
    tid.cast_unsigned()
}

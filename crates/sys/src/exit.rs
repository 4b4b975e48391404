//! Handlers that run when the process ends normally.
#![expect(unsafe_code, reason = "atexit takes a function pointer for C")]

/// Runs `function` when `main` returns or `exit` is called, the last registered first; not when the process
/// is killed, and not in a child that replaced itself by exec.
pub fn at_exit(function: extern "C" fn()) {
    // SAFETY: a plain function of the right type, never unloaded. Failure (no memory) means that it does not
    // run, which a kill means too.
    unsafe { libc::atexit(function) };
}

/// Ends this process at once: no handler runs, and what is buffered is not written. For a copy of a process,
/// made by `fork`, to which all that does not belong.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: the call takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

//! Handlers that run when the process ends normally.
#![expect(unsafe_code, reason = "atexit takes a function pointer for C")]

/// Runs `function` when `main` returns or `exit` is called, the last registered first; not when the process
/// is killed, and not in a child that replaced itself by exec.
pub fn at_exit(function: extern "C" fn()) {
    // SAFETY: a plain function of the right type, never unloaded. Failure (no memory) means that it does not
    // run, which a kill means too.
    unsafe { libc::atexit(function) };
}

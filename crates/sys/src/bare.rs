//! A `main` that the C library calls, without what Rust's runtime does before it.
//!
//! A command that stands in each line of a script is started and ended within a millisecond, and a twentieth of that
//! is the runtime's: it reads `/proc/self/maps` to find the guard page of the stack, and installs handlers, with a
//! stack of their own, that tell an overflow of the stack from another fault. A program that begins by
//! [`bare_main!`](crate::bare_main) has no such message: an overflow ends it by SIGSEGV, as it ends a program in C.
//! All else that the runtime does is done here.
//!
//! Without the GNU C library, whose start alone tells Rust's library the arguments of the program by itself, the macro
//! makes an ordinary `main`.

use crate::forking::ignore_signals;
use crate::inherited::was_open;
use crate::start::{Stream, set_stream};
use std::ffi::c_int;
use std::panic::catch_unwind;

/// What Rust's runtime exits with when `main` panics.
const PANICKED: c_int = 101;

/// Makes `$main`, a function that returns the exit code, the program's `main`. The crate's root says
/// `#![cfg_attr(target_env = "gnu", no_main)]`.
#[macro_export]
macro_rules! bare_main {
    ($main:path) => {
        #[cfg(target_env = "gnu")]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ::std::ffi::c_int {
            $crate::bare::run($main)
        }

        #[cfg(not(target_env = "gnu"))]
        fn main() -> ::std::process::ExitCode {
            $main().into()
        }
    };
}

/// Runs `main` as Rust's runtime would, and exits with what it returns, or with 101 if it panics.
pub fn run(main: fn() -> u8) -> c_int {
    // What the program opens is not to become its stdin, stdout or stderr.
    for number in (0..3_i32).filter(|number| !was_open(number.unsigned_abs())) {
        if set_stream(number, Some(Stream::Null)).is_err() {
            // What is printed would get into a file that is opened later.
            std::process::abort();
        }
    }
    // Whoever writes to a pipe that nobody reads is told by an error.
    ignore_signals(&[libc::SIGPIPE]);
    let code = catch_unwind(main).map_or(PANICKED, c_int::from);
    // This also writes out what stdout holds back.
    std::process::exit(code)
}

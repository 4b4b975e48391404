//! A program that drops a pool whose worker has printed half a line and has registered something for its
//! exit.
#![expect(unsafe_code, reason = "atexit is a C function")]

use procession::Pool;
use std::io::Write;

extern "C" fn at_exit() {
    // The program that reads it notices what is missing.
    drop(std::io::stdout().write_all(b"at exit\n"));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    procession::init();
    let pool = Pool::new(1)?;
    let speak = |n: u32| {
        // SAFETY: a plain function of the right type, never unloaded.
        unsafe { libc::atexit(at_exit) };
        write!(std::io::stdout(), "printed {n}; ").is_ok()
    };
    let said = pool.apply(speak, 7)?;
    drop(pool);
    if said { Ok(()) } else { Err("stdout is closed".into()) }
}

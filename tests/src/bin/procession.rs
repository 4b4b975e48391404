//! The command, built as a program of the tests' own.
#![cfg_attr(target_env = "gnu", no_main)]

/// Names a pipe; once something was written into it, a thread panics.
const PANICS: &str = "PROCESSION_TESTED_PANICS_AFTER";

fn run() -> u8 {
    if let Some(pipe) = std::env::var_os(PANICS) {
        std::thread::spawn(move || {
            drop(std::fs::read(pipe));
            panic!("as it was told to");
        });
    }
    procession_cli::main()
}

procession_sys::bare_main!(run);

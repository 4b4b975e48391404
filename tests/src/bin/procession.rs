//! The command, built as a program of the tests' own.

/// Names a pipe; once something was written into it, a thread panics.
const PANICS: &str = "PROCESSION_TESTED_PANICS_AFTER";

fn main() -> std::process::ExitCode {
    if let Some(pipe) = std::env::var_os(PANICS) {
        std::thread::spawn(move || {
            drop(std::fs::read(pipe));
            panic!("as it was told to");
        });
    }
    procession_cli::main()
}

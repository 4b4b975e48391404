//! A program that forgot `procession::init()`: it exits with 3 and the error on stderr, instead of running
//! for ever. With the argument `astray` it has the line, but its children leave `main` before they reach it.

use procession::Process;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let astray = std::env::args().any(|argument| argument == "astray");
    if astray {
        if std::env::var_os("PROCESSION_CHILD").is_some() {
            return 5.into();
        }
        procession::init();
    }
    let error = match Process::spawn(|n: u32| n + 1, 1) {
        Err(error) => error.to_string(),
        Ok(child) => match child.join() {
            Err(error) => error.to_string(),
            Ok(_) => return 0.into(),
        },
    };
    let said = writeln!(std::io::stderr(), "{error}");
    if said.is_ok() { 3.into() } else { 4.into() }
}

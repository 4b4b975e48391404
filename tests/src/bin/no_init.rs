//! A program that forgot `procession::init()`: it exits with 3 and the error on stderr, instead of running for ever.

use procession::Process;
use std::io::Write;

fn main() -> std::process::ExitCode {
    match Process::spawn(|n: u32| n + 1, 1) {
        Ok(_) => 0.into(),
        Err(error) => {
            let said = writeln!(std::io::stderr(), "{error}");
            if said.is_ok() { 3.into() } else { 4.into() }
        }
    }
}

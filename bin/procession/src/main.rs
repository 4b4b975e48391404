//! The command `procession`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    procession_cli::main()
}

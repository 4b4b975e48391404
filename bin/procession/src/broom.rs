//! What an interrupted demo becomes: a program that removes the demo's namespace and exits with the code it is told.

use crate::exit::Failure;
use procession::{Namespace, gc};
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How often it looks, and how long it waits in between: whoever looked at the demo's processes when they ended, through
/// `/proc` or at their files, holds what was theirs for a moment longer.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub(crate) struct BroomArgs {
    removed: String,
    code: u8,
}

/// Executes this program as a broom; returns only if that fails.
pub(crate) fn replace_this_program(namespace: &Namespace, code: u8) -> io::Error {
    let code = code.to_string();
    let arguments = [OsStr::new("__broom"), OsStr::new(namespace.name()), OsStr::new(&code)];
    Command::new("/proc/self/exe").arg0("procession").args(arguments).exec()
}

/// # Errors
/// Always: the code to exit with, or why the namespace could not be removed.
pub(crate) fn run(args: &BroomArgs) -> Result<(), Failure> {
    let namespace = Namespace::new(&args.removed)?;
    for _ in 0..LOOKS {
        gc::collect(Some(&namespace), gc::Options::default())?;
        if namespace.list()?.is_empty() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Err(Failure::Command(args.code))
}

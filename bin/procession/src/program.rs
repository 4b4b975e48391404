//! The command that is to be run: whether it can be found, and which of its standard streams were closed.

use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, FdFlag, fcntl};
use nix::unistd::{AccessFlags, faccessat};
use procession_sys::inherited::was_open;
use procession_terminal::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND};
use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Where the C library looks when PATH is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Looks for the command as those that execute it will, so that a mistyped one is reported once.
///
/// # Errors
/// [`Failure::NotRunnable`].
pub(crate) fn check(command: &[OsString]) -> Result<(), Failure> {
    let program = command.first().ok_or_else(|| Failure::Usage("no command".to_owned()))?;
    let not_found = || not_runnable(NOT_FOUND, format!("the command {program:?} is not found"));
    if program.is_empty() {
        return Err(not_found());
    }
    let is_path = program.as_encoded_bytes().contains(&b'/');
    let candidates = if is_path { vec![program.into()] } else { in_path(program) };
    let mut reason = None;
    for file in &candidates {
        match runnable(file) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // Something is in the way of this one, but a later directory of PATH may have another.
            Err(error) if error.kind() == ErrorKind::NotADirectory && !is_path => {}
            Err(error) => reason = Some(error),
        }
    }
    Err(match reason {
        None => not_found(),
        Some(error) => {
            not_runnable(NOT_EXECUTABLE, format!("the command {program:?} cannot be run: {error}"))
        }
    })
}

fn in_path(program: &OsStr) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path).map(|directory| directory.join(program)).collect()
}

fn runnable(file: &Path) -> Result<(), Error> {
    if file.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    Ok(faccessat(AT_FDCWD, file, AccessFlags::X_OK, AtFlags::AT_EACCESS)?)
}

pub(crate) fn not_runnable(code: u8, message: String) -> Failure {
    Failure::NotRunnable { code, message }
}

/// Has stdin, stdout and stderr closed in what is executed if they were when this process began: Rust's
/// runtime has opened `/dev/null` in their places.
pub(crate) fn keep_closed() {
    let close = |fd: u32, stream: BorrowedFd<'_>| {
        if !was_open(fd) {
            // It fails for no open descriptor.
            let _: nix::Result<_> = fcntl(stream, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    };
    close(0, stdin().as_fd());
    close(1, stdout().as_fd());
    close(2, stderr().as_fd());
}

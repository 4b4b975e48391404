//! The command that workers execute: whether it can be found, and how a worker becomes it.

use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, execvp, faccessat, getppid};
use procession_sys::inherited::was_open;
use procession_sys::signals::{SIGPIPE, SignalSet, set_blocked, set_default};
use procession_terminal::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND, SIGNALED};
use std::ffi::{CString, NulError, OsStr, OsString};
use std::io::{Error, ErrorKind, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where the C library looks when PATH is not set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// How the command of a worker is to be executed.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    pub(super) parent: u32,
    /// The signals that are to be blocked, as bits.
    pub(super) blocked: u64,
    /// Whether SIGPIPE stays ignored.
    #[arg(action = clap::ArgAction::Set)]
    pub(super) ignore_sigpipe: bool,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(super) command: Vec<OsString>,
}

/// Looks for the command as the workers will, so that a mistyped one is reported once.
///
/// # Errors
/// [`Failure::NotRunnable`].
pub(super) fn check(command: &[OsString]) -> Result<(), Failure> {
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

fn not_runnable(code: u8, message: String) -> Failure {
    Failure::NotRunnable { code, message }
}

/// Has stdin, stdout and stderr closed in what is executed if they were when this process began: Rust's
/// runtime has opened `/dev/null` in their places.
pub(super) fn keep_closed() {
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

/// Becomes the command; returns only if that fails.
///
/// # Errors
/// [`Failure::NotRunnable`], or that the parent has ended.
pub(crate) fn become_worker(args: &WorkerArgs) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL)?;
    let parent = getppid().as_raw().unsigned_abs();
    // 0 stands for a parent outside of this process's pid namespace (`unshare --pid` without `--fork`).
    if parent != args.parent && parent != 0 {
        // It ended before the line above, and nobody would tell.
        return Err(Failure::Command(SIGNALED + Signal::SIGKILL as u8));
    }
    keep_closed();
    if !args.ignore_sigpipe {
        // Rust's runtime ignores it.
        set_default(SIGPIPE);
    }
    let words: Result<Vec<CString>, NulError> =
        args.command.iter().map(|word| CString::new(word.clone().into_vec())).collect();
    let words = words?;
    let program = words.first().ok_or_else(|| Failure::Usage("no command".to_owned()))?;
    // What has come for this worker since it was started is delivered here at the earliest.
    set_blocked(SignalSet::from_bits(args.blocked));
    let Err(errno) = execvp(program, &words);
    let error = Error::from(errno);
    let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    Err(not_runnable(code, format!("cannot run {program:?}: {error}")))
}

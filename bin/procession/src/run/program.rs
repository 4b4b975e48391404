//! What a worker does before it is the command: it ties its life to its parent's.

use crate::program::{keep_closed, not_runnable};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{execvp, getppid};
use procession_sys::signals::{SIGPIPE, SignalSet, set_blocked, set_default};
use procession_terminal::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND, SIGNALED};
use std::ffi::{CString, NulError, OsString};
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStringExt;

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

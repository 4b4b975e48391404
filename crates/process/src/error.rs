//! What can go wrong: starting a process, its end, and asking the kernel about it.

use crate::status::ExitStatus;
use procession_channel::codec::{DecodeError, EncodeError};
use procession_sys::errno::{EAGAIN, ECHILD};
use procession_sys::limits;
use std::error::Error;
use std::io;

/// Why no process was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The program never called [`init`](crate::init), so a child would run `main` again instead of the function.
    #[error(
        "procession is not initialised: make `procession::init();` the first line of main, \
         or in a test put `procession::test_support!();` once into the test file"
    )]
    NotInitialised,
    /// The attempt came from code that runs while this process itself is still being started: from the
    /// `Deserialize` of an argument.
    #[error("this process is itself still starting: its arguments are being decoded")]
    Bootstrapping,
    /// The process is exiting: children started now would never be waited for.
    #[error("this process is exiting")]
    Exiting,
    /// Children have started children to this depth, which is taken for a mistake.
    #[error("processes are nested {depth} deep")]
    TooDeep {
        /// How many ancestors this process has.
        depth: u32,
    },
    /// The program runs with more rights than its caller, who could misuse the way functions cross.
    #[error("a set-user-id program, or one with file capabilities, starts no processes this way")]
    Secure,
    /// The program was started as `ld.so ./program`: `/proc/self/exe` is the loader.
    #[error(
        "the program was started through the dynamic loader, so it cannot be started again; run it directly"
    )]
    RunByLoader,
    /// The function is part of a shared library, not of the executable.
    #[error("the function is not in the main executable but in a shared library")]
    NotInExecutable,
    /// The arguments could not be encoded.
    #[error("the arguments could not be encoded")]
    Encode(#[from] EncodeError),
    /// The arguments are longer than this process may make a file.
    #[error("the arguments cannot be handed over: {0}")]
    TooLong(String),
    /// A name, an argument or an environment variable contains a zero byte, or a variable's name contains `=`.
    #[error("{0:?} contains a zero byte, or is no name of an environment variable")]
    InvalidString(String),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A failed system call: what was tried for which process, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed for process {process:?}{}", hint(operation, *forked, source))]
pub struct KernelError {
    operation: &'static str,
    process: String,
    /// Whether the process is a child of the one that this process was forked from.
    forked: bool,
    source: io::Error,
}

/// What to do about it, in words that follow upon others.
fn hint(operation: &str, forked: bool, source: &io::Error) -> &'static str {
    if forked {
        return ": only the process that started it can do that, and this one was forked from it";
    }
    match (operation, source.raw_os_error()) {
        ("posix_spawn", Some(EAGAIN)) => {
            ": this user, or this container, has as many processes and threads as it may; raise the limit (`ulimit -u`, or pids.max of the cgroup)"
        }
        ("posix_spawn" | "stat /proc/self/exe", _) if source.kind() == io::ErrorKind::NotFound => {
            ": /proc is not mounted, by which a program starts itself again; mount it (`mount -t proc proc /proc`). Or this root has not the libraries of the program"
        }
        _ => limits::remedy(source),
    }
}

impl KernelError {
    pub(crate) fn new(operation: &'static str, process: &str, source: io::Error) -> Self {
        Self { operation, process: process.to_owned(), forked: false, source }
    }

    /// What a forked child is told of the children of its parent.
    pub(crate) fn forked(operation: &'static str, process: &str) -> Self {
        Self { forked: true, ..Self::new(operation, process, io::Error::from_raw_os_error(ECHILD)) }
    }

    /// The system call, or what it was called for.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The errno, if the kernel gave one; `ECHILD` in a forked child, where the process is no child.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

/// Why a process ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked.
    #[error("the process panicked{}: {message}", at(location))]
    Panicked {
        /// What the panic said.
        message: String,
        /// `file:line:column`, unless the panic came without a message of its own (`resume_unwind`) or the program
        /// replaced the panic hook.
        location: Option<String>,
        /// The child's stack, under the same conditions.
        backtrace: Option<String>,
    },
    /// The process exited before the function returned.
    #[error("the process exited with code {code} before the function returned")]
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal killed the process before the function returned.
    #[error("signal {signal} killed the process")]
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// The process ended before it reached [`init`](crate::init): something in `main`, or before it, went another
    /// way.
    #[error(
        "the process ended ({status}) before it reached procession::init(); is that the first line of main?"
    )]
    NeverStarted {
        /// How it ended.
        status: ExitStatus,
    },
    /// The child refused to run the function: it is another build, or the message to it was damaged.
    #[error("the process refused its task: {0}")]
    Refused(String),
    /// The child could not decode the arguments.
    #[error("the process could not decode its arguments: {0}")]
    Arguments(String),
    /// The child could not encode, or not store, the result.
    #[error("the process could not hand back its result: {0}")]
    Encode(String),
    /// This program has closed the descriptor through which the result was to come.
    #[error("the result is lost: this program has closed the descriptor through which it was to come")]
    ReportClosed,
    /// The result could not be decoded here.
    #[error("the result could not be decoded")]
    Decode(#[from] DecodeError),
    /// The process ended without a result, and nobody can learn how: `SIGCHLD` is ignored, or other code in this
    /// program waits for any child.
    #[error("the process ended without a result, and its exit status was lost")]
    StatusLost,
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// The error and what caused it, in one line: for those to whom it crosses as text.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    // A transparent error says what its cause says.
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

pub(crate) fn at(location: &Option<String>) -> String {
    location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default()
}

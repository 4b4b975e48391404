//! What can go wrong: starting a process, its end, and asking the kernel about it.

use crate::label::ProcessLabel;
use crate::method::StartMethod;
use crate::panicked::Panic;
use crate::remote::{RemoteError, texts};
use crate::status::ExitStatus;
use procession_channel::codec::{DecodeError, EncodeError};
use procession_shm::{debug_as_text, fmt_with_causes};
use procession_sys::errno::{EAGAIN, ECHILD};
use procession_sys::{limits, signals};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What errors say of an end that nobody can learn more of.
pub(crate) const STATUS_LOST: &str =
    "its exit status was lost: SIGCHLD is ignored, or other code of this program waits for any child";

/// Why no process was started.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The program never called [`init`](crate::init), so a child would run `main` again instead of the
    /// function.
    #[error(
        "procession is not initialised: make `procession::init();` the first line of main, \
         or in a test put `procession::test_support!();` once into the test file"
    )]
    NotInitialised,
    /// The attempt came from code that runs while this process itself is still being started: from the
    /// `Deserialize` of an argument, or a preload function.
    #[error(
        "this process is itself still starting: it decodes its arguments, or runs a preload function, and can start others only from its \
         function"
    )]
    Bootstrapping,
    /// The process is exiting: children started now would never be waited for.
    #[error("this process is exiting, and would not wait for a process that is started now")]
    Exiting,
    /// Children have started children to this depth, which is taken for a mistake.
    #[error(
        "this process has {depth} ancestors that started one another, and starts no further one: does the function start itself?"
    )]
    TooDeep {
        /// How many ancestors this process has.
        depth: u32,
    },
    /// The program runs with more rights than its caller, who could misuse the way functions cross.
    #[error(
        "this program has more rights than its caller (set-user-id, or file capabilities) and starts no processes this way: \
         take those rights from the file"
    )]
    Secure,
    /// The program was started as `ld.so ./program`: `/proc/self/exe` is the loader.
    #[error(
        "the program was started through the dynamic loader, so it cannot be started again; run it directly"
    )]
    RunByLoader,
    /// The function is part of a shared library, not of the executable.
    #[error(
        "{function} is not in the main executable but in a shared library, where a child may not find it: hand over a function of \
         the program that calls it"
    )]
    NotInExecutable {
        /// The function's path.
        function: &'static str,
    },
    /// The arguments could not be encoded.
    #[error("the arguments of {function} could not be encoded")]
    Encode {
        /// The function's path.
        function: &'static str,
        /// What is wrong with them.
        source: EncodeError,
    },
    /// The arguments are longer than this process may make a file.
    #[error("the arguments of {function} cannot be handed over: {reason}")]
    TooLong {
        /// The function's path.
        function: &'static str,
        /// How long they are, and how long they may be.
        reason: String,
    },
    /// A name, an argument or an environment variable contains a zero byte, or a variable's name contains
    /// `=`.
    #[error(
        "{0:?} cannot be handed to a process: it contains a zero byte, or is no name of an environment variable"
    )]
    InvalidString(String),
    /// The directory in which the process was to begin is none, or is not open to this user.
    #[error("no process can begin in {}: name a directory that is there and may be entered", directory.display())]
    Directory {
        /// Which one.
        directory: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The start method `fork` was asked for in a process that has other threads. They may be in the middle of
    /// something (they may hold the lock of the allocator), which a copy of the process would never see finished.
    #[error(
        "this process has other threads ({}), of which a copy may find things half-done: start the process by spawn or forkserver, \
         or by fork before there are threads",
        threads.join(", ")
    )]
    ForkWithThreads {
        /// Their names.
        threads: Vec<String>,
    },
    /// The start method `fork` was asked for by a thread that holds locks: the copy would have its guards.
    #[error(
        "this thread holds {holds} locks, whose guards a copy of the process would have, too: drop them first, or start the process \
         by spawn or forkserver"
    )]
    ForkWithHolds {
        /// How many it holds.
        holds: u32,
    },
    /// The start method cannot do what the options say, or not here.
    #[error("a process cannot be started by {method} here: {reason}")]
    Method {
        /// The start method.
        method: StartMethod,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// The forkserver did not come up: its preload function failed, panicked or was killed, or left threads
    /// behind; or it ended again and again.
    #[error("the forkserver could not start the process")]
    Forkserver {
        /// How it ended.
        source: Box<ProcessError>,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A failed system call: what was tried for which process, and why it failed.
#[derive(thiserror::Error)]
#[error("{operation} failed for {process}{}", hint(operation, *forked, source))]
pub struct KernelError {
    operation: &'static str,
    /// As people know it; before it is started, it has a name alone.
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
        ("posix_spawn" | "fork" | "clone", Some(EAGAIN)) => {
            ": this user, or this container, has as many processes and threads as it may; raise the limit (`ulimit -u`, or pids.max of the cgroup)"
        }
        ("stat /proc/self/exe", _) if source.kind() == io::ErrorKind::NotFound => {
            ": /proc is not mounted, by which a program starts itself again; mount it (`mount -t proc proc /proc`)"
        }
        ("posix_spawn", _) if source.kind() == io::ErrorKind::NotFound => {
            ": this root has not all of what a program needs that starts itself again: /proc (`mount -t proc proc /proc`), /dev/null, the libraries of the program"
        }
        _ => limits::remedy(source),
    }
}

impl KernelError {
    /// Whether nothing failed, and a hook of this thread wanted the wait to end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.source.kind() == io::ErrorKind::Interrupted
    }

    pub(crate) fn new(operation: &'static str, process: &ProcessLabel, source: io::Error) -> Self {
        Self { operation, process: process.to_string(), forked: false, source }
    }

    /// About a process that is not there yet.
    pub(crate) fn before_start(operation: &'static str, name: &str, source: io::Error) -> Self {
        Self { operation, process: format!("process {name:?}"), forked: false, source }
    }

    /// What a forked child is told of the children of its parent.
    pub(crate) fn forked(operation: &'static str, process: &ProcessLabel) -> Self {
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

debug_as_text!(SpawnError, KernelError);

/// Why a process ended without a result.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked.
    #[error("{process} panicked{}: {message}", at(location))]
    Panicked {
        /// Which one.
        process: ProcessLabel,
        /// What the panic said.
        message: String,
        /// `file:line:column`, unless the panic came without a message of its own (`resume_unwind`) or the
        /// program replaced the panic hook.
        location: Option<String>,
        /// The child's stack, under the same conditions, where the environment variable `RUST_BACKTRACE` asks
        /// for it (or `RUST_LIB_BACKTRACE`). It begins where the panic began and ends with the function,
        /// unless the variable is `full`. `Debug` shows it.
        backtrace: Option<String>,
    },
    /// The function returned an error: [`spawn_fallible`](crate::Process::spawn_fallible).
    #[error("{process} failed")]
    Failed {
        /// Which one.
        process: ProcessLabel,
        /// What the function returned, with its causes.
        #[source]
        error: RemoteError,
    },
    /// The process exited before the function returned.
    #[error("{process} exited with code {code} before the function returned")]
    Exited {
        /// Which one.
        process: ProcessLabel,
        /// The exit code.
        code: i32,
    },
    /// A signal killed the process before the function returned.
    #[error("{process} was killed by {} before the function returned", signals::words(*signal))]
    Killed {
        /// Which one.
        process: ProcessLabel,
        /// The signal's number.
        signal: i32,
    },
    /// The process ended before it reached [`init`](crate::init): something in `main`, or before it, went
    /// another way.
    #[error(
        "{process} ended ({status}) before it reached procession::init(); is that the first line of main?"
    )]
    NeverStarted {
        /// Which one.
        process: ProcessLabel,
        /// How it ended.
        status: ExitStatus,
    },
    /// The child refused to run the function: it is another build, the message to it was damaged, or it could
    /// not change of itself what its options say.
    #[error("{process} refused its task: {reason}")]
    Refused {
        /// Which one.
        process: ProcessLabel,
        /// What it said.
        reason: String,
    },
    /// The child could not decode the arguments.
    #[error("{process} could not decode its arguments: {reason}")]
    Arguments {
        /// Which one.
        process: ProcessLabel,
        /// What it said.
        reason: String,
    },
    /// The child could not encode, or not store, the result.
    #[error("{process} could not hand back its result: {reason}")]
    Encode {
        /// Which one.
        process: ProcessLabel,
        /// What it said.
        reason: String,
    },
    /// This program has closed the descriptor through which the result was to come.
    #[error(
        "the result of {process} is lost: this program has closed the descriptor through which it was to come"
    )]
    ReportClosed {
        /// Which one.
        process: ProcessLabel,
    },
    /// The result could not be decoded here.
    #[error("the result of {process} could not be decoded")]
    Decode {
        /// Which one.
        process: ProcessLabel,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The process ended without a result, and nobody can learn how: `SIGCHLD` is ignored, or other code in
    /// this program waits for any child.
    #[error("{process} ended without a result, and {STATUS_LOST}")]
    StatusLost {
        /// Which one.
        process: ProcessLabel,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`). The process runs on, without
    /// this handle.
    #[error("the wait for {process} was interrupted; it runs on")]
    Interrupted {
        /// Which one.
        process: ProcessLabel,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl ProcessError {
    pub(crate) fn failed(process: ProcessLabel, error: RemoteError) -> Self {
        Self::Failed { process, error }
    }

    pub(crate) fn panicked(process: ProcessLabel, panic: Panic) -> Self {
        let Panic { message, location, backtrace } = panic;
        Self::Panicked { process, message, location, backtrace }
    }
}

impl fmt::Debug for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_causes(self, f)?;
        match self {
            Self::Panicked { backtrace, .. } => fmt_backtrace(backtrace, f),
            _ => Ok(()),
        }
    }
}

/// Why [`Process::wait_timeout`](crate::Process::wait_timeout) cannot say how the process ended.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It still runs.
    #[error("{process} still runs")]
    TimedOut {
        /// Which one.
        process: ProcessLabel,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {process} was interrupted; it runs on")]
    Interrupted {
        /// Which one.
        process: ProcessLabel,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

debug_as_text!(WaitError);

impl WaitError {
    pub(crate) fn new(process: &ProcessLabel, error: KernelError) -> Self {
        if error.is_interrupted() {
            Self::Interrupted { process: process.clone() }
        } else {
            Self::Kernel(error)
        }
    }
}

/// The error and what caused it, in one line: for those to whom it crosses as text.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    // A transparent error says what its cause says.
    let mut texts: Vec<String> = texts(error).collect();
    texts.dedup();
    texts.join(": ")
}

/// Adds to an error what could not be done.
pub(crate) fn failed(what: String) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

pub(crate) fn at(location: &Option<String>) -> String {
    location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default()
}

/// What `Debug` of an error says after its text: the stack of the process that panicked, if it was wanted.
pub(crate) fn fmt_backtrace(backtrace: &Option<String>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match backtrace {
        Some(backtrace) => write!(f, "\nstack of the process:\n{backtrace}"),
        None => Ok(()),
    }
}

//! How the command ends: one table of exit codes.

use crate::output::{self, Align};
use nix::sys::signal::Signal;
use procession::{InvalidName, OpenError, ProcessError, SemaphoreError, TeamError};
use serde::Serialize;
use serde_json::{Map, Value};
use std::error::Error;
use std::io;

/// Why the command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The command line was not understood, or asked for help.
    CommandLine(clap::Error),
    /// The command line makes no sense.
    Usage(String),
    /// Nobody reads stdout any more. Other programs are killed by SIGPIPE then, so this looks like it, and
    /// says nothing.
    ClosedPipe,
    /// A result that must hold does not.
    Wrong(String),
    /// Done, but for what was already reported.
    Incomplete,
    /// The objects that this command was told to remove, and those that it could not.
    Objects(Vec<OpenError>),
    /// The command that was to be started cannot be run.
    NotRunnable {
        /// [`NOT_EXECUTABLE`] or [`NOT_FOUND`].
        code: u8,
        /// Why not.
        message: String,
    },
    /// The command that was started failed with this code.
    Command(u8),
    /// What was asked for cannot be had, for a reason that scripts tell apart.
    Refused(Box<Refusal>),
    /// Another failure, which is told as one line of JSON.
    InJson(Box<Failure>),
    /// Anything else.
    Error(Box<dyn Error + Send + Sync>),
}

/// Why something cannot be had, for people and for scripts.
#[derive(Debug)]
pub struct Refusal {
    /// The exit code.
    pub code: u8,
    /// The reason as scripts know it: `not_acquired`, `disagree`.
    pub reason: &'static str,
    /// The reason as people read it; empty where nothing is to be said.
    pub message: String,
    /// What else is told in JSON.
    pub details: Map<String, Value>,
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(Box::new(error))
    }
}

/// All that was asked for was done.
pub const SUCCESS: u8 = 0;
/// A result is wrong or incomplete: a demo's check failed, a file was left out, there is a deadlock. Or what was
/// asked is not so: the lock is held.
pub const INCOMPLETE: u8 = 1;
/// The command line was not understood or makes no sense; nothing was done.
const USAGE: u8 = 2;
/// What is there and what was asked for do not go together: `EX_DATAERR` of sysexits.h.
pub const DISAGREE: u8 = 65;
/// There is no object of that name: `EX_NOINPUT` of sysexits.h.
pub const NO_SUCH_OBJECT: u8 = 66;
/// `/dev/shm` is none that can be used: `EX_UNAVAILABLE` of sysexits.h.
pub const UNAVAILABLE: u8 = 69;
/// It was not to be had in time, and the command was not started: `EX_TEMPFAIL` of sysexits.h.
pub const NOT_ACQUIRED: u8 = 75;
/// The object is there, and not for this user: `EX_NOPERM` of sysexits.h.
pub const NOT_PERMITTED: u8 = 77;
/// The lease is somebody else's by now, or nobody's.
pub const LEASE_LOST: u8 = 76;
/// Some of several jobs failed: what xargs(1) says.
pub const SOME_FAILED: u8 = 123;
/// The command ran for longer than it may, and was ended: what timeout(1) says.
pub const TIMED_OUT: u8 = 124;
/// Procession itself failed. Like the next two, this is what env(1) and timeout(1) say, so that the codes of
/// the command that is started stay free.
pub const OWN_FAILURE: u8 = 125;
/// The command was found and cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// Ended by a signal, whose number is added, as shells do: 130 is SIGINT.
pub const SIGNALED: u8 = 128;

/// Every exit code and what it means, for `procession help exit-codes`.
static TABLE: [(&str, &str); 14] = [
    ("0", "done; what was asked is so"),
    (
        "1",
        "what was asked is not so (`lock test`: it is held; `queue get`: closed, and all is done); a result is wrong or incomplete",
    ),
    ("2", "wrong usage: nothing was done"),
    (
        "65",
        "what is there disagrees with what was asked for: another kind of object, another count; its holder died (`--on-owner-died fail`); an ancestor of this process holds it",
    ),
    ("66", "there is no such object"),
    ("69", "/dev/shm is none that can be used"),
    ("75", "not acquired: the command was not started; the queue is empty, or full (-E changes this code)"),
    ("76", "a lease is lost: its time was over, its holder has died, or another has decided"),
    ("77", "not permitted"),
    ("123", "some of several jobs failed"),
    ("124", "the command ran for longer than `-t` says, and was ended"),
    ("125", "procession itself failed"),
    ("126, 127", "the command cannot be run, was not found"),
    ("128+n", "ended by signal n, as 130 after Ctrl-C"),
];

/// Every exit code and what it means.
#[must_use]
pub fn table() -> &'static [(&'static str, &'static str)] {
    &TABLE
}

/// The table of exit codes, on stdout.
///
/// # Errors
/// As [`output::line`].
pub fn print_table() -> Result<(), Failure> {
    let rows: Vec<Vec<String>> =
        TABLE.iter().map(|(code, meaning)| vec![(*code).to_owned(), (*meaning).to_owned()]).collect();
    output::table(&[("CODE", Align::Left), ("MEANING", Align::Left)], &rows)
}

impl Failure {
    /// What this program exits with because of it.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::ClosedPipe => SIGNALED + Signal::SIGPIPE as u8,
            Self::Wrong(_) | Self::Incomplete => INCOMPLETE,
            Self::Usage(_) => USAGE,
            Self::CommandLine(message) => u8::try_from(message.exit_code()).unwrap_or(USAGE),
            Self::NotRunnable { code, .. } | Self::Command(code) => *code,
            Self::Refused(refusal) => refusal.code,
            Self::InJson(failure) => failure.code(),
            Self::Objects(errors) => errors.first().map_or(OWN_FAILURE, code_of_object),
            Self::Error(error) if error.is::<InvalidName>() => USAGE,
            Self::Error(error) if matches!(error.downcast_ref(), Some(SemaphoreError::TooMany { .. })) => {
                DISAGREE
            }
            // A demo's worker did not do its work.
            Self::Error(error) if error.is::<ProcessError>() || error.is::<TeamError>() => INCOMPLETE,
            Self::Error(error) => error.downcast_ref().map_or(OWN_FAILURE, code_of_object),
        }
    }

    fn say(&self) {
        match self {
            // A mistake; nobody may be reading stderr.
            Self::CommandLine(message) => drop(message.print()),
            Self::InJson(failure) => failure.say_in_json(),
            failure => failure.lines().iter().for_each(|line| output::warn(line)),
        }
    }

    /// What people are told.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::ClosedPipe | Self::Incomplete | Self::Command(_) => Vec::new(),
            Self::Refused(refusal) if refusal.message.is_empty() => Vec::new(),
            Self::Usage(text) | Self::Wrong(text) | Self::NotRunnable { message: text, .. } => {
                vec![text.clone()]
            }
            Self::Refused(refusal) => vec![refusal.message.clone()],
            Self::Objects(errors) => errors.iter().map(text_of_object).collect(),
            Self::Error(error) => {
                vec![error.downcast_ref().map_or_else(|| with_causes(error.as_ref()), text_of_object)]
            }
            Self::CommandLine(message) => vec![message.to_string()],
            Self::InJson(failure) => failure.lines(),
        }
    }

    /// The reason as scripts know it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason,
            Self::InJson(failure) => failure.reason(),
            failure => match failure.code() {
                USAGE => "usage",
                DISAGREE => "disagree",
                NO_SUCH_OBJECT => "no_such_object",
                UNAVAILABLE => "unavailable",
                NOT_PERMITTED => "not_permitted",
                NOT_EXECUTABLE => "not_executable",
                NOT_FOUND => "not_found",
                _ => "failed",
            },
        }
    }

    fn say_in_json(&self) {
        // How the command ended, it says itself; and what is not so was printed, or is the exit code.
        if matches!(self, Self::Command(_) | Self::ClosedPipe | Self::Incomplete) {
            return;
        }
        let none = Map::new();
        let details = if let Self::Refused(refusal) = self { &refusal.details } else { &none };
        let (code, message) = (self.reason(), self.lines().join("; "));
        output::warn_in_json(&InJson {
            v: 1,
            error: ErrorRecord { code, exit: self.code(), message, details },
        });
    }
}

/// A failure in `--json`.
#[derive(Serialize)]
struct InJson<'a> {
    v: u32,
    error: ErrorRecord<'a>,
}

#[derive(Serialize)]
struct ErrorRecord<'a> {
    code: &'static str,
    exit: u8,
    message: String,
    #[serde(flatten)]
    details: &'a Map<String, Value>,
}

/// What people are told about an object that was not opened: the library's advice is for programs.
fn text_of_object(error: &OpenError) -> String {
    match error {
        OpenError::NotFound { object } => format!("{object} does not exist"),
        error => with_causes(error),
    }
}

fn code_of_object(error: &OpenError) -> u8 {
    match error {
        OpenError::InvalidName { .. } => USAGE,
        OpenError::NotFound { .. } => NO_SUCH_OBJECT,
        OpenError::Kind { .. } | OpenError::Parameter { .. } => DISAGREE,
        OpenError::Version { .. } | OpenError::Layout { .. } => DISAGREE,
        OpenError::Codec { .. } | OpenError::UnknownCodec { .. } => DISAGREE,
        OpenError::ElementType { .. } | OpenError::Structure { .. } => DISAGREE,
        OpenError::LifelineUnsupported { .. } => UNAVAILABLE,
        OpenError::WrongOwner { .. } | OpenError::WrongMode { .. } | OpenError::Linked { .. } => {
            NOT_PERMITTED
        }
        OpenError::Os { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => NOT_PERMITTED,
        _ => OWN_FAILURE,
    }
}

/// The error and what caused it, in one line.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.fold(String::new(), |said, cause| {
        let cause = cause.to_string();
        // A transparent error says what its cause says, and some errors end with it.
        if said.is_empty() {
            cause
        } else if said.ends_with(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}

/// Says what went wrong, if anything did, and what to exit with.
pub fn report(outcome: Result<(), Failure>) -> u8 {
    let outcome = match outcome {
        // Help is a result.
        Err(Failure::CommandLine(message)) if !message.use_stderr() => output::help(&message),
        other => other,
    };
    match outcome {
        Ok(()) => SUCCESS,
        Err(failure) => {
            failure.say();
            failure.code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::with_causes;
    use std::io::{Error, ErrorKind};

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error(transparent)]
        Transparent(Error),
        #[error("reading x: {0}")]
        Shows(#[source] Error),
        #[error("reading x")]
        Hides(#[source] Error),
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner = || Error::new(ErrorKind::NotFound, "no such file");
        assert_eq!(with_causes(&Outer::Transparent(inner())), "no such file");
        assert_eq!(with_causes(&Outer::Shows(inner())), "reading x: no such file");
        assert_eq!(with_causes(&Outer::Hides(inner())), "reading x: no such file");
    }
}

//! How the command ends: one table of exit codes.

use crate::output;
use nix::sys::signal::Signal;
use procession::{InvalidName, OpenError};
use std::error::Error;
use std::io;
use std::process::ExitCode;

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
    /// The command of `run` cannot be run.
    NotRunnable {
        /// [`NOT_EXECUTABLE`] or [`NOT_FOUND`].
        code: u8,
        /// Why not.
        message: String,
    },
    /// The command of `run` failed with this code.
    Command(u8),
    /// Anything else.
    Error(Box<dyn Error + Send + Sync>),
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(Box::new(error))
    }
}

/// All that was asked for was done.
const SUCCESS: u8 = 0;
/// A result is wrong or incomplete: a demo's check failed, a file was left out, there is a deadlock.
const INCOMPLETE: u8 = 1;
/// The command line was not understood or makes no sense; nothing was done.
const USAGE: u8 = 2;
/// There is no object of that name: `EX_NOINPUT` of sysexits.h.
const NO_SUCH_OBJECT: u8 = 66;
/// The object is there, and not for this user: `EX_NOPERM` of sysexits.h.
const NOT_PERMITTED: u8 = 77;
/// Procession itself failed. Like the next two, this is what env(1) and timeout(1) say, so that the codes of
/// the command that `run` starts stay free.
pub const OWN_FAILURE: u8 = 125;
/// The command of `run` was found and cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command of `run` was not found.
pub const NOT_FOUND: u8 = 127;
/// Ended by a signal, whose number is added, as shells do: 130 is SIGINT.
pub const SIGNALED: u8 = 128;

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::ClosedPipe => SIGNALED + Signal::SIGPIPE as u8,
            Self::Wrong(_) | Self::Incomplete => INCOMPLETE,
            Self::Usage(_) => USAGE,
            Self::CommandLine(message) => u8::try_from(message.exit_code()).unwrap_or(USAGE),
            Self::NotRunnable { code, .. } | Self::Command(code) => *code,
            Self::Objects(errors) => errors.first().map_or(OWN_FAILURE, code_of_object),
            Self::Error(error) if error.is::<InvalidName>() => USAGE,
            Self::Error(error) => error.downcast_ref().map_or(OWN_FAILURE, code_of_object),
        }
    }

    fn say(&self) {
        match self {
            Self::ClosedPipe | Self::Incomplete | Self::Command(_) => {}
            // A mistake; nobody may be reading stderr.
            Self::CommandLine(message) => drop(message.print()),
            Self::Usage(text) | Self::Wrong(text) | Self::NotRunnable { message: text, .. } => {
                output::warn(text);
            }
            Self::Objects(errors) => errors.iter().for_each(|error| match error {
                // The library's advice is for programs.
                OpenError::NotFound { object } => output::warn(&format!("{object} does not exist")),
                error => output::warn(&with_causes(error)),
            }),
            Self::Error(error) => output::warn(&with_causes(error.as_ref())),
        }
    }
}

fn code_of_object(error: &OpenError) -> u8 {
    match error {
        OpenError::InvalidName { .. } => USAGE,
        OpenError::NotFound { .. } => NO_SUCH_OBJECT,
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
pub fn report(outcome: Result<(), Failure>) -> ExitCode {
    let outcome = match outcome {
        // Help is a result.
        Err(Failure::CommandLine(message)) if !message.use_stderr() => output::help(&message),
        other => other,
    };
    let code = match outcome {
        Ok(()) => SUCCESS,
        Err(failure) => {
            failure.say();
            failure.code()
        }
    };
    code.into()
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

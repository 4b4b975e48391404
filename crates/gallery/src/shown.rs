//! What the demos show in one manner: who is at work, what a worker says, and what must hold in the end.

use procession::Team;
use procession_terminal::exit::{Failure, with_causes};
use procession_terminal::output;
use std::error::Error;
use std::fmt::Display;

/// What a worker returns. Whatever error it meets crosses to the parent, with its causes.
pub(crate) type Done<T> = Result<T, Box<dyn Error>>;

/// What the parent makes of the error of a function that workers call, too.
pub(crate) fn failed(error: Box<dyn Error>) -> Failure {
    Failure::Wrong(with_causes(&*error))
}

/// A line on stdout, from a worker. If nobody reads, the parent will notice.
pub(crate) fn say(text: impl Display) {
    drop(output::line(text));
}

/// Says who they are: for those who want to watch them, or to kill one.
pub(crate) fn introduce<R>(team: &Team<R>) -> Result<(), Failure> {
    let names: Vec<_> = team.members().map(|it| format!("{} (pid {})", it.name(), it.pid())).collect();
    output::line(format_args!("here are {}", names.join(", ")))
}

/// The check at the end of a demo.
pub(crate) fn must_hold(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Wrong(format!("this must not happen: {otherwise}"))) }
}

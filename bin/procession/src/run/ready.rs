//! When the workers of one `procession run` are ready: each sets an event of its own, and when all have done so, this
//! program sets the one that others wait for. It is this process's, and so is cleared by its death.

use procession::{Attempt, Event};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::BTreeSet;

/// The variable in which a worker finds the name of its event.
pub(super) const READY: &str = "PROCESSION_READY";

/// Reads `event:NAME`.
pub(super) fn event_name(text: &str) -> Result<String, String> {
    match text.strip_prefix("event:") {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err("write event:NAME".to_owned()),
    }
}

/// The event of this worker, which has not set it yet; its name.
///
/// # Errors
/// When no object can be made.
pub(super) fn event_of(attempt: &Attempt) -> Result<String, Failure> {
    let name = format!("run-{}-{}-ready", std::process::id(), attempt.rank());
    let event = Event::options().ephemeral().open_or_create(&name)?;
    // The worker that had this rank before may have set it.
    event.clear();
    attempt.ready_by(event);
    Ok(name)
}

/// Which workers are ready, and the event that says when all are.
pub(super) struct Readiness {
    all_are_ready: Event,
    ready: BTreeSet<usize>,
    number: usize,
}

impl Readiness {
    /// Opens the event, which is clear until `number` workers are ready.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub(super) fn new(name: &str, number: usize) -> Result<Self, Failure> {
        let all_are_ready = Event::open_or_create(name)?;
        all_are_ready.clear();
        Ok(Self { all_are_ready, ready: BTreeSet::new(), number })
    }

    pub(super) fn is_ready(&mut self, rank: usize) {
        self.ready.insert(rank);
        if self.ready.len() == self.number
            && let Err(error) = self.all_are_ready.set_owned()
        {
            output::warn(&format!("all workers are ready, and nobody is told: {error}"));
        }
    }

    pub(super) fn has_ended(&mut self, rank: usize) {
        if self.ready.remove(&rank) {
            self.all_are_ready.clear();
        }
    }
}

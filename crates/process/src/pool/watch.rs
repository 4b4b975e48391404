//! Whom the pool's thread watches while it sleeps.

use super::crew::Crew;
use crate::process::Process;
use procession_sys::Deadline;
use procession_sys::clock::now_ns;
use std::sync::Arc;
use std::time::Duration;

/// Workers ring one time after the other if it is less than this between two times.
const QUICK_NS: u64 = 200_000;
/// How often it is asked whether a descriptor is still what it was.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A worker that the pool's thread watches.
pub(crate) struct Watched {
    pub(crate) place: usize,
    pub(crate) process: Arc<Process<()>>,
    /// Whether it can be polled. One whose descriptor the program has closed is asked about in each slice.
    pub(crate) is_open: bool,
}

/// Whom the pool's thread watches. That is found out when somebody comes or goes, and now and then, because
/// the program may close descriptors.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) workers: Vec<Watched>,
    changes_of_staff: Option<u64>,
    look_again: Option<Deadline>,
    /// When the bell was rung the last time, and whether that was soon after the time before.
    rung: (u64, bool),
}

impl Watch {
    pub(crate) fn look_at(&mut self, crew: &Crew) {
        let is_same = self.changes_of_staff == Some(crew.changes_of_staff);
        if is_same && self.look_again.is_some_and(|when| !when.has_passed()) {
            return;
        }
        let there = crew.workers.iter().enumerate();
        let watched = there.filter_map(|(place, worker)| {
            let process = Arc::clone(&worker.as_ref()?.process);
            Some(Watched { place, is_open: process.end().is_some(), process })
        });
        self.workers = watched.collect();
        self.changes_of_staff = Some(crew.changes_of_staff);
        self.look_again = Some(Deadline::after(LOOK_AGAIN));
    }

    pub(crate) fn note_bell(&mut self, is_rung: bool) {
        let now = now_ns();
        let is_soon = is_rung && now.saturating_sub(self.rung.0) < QUICK_NS;
        self.rung = (if is_rung { now } else { self.rung.0 }, is_soon);
    }

    /// Whether workers ring one time after the other.
    pub(crate) fn is_quick(&self) -> bool {
        self.rung.1
    }
}

//! Orders that `procession ctl` gives to a `map` that has a name.

use super::engine::Engine;
use super::progress::Counts;
use crate::steer::{Status, Wish};
use procession_terminal::output;

impl Engine<'_> {
    /// Carries out the orders that have come.
    pub(super) fn take_orders(&mut self) {
        // Taken out for as long as they are carried out on what it is a part of.
        let Some(steering) = self.steering.take() else { return };
        steering.take(|wish, from| {
            if let Some(done) = self.carry_out(wish)? {
                self.progress.aside(|| output::warn(&format!("{done}, by order of process {from}")));
            }
            Ok(self.status())
        });
        self.steering = Some(steering);
    }

    /// What was done, in words; why nothing was.
    fn carry_out(&mut self, wish: &Wish) -> Result<Option<String>, String> {
        let done = match wish {
            Wish::Status => return Ok(None),
            Wish::Jobs(jobs) => {
                self.slots = *jobs;
                let jobs = if *jobs == u32::MAX { "as many as can be".to_owned() } else { jobs.to_string() };
                format!("jobs at once: {jobs}")
            }
            Wish::Pause => {
                self.paused = true;
                "no more jobs are started".to_owned()
            }
            Wish::Resume => {
                self.paused = false;
                "jobs are started again".to_owned()
            }
            Wish::Stop { now } => {
                self.left_some |= !self.stopping && (!self.retries.is_empty() || !self.has_no_more_inputs());
                if *now {
                    self.stop_now()
                } else {
                    self.stop()
                }
                "stopping".to_owned()
            }
            Wish::Restart { .. } => {
                return Err("a map has jobs and no workers: only a run can restart".to_owned());
            }
            Wish::Signal { workers, .. } if !workers.is_empty() => {
                return Err("a map has jobs and no ranks: a signal goes to all of them".to_owned());
            }
            Wish::Signal { signal, .. } => {
                self.tell_all(*signal);
                format!("{} to all jobs", procession_sys::signals::words(*signal))
            }
        };
        Ok(Some(done))
    }

    fn status(&self) -> Status {
        let Counts { running, succeeded, failed, skipped, total } = self.counts();
        let jobs = (self.slots != u32::MAX).then_some(self.slots);
        let (paused, stopping) = (self.paused, self.stopping);
        Status::Map { jobs, running, succeeded, failed, skipped, total, paused, stopping }
    }
}

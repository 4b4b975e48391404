//! Signals to this process, and jobs that are to end before they are done.

use super::engine::{Engine, Finished};
use super::job::Told;
use super::progress;
use super::quote;
use crate::duration::age;
use procession_sys::Deadline;
use procession_sys::clock::now_ns;
use procession_sys::signals as sig;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// How hard jobs are asked to end: by SIGINT, by SIGTERM with SIGKILL after a while, by SIGKILL.
const INTERRUPTED: u8 = 1;
const TERMINATED: u8 = 2;
const KILLED: u8 = 3;

impl Engine<'_> {
    /// Takes the signals that have come.
    pub(super) fn take_signals(&mut self) -> Result<(), Failure> {
        while let Some(taken) = self.inbox.take(Deadline::PASSED) {
            match taken.signal {
                sig::SIGCHLD => self.take_exit_statuses()?,
                sig::SIGUSR1 => self.progress.aside(|| self.list_running()),
                sig::SIGINT => self.ask_to_end(sig::SIGINT, INTERRUPTED),
                sig::SIGTERM | sig::SIGHUP | sig::SIGQUIT => self.ask_to_end(taken.signal, TERMINATED),
                sig::SIGTSTP => self.pause(),
                sig::SIGWINCH => {}
                // Those that are stopped go on, when this process does.
                signal => self.tell_all(signal),
            }
        }
        Ok(())
    }

    pub(super) fn tell_all(&self, signal: i32) {
        self.running.values().for_each(|running| running.tell(signal));
    }

    /// Stops, and all jobs with this process; their time does not pass meanwhile.
    fn pause(&mut self) {
        self.tell_all(sig::SIGTSTP);
        let before = now_ns();
        self.inbox.let_act(sig::SIGTSTP);
        let paused = now_ns() - before;
        for running in self.running.values_mut() {
            running.until = running.until.saturating_add(paused);
        }
        let later = std::mem::take(&mut self.retries).into_iter();
        self.retries = later.map(|((at, seq), job)| ((at.saturating_add(paused), seq), job)).collect();
        self.tell_all(sig::SIGCONT);
    }

    /// Somebody asks for the end; who asks again means it more.
    fn ask_to_end(&mut self, signal: i32, at_least: u8) {
        self.asked = (self.asked + 1).max(at_least).min(KILLED);
        self.asked_by.get_or_insert(signal);
        self.stop();
        self.progress.aside(|| {
            self.list_running();
            if !self.running.is_empty() && self.asked < KILLED {
                let next =
                    if self.asked == INTERRUPTED { "SIGTERM, a third time SIGKILL" } else { "SIGKILL" };
                output::warn(&format!("waiting for jobs to end; once more sends {next}"));
            }
        });
        let (asked, patience) = (self.asked, self.plan.kill_after);
        if asked > INTERRUPTED {
            let ends = now_ns().saturating_add(if asked == KILLED { 0 } else { patience });
            self.prints_until = self.prints_until.min(ends);
        }
        for running in self.running.values_mut() {
            running.stopped = true;
            match asked {
                INTERRUPTED => {
                    running.tell(signal);
                    running.tell(sig::SIGCONT);
                }
                TERMINATED => running.ask_to_end(patience),
                _ => running.kill(),
            }
        }
    }

    /// Starts no more jobs; those that would be tried again have failed.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for (job, outcome) in std::mem::take(&mut self.retries).into_values() {
            // One that could not be started for want of room has not failed.
            if job.attempt > 0 {
                self.tally.count(outcome, || format!("job {}: {}", job.seq, outcome.words()));
            }
            self.finish_in_order(job.seq, Finished::default());
        }
    }

    /// Starts no more jobs, and ends those that run.
    pub(super) fn stop_now(&mut self) {
        self.stop();
        let patience = self.plan.kill_after;
        for running in self.running.values_mut().filter(|running| running.told == Told::Nothing) {
            running.stopped = true;
            running.ask_to_end(patience);
        }
    }

    fn list_running(&self) {
        output::warn(&progress::line(self.counts(), None));
        let now = now_ns();
        for running in self.running.values() {
            let since = age(Duration::from_nanos(now.saturating_sub(running.began_at)));
            let (pid, slot, seq) = (running.pid, running.slot, running.job.seq);
            let command = quote::short(&running.command);
            let command = output::printable(&command);
            output::warn(&format!("  job {seq} in slot {slot}, pid {pid}, for {since}: {command}"));
        }
    }
}

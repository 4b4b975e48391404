//! What is done about jobs that have ended: tried again, or logged, counted and printed.

use super::engine::{Engine, Finished};
use super::job::Running;
use super::joblog::Line;
use super::output::{self, Prefix, Stream};
use super::plan::Mode;
use super::record::{MOST_OUTPUT, Outcome, Texts, of_job};
use super::spool::{Said, Spool};
use super::{job, quote};
use procession_sys::clock::now_ns;
use procession_sys::pidfd::{Ended, Who, find_ended, reap};
use procession_sys::signals as sig;
use procession_terminal::exit::Failure;

impl Engine<'_> {
    /// Takes the exit statuses of those that have ended. A process has other children than its jobs if it was executed
    /// by one that had children, and the first process of a container gets all orphans.
    pub(super) fn take_exit_statuses(&mut self) -> Result<(), Failure> {
        loop {
            let (pid, ended) = match find_ended() {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                Err(_) if self.running.is_empty() => return Ok(()),
                Err(error) => {
                    return Err(Failure::Error(format!("nobody knows how the jobs ended: {error}").into()));
                }
            };
            let running = self.running.remove(&pid);
            if let Some(running) = running.as_ref().filter(|running| self.leaves_nothing(running, ended)) {
                // As long as the status is not taken, the pid is the group's.
                running.tell(sig::SIGKILL);
            }
            reap(Who::Pid(pid))?;
            if let Some(running) = running {
                self.finish(running, ended)?;
            }
        }
    }

    /// Whether what the job has started, and what did not end with it, is killed: it was told to end, too.
    fn leaves_nothing(&self, running: &Running, ended: Ended) -> bool {
        running.told != job::Told::Nothing || self.plan.has_timed_out(ended)
    }

    fn finish(&mut self, mut running: Running, ended: Ended) -> Result<(), Failure> {
        self.free(running.slot);
        running.timed_out |= self.plan.has_timed_out(ended);
        let outcome = Outcome::of(&running, ended);
        for capture in &mut running.captures {
            self.strays.extend(capture.end(&mut self.spool, &mut self.printer)?);
        }
        let again = self.plan.retry.after(outcome.code, running.job.attempt);
        match again.filter(|_| !outcome.is_success() && !self.stopping) {
            Some(delay) => {
                let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
                let at = now_ns().saturating_add(delay);
                for capture in running.captures {
                    self.spool.forget(capture.said).map_err(|error| output::lost(&error))?;
                }
                self.retries.insert((at, running.job.seq), (running.job, outcome));
                Ok(())
            }
            None => self.settle(running, outcome),
        }
    }

    /// The job is not tried again.
    pub(super) fn settle(&mut self, mut running: Running, outcome: Outcome) -> Result<(), Failure> {
        if running.pid == 0 {
            // It was never started.
            self.free(running.slot);
        }
        // Who was ended by this process is not done.
        if let Some(log) = self.kept.log.as_mut().filter(|_| !outcome.stopped) {
            let received = running.captures.first().map_or(0, |capture| capture.bytes);
            let command = quote::line(&running.command);
            let Outcome { exit, signal, ran_ns, .. } = outcome;
            let (seq, began_ns, hash) = (running.job.seq, running.began, running.job.hash);
            log.write(&Line { seq, began_ns, ran_ns, received, exit, signal, command: &command, hash })?;
        }
        self.tally.count(outcome, || {
            format!("job {}, {}: {}", running.job.seq, quote::short(&running.command), outcome.words())
        });
        let captures = std::mem::take(&mut running.captures);
        let said =
            captures.into_iter().map(|capture| (capture.stream, capture.said, capture.prefix)).collect();
        let finished = match self.plan.mode {
            Mode::Records => self.record(&running, outcome, said)?,
            _ => Finished { parts: said, record: None },
        };
        self.finish_in_order(running.job.seq, finished);
        self.halt_if_reached();
        Ok(())
    }

    fn record(
        &mut self,
        running: &Running,
        outcome: Outcome,
        said: Vec<(Stream, Said, Prefix)>,
    ) -> Result<Finished, Failure> {
        let mut texts = Texts::default();
        for (stream, said, _) in said {
            let (text, is_cut) = text(&mut self.spool, said).map_err(|error| output::lost(&error))?;
            texts.truncated |= is_cut;
            *if stream == Stream::Out { &mut texts.stdout } else { &mut texts.stderr } = text;
        }
        let mut line = serde_json::to_vec(&of_job(running, outcome, &texts))?;
        line.push(b'\n');
        Ok(Finished { parts: Vec::new(), record: Some(line) })
    }

    /// Prints what a job has said, at once or when its turn has come.
    pub(super) fn finish_in_order(&mut self, seq: u64, finished: Finished) {
        if !self.plan.keep_order {
            return self.print(finished);
        }
        self.ended.insert(seq, finished);
        while let Some(finished) = self.ended.remove(&self.turn) {
            self.turn += 1;
            self.print(finished);
        }
    }

    fn print(&mut self, finished: Finished) {
        for (stream, said, prefix) in finished.parts {
            self.printer.print_said(stream, said, prefix);
        }
        if let Some(record) = finished.record {
            self.printer.print(Stream::Out, record);
        }
    }

    /// Starts no more jobs if `--halt` says so.
    pub(super) fn halt_if_reached(&mut self) {
        let total = self.inputs.total();
        let is_reached = self.plan.halt.is_reached(self.tally.failed, self.tally.succeeded, total);
        if self.stopping || !is_reached {
            return;
        }
        self.tally.halted = true;
        if self.plan.halt.is_now() {
            self.stop_now();
        } else {
            self.stop();
        }
    }
}

/// What was said as text, cut where it is too long; whether it was.
fn text(spool: &mut Spool, mut said: Said) -> std::io::Result<(String, bool)> {
    let mut bytes = Vec::new();
    while bytes.len() < MOST_OUTPUT
        && let Some(more) = spool.take(&mut said)?
    {
        bytes.extend(more);
    }
    let is_cut = !said.is_empty() || bytes.len() > MOST_OUTPUT;
    spool.forget(said)?;
    bytes.truncate(MOST_OUTPUT);
    Ok((String::from_utf8_lossy(&bytes).into_owned(), is_cut))
}

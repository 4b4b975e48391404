//! Orders that `procession ctl` gives to a `run` that has a name.

use super::crew::{Crew, Running};
use super::story::Story;
use super::workers::Workers;
use crate::steer::{Status, Wish, Worker};
use procession_sys::signals;
use procession_terminal::output;

impl Crew<'_> {
    /// Does what is wished; how things are then.
    ///
    /// # Errors
    /// Why it was not done.
    pub(super) fn carry_out(&self, wish: &Wish, from: u32, story: &mut Story<'_>) -> Result<Status, String> {
        let done = match wish {
            Wish::Status => return Ok(self.status()),
            Wish::Stop { now } => {
                story.is_stopped();
                self.handle.stop();
                if *now {
                    self.tell_all(signals::SIGKILL);
                }
                "stopping".to_owned()
            }
            Wish::Restart { workers } => {
                let ranks = self.meant(workers)?;
                for &rank in &ranks {
                    story.is_replaced(rank);
                    self.handle.restart(rank);
                }
                format!("{} restarted", self.of(&ranks))
            }
            Wish::Signal { signal, workers } => {
                let ranks = self.meant(workers)?;
                let told = self.running.iter().filter(|(_, worker)| ranks.contains(&worker.rank));
                told.for_each(|(&pid, worker)| worker.tell(pid, *signal));
                format!("{} to {}", signals::words(*signal), self.of(&ranks))
            }
            Wish::Jobs(_) | Wish::Pause | Wish::Resume => {
                return Err(
                    "a run has workers and no jobs: `signal TSTP` and `signal CONT` stop them for a while"
                        .to_owned(),
                );
            }
        };
        output::warn(&format!("{done}, by order of process {from}"));
        Ok(self.status())
    }

    /// The ranks that are meant, or all.
    fn meant(&self, words: &[String]) -> Result<Vec<usize>, String> {
        if words.is_empty() {
            return Ok((0..self.workers.number() as usize).collect());
        }
        let meant = words.iter().map(|word| self.workers.meant_by(word)).collect::<Result<Vec<_>, _>>()?;
        Ok(meant.concat())
    }

    /// `rank 1`, `ranks 0, 3`, `web.1, clock`.
    fn of(&self, ranks: &[usize]) -> String {
        let called =
            ranks.iter().map(|&rank| self.workers.name(rank).map_or(rank.to_string(), str::to_owned));
        let called: Vec<_> = called.collect();
        let what = match (&self.workers, called.len()) {
            (Workers::Named(_), _) => "",
            (Workers::Alike { .. }, 1) => "rank ",
            (Workers::Alike { .. }, _) => "ranks ",
        };
        format!("{what}{}", called.join(", "))
    }

    fn status(&self) -> Status {
        let name = |rank| self.workers.name(rank).map(str::to_owned);
        let running = self.running.iter();
        let running = running.map(|(&pid, &Running { rank, .. })| Worker { rank, pid, name: name(rank) });
        let mut workers: Vec<_> = running.collect();
        workers.sort_unstable();
        Status::Run { number: self.workers.number(), workers }
    }
}

//! Orders that `procession ctl` gives to a `run` that has a name.

use super::crew::Crew;
use super::story::Story;
use crate::passed_on::tell_group;
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
            Wish::Restart { ranks } => {
                let ranks = self.meant(ranks)?;
                for &rank in &ranks {
                    story.is_replaced(rank);
                    self.handle.restart(rank);
                }
                format!("{} restarted", of(&ranks))
            }
            Wish::Signal { signal, ranks } => {
                let ranks = self.meant(ranks)?;
                let told = self.running.iter().filter(|(_, worker)| ranks.contains(&worker.rank));
                told.for_each(|(&pid, _)| tell_group(pid, *signal));
                format!("{} to {}", signals::words(*signal), of(&ranks))
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

    /// The ranks that are named, or all.
    fn meant(&self, ranks: &[u32]) -> Result<Vec<usize>, String> {
        let number = self.args.number;
        if let Some(rank) = ranks.iter().find(|&&rank| rank >= number) {
            return Err(format!("there is no rank {rank}: they are 0 to {}", number - 1));
        }
        let all = 0..number;
        let meant = if ranks.is_empty() { all.collect() } else { ranks.to_vec() };
        Ok(meant.into_iter().map(|rank| rank as usize).collect())
    }

    fn status(&self) -> Status {
        let running = self.running.iter().map(|(&pid, worker)| Worker { rank: worker.rank, pid });
        let mut workers: Vec<_> = running.collect();
        workers.sort_unstable();
        Status::Run { number: self.args.number, workers }
    }
}

/// `rank 1`, `ranks 0, 3`.
fn of(ranks: &[usize]) -> String {
    let named: Vec<_> = ranks.iter().map(usize::to_string).collect();
    format!("{} {}", if named.len() == 1 { "rank" } else { "ranks" }, named.join(", "))
}

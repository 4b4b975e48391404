//! What the workers of one `procession run` are: N of one command, or those of a Procfile.

use super::RunArgs;
use super::procfile::{self, Named};
use crate::program::check;
use procession_terminal::exit::Failure;
use std::ffi::OsString;

/// More than that no machine bears.
pub(super) const MOST: u32 = 100_000;

/// All workers, by rank.
#[derive(Debug)]
pub(super) enum Workers<'a> {
    Alike { number: u32, command: &'a [OsString] },
    Named(Vec<Named>),
}

impl<'a> Workers<'a> {
    /// Those that are asked for, whose commands can be run.
    ///
    /// # Errors
    /// [`Failure::Usage`], [`Failure::NotRunnable`], or why the Procfile cannot be read.
    pub(super) fn of(args: &'a RunArgs) -> Result<Self, Failure> {
        let Some(file) = &args.procfile else {
            if !args.formation.is_empty() {
                return Err(Failure::Usage("--formation is for the processes of a --procfile".to_owned()));
            }
            if let Some(word) = args.command.first().filter(|word| word.as_encoded_bytes().starts_with(b"-"))
            {
                let word = word.display();
                return Err(Failure::Usage(format!(
                    "`run` has no option {word}; if that is the command, write ./{word}"
                )));
            }
            check(&args.command)?;
            return Ok(Self::Alike { number: args.number.unwrap_or(1), command: &args.command });
        };
        let named = procfile::workers(file, &args.formation)?;
        check(&named[0].command)?;
        Ok(Self::Named(named))
    }

    pub(super) fn number(&self) -> u32 {
        match self {
            Self::Alike { number, .. } => *number,
            // There are no more than `MOST`.
            Self::Named(workers) => workers.len() as u32,
        }
    }

    pub(super) fn command(&self, rank: usize) -> &[OsString] {
        match self {
            Self::Alike { command, .. } => command,
            Self::Named(workers) => &workers[rank].command,
        }
    }

    /// The name that a worker has by a Procfile.
    pub(super) fn name(&self, rank: usize) -> Option<&str> {
        match self {
            Self::Alike { .. } => None,
            Self::Named(workers) => workers.get(rank).map(|worker| &*worker.name),
        }
    }

    /// What people call it: `rank 1`, `web.1`.
    pub(super) fn called(&self, rank: usize) -> String {
        self.name(rank).map_or_else(|| format!("rank {rank}"), str::to_owned)
    }

    /// As [`called`](Self::called), and as long for all.
    pub(super) fn aligned(&self, rank: usize) -> String {
        let ranks = 0..self.number() as usize;
        let longest = match self {
            Self::Alike { .. } => ranks.last().map(|rank| self.called(rank).len()),
            Self::Named(_) => ranks.map(|rank| self.called(rank).len()).max(),
        };
        format!("{:<width$}", self.called(rank), width = longest.unwrap_or(0))
    }

    /// What a worker finds in its environment because of its name: what foreman gives to it.
    pub(super) fn variables(&self, rank: usize) -> Vec<(&'static str, Option<String>)> {
        match self {
            Self::Alike { .. } => Vec::new(),
            Self::Named(workers) => {
                let Named { of, instance, port, .. } = &workers[rank];
                vec![("PORT", Some(port.to_string())), ("PS", Some(format!("{of}.{instance}")))]
            }
        }
    }

    /// The ranks that are meant by a word: a rank, the name of a worker, or what several are one of.
    ///
    /// # Errors
    /// That there is none, in words.
    pub(super) fn meant_by(&self, word: &str) -> Result<Vec<usize>, String> {
        let number = self.number() as usize;
        if let Ok(rank) = word.parse::<usize>() {
            let last = number - 1;
            let is_there = (rank < number).then(|| vec![rank]);
            return is_there.ok_or_else(|| format!("there is no rank {rank}: they are 0 to {last}"));
        }
        let Self::Named(workers) = self else { return Err(format!("{word:?} is no rank")) };
        let is_meant = |worker: &Named| worker.name == word || worker.of == word;
        let ranks: Vec<usize> = (0..number).filter(|&rank| is_meant(&workers[rank])).collect();
        if ranks.is_empty() { Err(format!("there is no worker {word:?}")) } else { Ok(ranks) }
    }
}

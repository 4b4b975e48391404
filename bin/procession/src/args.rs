//! What can be typed.

use crate::collect::CollectArgs;
use crate::deadlocks::DeadlocksArgs;
use crate::inspect::InspectArgs;
use crate::keeper::KeeperArgs;
use crate::list::ListArgs;
use crate::lock::LockArgs;
use crate::processes::ProcessesArgs;
use crate::remove::RemoveArgs;
use crate::run::{RunArgs, WorkerArgs};
use crate::sem::SemArgs;
use crate::with::WithArgs;
use clap::{Parser, Subcommand};
use procession::{InvalidName, Namespace};
use std::ffi::OsString;

/// Separate processes that coordinate through shared memory and survive kill -9.
#[derive(Debug, Parser)]
#[command(name = "procession", version, after_help = EXAMPLES, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The namespace of the objects; otherwise what PROCESSION_NAMESPACE says, or `default`.
    #[arg(short = 'N', long, global = true, value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<Namespace>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "demo")]
    Demo(procession_gallery::Args),
    #[command(flatten)]
    Quick(Quick),
    Run(RunArgs),
    Ls(ListArgs),
    Inspect(InspectArgs),
    Ps(ProcessesArgs),
    Rm(RemoveArgs),
    Gc(CollectArgs),
    Deadlocks(DeadlocksArgs),
    Help(HelpArgs),
    #[command(name = "__worker", hide = true)]
    Worker(WorkerArgs),
    #[cfg(feature = "demo")]
    #[command(name = procession_gallery::BROOM, hide = true)]
    Broom(procession_gallery::Broom),
}

/// The command line of those subcommands that are to begin quickly: it is read without the others', of which there are
/// many.
#[derive(Debug, Parser)]
#[command(name = "procession", version, disable_help_subcommand = true)]
pub(crate) struct QuickCli {
    /// The namespace of the objects; otherwise what PROCESSION_NAMESPACE says, or `default`.
    #[arg(short = 'N', long, global = true, value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<Namespace>,

    #[command(subcommand)]
    pub(crate) command: Quick,
}

/// The subcommands that are to begin quickly.
#[derive(Debug, Subcommand)]
pub(crate) enum Quick {
    Lock(LockArgs),
    With(WithArgs),
    Sem(SemArgs),
    #[command(name = "__keeper", hide = true)]
    Keeper(KeeperArgs),
}

impl Quick {
    /// The command line, if it asks for one of them; `lock NAME` is short for `lock run NAME`, and so with `sem`.
    pub(crate) fn asked_for(words: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
        let mut words: Vec<OsString> = words.into_iter().collect();
        let command = behind_namespace(&words, 1);
        let verbs: &[&str] = match words.get(command)?.to_str()? {
            "lock" => &["run", "acquire", "release", "test", "break", "-h", "--help"],
            "sem" => &["run", "acquire", "release", "test", "resize", "-h", "--help"],
            "with" | "__keeper" => return Some(words),
            _ => return None,
        };
        let verb = behind_namespace(&words, command + 1);
        if words.get(verb).is_some_and(|word| !word.to_str().is_some_and(|word| verbs.contains(&word))) {
            words.insert(verb, "run".into());
        }
        Some(words)
    }
}

/// The place of the first word from `place` on that does not belong to the option that says the namespace.
fn behind_namespace(words: &[OsString], mut place: usize) -> usize {
    while let Some(word) = words.get(place).and_then(|word| word.to_str()) {
        match word {
            "-N" | "--namespace" => place += 2,
            _ if word.starts_with("-N") || word.starts_with("--namespace=") => place += 1,
            _ => break,
        }
    }
    place
}

/// Say more about a subcommand, or list the exit codes: `help exit-codes`.
#[derive(Debug, clap::Args)]
pub(crate) struct HelpArgs {
    /// The subcommand, or `exit-codes`.
    pub(crate) about: Vec<String>,
}

fn namespace(name: &str) -> Result<Namespace, InvalidName> {
    Namespace::new(name)
}

const EXAMPLES: &str = "\
Examples:
  procession lock deploy -- make deploy      one at a time, on this machine
  procession sem net -c 4 -- curl …          four at a time
  procession demo                            what there is to see
  procession demo word-count --top 5 src     count words with one process per CPU
  procession run -n 4 -- sh -c 'echo $RANK of $WORLD_SIZE'
  procession ls --all                        every object of yours, in every namespace
  procession inspect deploy                  who holds it, and who waits for it
  procession gc --all                        remove what dead processes left behind
  procession deadlocks                       who waits for whom in a circle

Exit codes (`procession help exit-codes` lists all):
  0 done   1 a result is wrong or incomplete   2 wrong usage   66 no such object
  75 not acquired   77 not permitted   125 procession itself failed   126, 127 the
  command cannot be run, was not found   128+n ended by signal n (130 after
  Ctrl-C, 141 when nobody reads the result)";

#[cfg(test)]
mod tests {
    use super::Quick;

    #[test]
    fn what_is_short_for_run_is_found() {
        let read = |line: &str| {
            let words = Quick::asked_for(line.split(' ').map(Into::into))?;
            Some(words.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" "))
        };
        let is = |line: &str, meaning: &str| assert_eq!(read(line).as_deref(), Some(meaning));
        is("p lock deploy -- true", "p lock run deploy -- true");
        is("p lock -n deploy -- true", "p lock run -n deploy -- true");
        is("p -N lock sem net -c 4", "p -N lock sem run net -c 4");
        is("p --namespace=a lock -Nb deploy", "p --namespace=a lock -Nb run deploy");
        is("p lock -N a acquire deploy", "p lock -N a acquire deploy");
        is("p lock test deploy", "p lock test deploy");
        is("p lock run test -- true", "p lock run test -- true");
        is("p lock", "p lock");
        is("p sem --help", "p sem --help");
        is("p with lock:a", "p with lock:a");
        for other in ["p", "p run lock", "p -N lock", "p ls"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

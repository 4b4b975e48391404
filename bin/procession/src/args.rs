//! What can be typed.

use crate::collect::CollectArgs;
use crate::deadlocks::DeadlocksArgs;
use crate::inspect::InspectArgs;
use crate::list::ListArgs;
use crate::remove::RemoveArgs;
use crate::run::{RunArgs, WorkerArgs};
use clap::{Parser, Subcommand};
use procession::{InvalidName, Namespace};

/// Separate processes that coordinate through shared memory and survive kill -9.
#[derive(Debug, Parser)]
#[command(name = "procession", version, after_help = EXAMPLES, arg_required_else_help = true)]
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
    Run(RunArgs),
    Ls(ListArgs),
    Inspect(InspectArgs),
    Rm(RemoveArgs),
    Gc(CollectArgs),
    Deadlocks(DeadlocksArgs),
    #[command(name = "__worker", hide = true)]
    Worker(WorkerArgs),
    #[cfg(feature = "demo")]
    #[command(name = procession_gallery::BROOM, hide = true)]
    Broom(procession_gallery::Broom),
}

fn namespace(name: &str) -> Result<Namespace, InvalidName> {
    Namespace::new(name)
}

const EXAMPLES: &str = "\
Examples:
  procession demo                            what there is to see
  procession demo word-count --top 5 src     count words with one process per CPU
  procession run -n 4 -- sh -c 'echo $RANK of $WORLD_SIZE'
  procession ls --all                        every object of yours, in every namespace
  procession inspect deploy                  who holds it, and who waits for it
  procession gc --all                        remove what dead processes left behind
  procession deadlocks                       who waits for whom in a circle

Exit codes:
  0 done   1 a result is wrong or incomplete   2 wrong usage   66 no such object
  77 not permitted   125 procession itself failed   126, 127 the command of `run`
  cannot be run, was not found   128+n ended by signal n (130 after Ctrl-C, 141
  when nobody reads the result)";

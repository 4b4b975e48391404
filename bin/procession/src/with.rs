//! `procession with`: a command that runs while several things are held.

use crate::holding::Target;
use crate::under::{self, CommandArgs, DeathArgs, WaitArgs};
use procession::Namespace;
use procession_terminal::exit::Failure;

/// Run a command while several locks and permits are held: all of them or none.
#[derive(Debug, clap::Args)]
#[command(after_help = WITH_HELP)]
pub(crate) struct WithArgs {
    /// What is to be held: lock:NAME, lock:NAME:shared, sem:NAME, sem:NAME=PERMITS, with commas between.
    #[arg(required = true, value_delimiter = ',', value_name = "TARGET,…")]
    targets: Vec<Target>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    deaths: DeathArgs,
    #[command(flatten)]
    command: CommandArgs,
}

const WITH_HELP: &str = "\
Examples:
  procession with lock:db:shared,lock:out,sem:gpu=2 -w 30s -- ./train.sh
  procession with lock:a,lock:b -n -- ./move a b

Nobody waits for one of them while it holds another, so there is no deadlock,
whatever order others have. A semaphore must be there already: `sem -c` makes
it.

Exit codes: that of the command; 65 a holder died (--on-owner-died fail), an
ancestor holds one, or a name is another kind of object; 66 no such semaphore;
75 not acquired (or -E); 124 it ran too long; 125 procession failed; 126, 127 it
cannot be run, was not found; 128+n ended by signal n.";

/// # Errors
/// Those of [`under::run`]; [`Failure::Usage`] when one of them is named twice.
pub(crate) fn run(args: WithArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    let mut targets = args.targets;
    targets.sort();
    if let Some(pair) = targets.windows(2).find(|pair| pair[0].is_of_same_object(&pair[1])) {
        return Err(Failure::Usage(format!("{} and {} are one object", pair[0], pair[1])));
    }
    under::run(targets, &args.wait, &args.command, &args.deaths.on_owner_died, namespace)
}

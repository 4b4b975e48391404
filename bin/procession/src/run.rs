//! `procession run`: N processes of one command, which know their rank and end with this one.
//!
//! A worker is first this program again, as `__worker`: it asks the kernel to be killed when this process
//! ends, looks whether that has happened already, and then executes the command. So a SIGKILL here kills the
//! workers too.

mod program;
mod workers;

use crate::duration::duration;
use crate::program::check;
use procession::Namespace;
use procession_terminal::exit::Failure;
use std::ffi::OsString;
use std::time::Duration;
use workers::Workers;

pub(crate) use program::{WorkerArgs, become_worker};

/// Run a command in N worker processes that know their rank and end with this one.
///
/// Each has RANK (0 to N-1), WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE in its environment, also with
/// PROCESSION_ in front, and shares stdin, stdout and stderr. The workers are killed when this process is
/// killed.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct RunArgs {
    /// How many workers.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    number: u32,
    /// What becomes of the other workers when one fails.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_failure: OnFailure,
    /// How long workers may take to end after the SIGTERM of `--on-failure stop`: 500ms, 1.5, 10s, 2m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum OnFailure {
    /// They go on, and are waited for.
    #[default]
    Wait,
    /// They get SIGTERM, and SIGKILL after the time of `--grace`; no more are started.
    Stop,
}

const RUN_HELP: &str = "\
Examples:
  procession run -n 4 -- sh -c 'echo I am $RANK of $WORLD_SIZE'
  procession -N training run -n 2 --on-failure stop ./train

Signals: what this process gets is passed on to every worker: HUP, INT, QUIT,
TERM, USR1, USR2, ALRM, WINCH, TSTP, CONT, the real-time signals. None of them
ends this process: it waits for its workers. After HUP, INT, QUIT, TERM or ALRM
no more workers are started. What the terminal sends (Ctrl-C, Ctrl-Z) the
workers have already, and is not passed on. Signals that were ignored when this
process was started stay ignored, here and in the workers.

All workers are waited for. Processes that they start, and that outlive them,
are not. Exit code: 0 when every worker was started and ended with 0; otherwise
that of the worker that failed first, 128+n if signal n killed it; 126 or 127
when the command cannot be run or is not found.";

/// # Errors
/// [`Failure::Command`] with the code of the worker that failed first, [`Failure::NotRunnable`], or the
/// kernel's reason why a worker could not be started.
pub(crate) fn run(args: &RunArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    check(&args.command)?;
    let mut workers = Workers::new(args);
    workers.start(namespace)?;
    workers.wait()
}

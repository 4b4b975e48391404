//! `procession run`: N processes of one command, which know their rank, are started again if that is wished, and end
//! with this one.
//!
//! One thread does it all, that of the library's supervisor: it starts the workers, takes signals and exit statuses one
//! by one (`run/crew.rs`), and tells what happens (`run/story.rs`). Only what the workers print, where it does not go
//! straight to where this process prints, passes through a second thread (`run/output.rs`). `run/workers.rs` says what
//! the workers are: N of one command, or those of a `run/procfile.rs`.

mod bind;
mod crew;
mod environment;
mod output;
mod procfile;
mod ready;
mod steered;
mod story;
mod terminal;
mod workers;

use crate::duration::duration;
use crate::passed_on;
use crate::program::keep_closed;
use crate::report::Report;
use crate::steer::Steering;
use bind::Bind;
use clap::builder::FalseyValueParser;
use crew::Crew;
use environment::{Environment, Launcher};
use output::{Outputs, Prefix};
use procession::{Namespace, Restart, RestartScope, Supervisor};
use procession_terminal::exit::Failure;
use procfile::Count;
use ready::event_name;
use std::cell::RefCell;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use story::Story;
use workers::{MOST, Workers};

/// Run a command in N worker processes that know their rank and end with this one.
///
/// Each has RANK (0 to N-1), WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE in its environment, also with PROCESSION_ in
/// front, and PROCESSION_RUN, PROCESSION_ATTEMPT and PROCESSION_RESTARTS. The workers are killed when this process is
/// killed.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_HELP, override_usage = USAGE)]
pub(crate) struct RunArgs {
    /// How many workers.
    #[arg(
        short,
        long,
        value_name = "N",
        required_unless_present = "procfile",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)),
        env = "PROCESSION_NUMBER",
        hide_env = true
    )]
    number: Option<u32>,
    /// Run the processes of this file instead, a line `NAME: COMMAND` for each, by sh. They have PORT and PS as foreman
    /// gives them, what they print has their names before it, and when one ends for good all do, unless --prefix and
    /// --on-exit say otherwise.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["number", "command"], env = "PROCESSION_PROCFILE", hide_env = true)]
    procfile: Option<PathBuf>,
    /// How many of each process of --procfile run: web=2,worker=4; none of those that are not named, unless all=N says
    /// how many.
    #[arg(
        short = 'm',
        long,
        value_name = "NAME=N",
        value_delimiter = ',',
        env = "PROCESSION_FORMATION",
        hide_env = true
    )]
    formation: Vec<Count>,
    /// When a worker that has ended is started again, with the rank it had.
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        env = "PROCESSION_RESTART",
        hide_env = true
    )]
    restart: When,
    /// Whether one is started again alone, or all of them are ended and started again together.
    #[arg(
        long,
        value_enum,
        value_name = "WHOM",
        default_value_t,
        env = "PROCESSION_RESTART_SCOPE",
        hide_env = true
    )]
    restart_scope: Whom,
    /// How often a worker is started again within the time of `--within`; after that all are ended.
    #[arg(long, value_name = "N", default_value_t = 5, env = "PROCESSION_MAX_RESTARTS", hide_env = true)]
    max_restarts: u32,
    /// The time of `--max-restarts`.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, env = "PROCESSION_WITHIN", hide_env = true)]
    within: Duration,
    /// How long to wait before a worker is started again: FIRST, twice as long each time, and LONGEST at the most.
    #[arg(long, value_name = "FIRST..LONGEST", default_value = "100ms..30s", value_parser = back_off, env = "PROCESSION_BACKOFF", hide_env = true)]
    backoff: (Duration, Duration),
    /// How long a worker has run that is as new: after its end the wait is FIRST again. Unless said, twice LONGEST.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "PROCESSION_HEALTHY_AFTER", hide_env = true)]
    healthy_after: Option<Duration>,
    /// Set this event when all workers are ready, and clear it when one of them ends. A worker says that it is ready by
    /// `procession event set $PROCESSION_READY`.
    #[arg(long, value_name = "event:NAME", value_parser = event_name, env = "PROCESSION_RUN_READY", hide_env = true)]
    ready: Option<String>,
    /// What each worker is bound to, by turns.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, env = "PROCESSION_BIND", hide_env = true)]
    bind: Bind,
    /// What becomes of the other workers when one has ended for good. Unless said, wait; with --procfile stop-always.
    #[arg(long, value_enum, value_name = "WHAT", env = "PROCESSION_ON_EXIT", hide_env = true)]
    on_exit: Option<OnExit>,
    /// How long workers may take to end after a SIGTERM of this program, before they get SIGKILL: 500ms, 1.5, 10s, 2m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, env = "PROCESSION_GRACE", hide_env = true)]
    grace: Duration,
    /// Whose exit code becomes this one's: that of the worker that failed first, or the highest.
    #[arg(long, value_enum, value_name = "WHOSE", default_value_t, env = "PROCESSION_EXIT", hide_env = true)]
    exit: Whose,
    /// What stands before each line that a worker prints: `none`, `rank` (`[0] `), `name` (`web | `), or a text with
    /// {rank}, {name}, {size}, {pid} or {attempt} in it. Lines come whole then. Unless said, none; with --procfile name.
    #[arg(long, value_name = "PREFIX", env = "PROCESSION_PREFIX", hide_env = true)]
    prefix: Option<Prefix>,
    /// Also write what each worker prints, as it is, to DIR/RANK.out and DIR/RANK.err; with --procfile NAME.out.
    #[arg(long, value_name = "DIR", env = "PROCESSION_TEE", hide_env = true)]
    tee: Option<PathBuf>,
    /// Give each worker a terminal of its own to print on, as wide as this one: programs print colours, and each line at
    /// once. stdout and stderr are one then.
    #[arg(long, env = "PROCESSION_PTY", hide_env = true, value_parser = FalseyValueParser::new())]
    pty: bool,
    /// Show only what the workers of these ranks print: 0,3.
    #[arg(long, value_name = "RANKS", value_delimiter = ',', env = "PROCESSION_ONLY_RANKS", hide_env = true)]
    only_ranks: Vec<u32>,
    /// Also set the variables by which these launchers tell a worker its rank.
    #[arg(
        long,
        value_enum,
        value_name = "LAUNCHERS",
        value_delimiter = ',',
        env = "PROCESSION_ENV",
        hide_env = true
    )]
    env: Vec<Launcher>,
    /// A name, by which `procession ctl` steers it from another terminal, and which no other has meanwhile.
    #[arg(long, value_name = "NAME", env = "PROCESSION_RUN_NAME", hide_env = true)]
    name: Option<String>,
    /// Write what happens to this file, or to the open descriptor N, each event as a line of JSON.
    #[arg(long, value_name = "FILE|fd:N", env = "PROCESSION_REPORT", hide_env = true)]
    report: Option<Report>,
    /// The command and its arguments.
    #[arg(required_unless_present = "procfile", trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
    /// What else the workers find in their environment.
    #[arg(skip)]
    pub(crate) variables: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum When {
    /// Never.
    #[default]
    Never,
    /// When it has failed: exited with another code than 0, or was ended by a signal.
    OnFailure,
    /// However it ended.
    Always,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Whom {
    /// That one alone.
    #[default]
    Rank,
    /// All of them, for workers that cannot go on with a new one among them.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnExit {
    /// They go on, and are waited for.
    Wait,
    /// If it has failed, they get SIGTERM, and SIGKILL after the time of `--grace`; no more are started.
    Stop,
    /// However it ended, they are ended so.
    StopAlways,
    /// They go on, and a failure does not count: the exit code is 0.
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Whose {
    #[default]
    First,
    Max,
}

const USAGE: &str = "\
procession run -n N [OPTIONS] -- CMD...
       procession run --procfile FILE [OPTIONS]";

const RUN_HELP: &str = "\
Examples:
  procession run -n 4 -- sh -c 'echo I am $RANK of $WORLD_SIZE'
  procession run --procfile Procfile -m web=2,clock=1 --restart on-failure

Signals: what this process gets is passed on to every worker and what it has
started (each worker leads a process group): HUP, INT, QUIT, TERM, USR1, USR2,
ALRM, WINCH, TSTP, CONT, the real-time signals. None of them ends this process:
it waits for its workers. After HUP, INT, QUIT, TERM or ALRM no more workers are
started, also not again. A second INT (Ctrl-C) is followed by SIGTERM, a third
by SIGKILL. Signals that were ignored when this process was started stay
ignored, here and in the workers. Workers share stdin, but for a terminal: they
have /dev/null then, or with --pty their own terminal, at which nobody types.
With --pty what a worker has started gets SIGHUP when that worker ends, or this
process is killed.

All workers are waited for. Processes that they start, and that outlive them,
are not. Who failed first, and why, is the last line on stderr. Exit code: 0
when every worker was started and ended with 0; otherwise that of the worker
that failed first, 128+n if signal n killed it; 126 or 127 when the command
cannot be run or is not found; 2 for wrong usage, 125 when procession failed.";

/// Reads `100ms..30s`.
fn back_off(text: &str) -> Result<(Duration, Duration), String> {
    let (first, longest) = text.split_once("..").ok_or("write FIRST..LONGEST, as 100ms..30s")?;
    let (first, longest) = (duration(first)?, duration(longest)?);
    if first > longest { Err("FIRST is longer than LONGEST".to_owned()) } else { Ok((first, longest)) }
}

/// # Errors
/// [`Failure::Command`] with the code of the worker that failed first, [`Failure::NotRunnable`], or the
/// kernel's reason why a worker could not be started.
pub(crate) fn run(args: &RunArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    let workers = Workers::of(args)?;
    keep_closed();
    // From now on no signal ends this process that is not ignored; and no thread is started before.
    let inbox = passed_on::inbox();
    let signals = inbox.bell()?;
    let steering = args.name.as_deref().map(Steering::claim).transpose()?;
    let outputs = Outputs::open(args, &workers)?;
    let supervisor = supervisor(args, &workers);
    let story = RefCell::new(Story::new(args, &workers, supervisor.handle())?);
    let environment = Environment::new(args, &workers, namespace);
    let crew = RefCell::new(Crew::new(args, &workers, environment, inbox, supervisor.handle(), outputs)?);
    let mut supervisor = supervisor
        .on_event(|event| story.borrow_mut().goes_on(event))
        .attend(signals.as_fd(), || crew.borrow_mut().listen(&mut story.borrow_mut()));
    if let Some(steering) = &steering {
        supervisor = supervisor.attend(steering.fd(), || {
            steering.take(|wish, from| crew.borrow().carry_out(wish, from, &mut story.borrow_mut()));
        });
    }
    let outcome = supervisor.run(|attempt| crew.borrow_mut().start(attempt, &mut story.borrow_mut()));
    let printed = crew.into_inner().end();
    story.into_inner().ends(outcome.map(drop), printed)
}

/// The event that is set when a worker of that run has ended for good while others run on: who waits for all of them
/// waits in vain.
pub(crate) fn ended_event(run: &str) -> String {
    format!("run-{run}-ended")
}

impl RunArgs {
    fn on_exit(&self) -> OnExit {
        // Whoever has a Procfile is used to that.
        let usual = if self.procfile.is_some() { OnExit::StopAlways } else { OnExit::Wait };
        self.on_exit.unwrap_or(usual)
    }

    fn prefix(&self) -> Prefix {
        let usual = || if self.procfile.is_some() { Prefix::name() } else { Prefix::None };
        self.prefix.clone().unwrap_or_else(usual)
    }
}

fn supervisor(args: &RunArgs, workers: &Workers<'_>) -> Supervisor<'static> {
    let restart = match args.restart {
        When::Never => Restart::Never,
        When::OnFailure => Restart::OnFailure,
        When::Always => Restart::Always,
    };
    let scope = match args.restart_scope {
        Whom::Rank => RestartScope::One,
        Whom::All => RestartScope::All,
    };
    let (first, longest) = args.backoff;
    let supervisor = Supervisor::new(workers.number() as usize)
        .restart(restart)
        .restart_scope(scope)
        .max_restarts(args.max_restarts, args.within)
        .back_off(first, longest)
        .grace(args.grace);
    match args.healthy_after {
        Some(time) => supervisor.healthy_after(time),
        None => supervisor,
    }
}

#[cfg(test)]
mod tests {
    use super::back_off;
    use std::time::Duration;

    #[test]
    fn a_back_off_has_a_first_and_a_longest_time() {
        assert_eq!(back_off("1s..1.5m"), Ok((Duration::from_secs(1), Duration::from_secs(90))));
        for text in ["1s", "2s..1s", "..", "1s..x"] {
            assert!(back_off(text).is_err(), "{text}");
        }
    }
}

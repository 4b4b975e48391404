//! What `lock`, `with` and `sem` have in common: a command that runs under one thing or several.

use crate::acquire::{Held, Terms, acquire, environment, fencing_token};
use crate::duration::duration;
use crate::holding::{Quoted, Target, Thing, Wait, refusal};
use crate::keeper::be_called_procession;
use crate::passed_on::{self, code_of};
use crate::report::{Mark, Record, Report};
use crate::wrap::{self, Limits, Outcome, Wrapped};
use clap::builder::FalseyValueParser;
use procession::Namespace;
use procession::shm::{Registration, register};
use procession_sys::Deadline;
use procession_sys::pidfd::Ended;
use procession_sys::signals::Inbox;
use procession_terminal::exit::{DISAGREE, Failure, TIMED_OUT};
use procession_terminal::output;
use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

/// How long to wait for something.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct WaitArgs {
    /// Do not wait: if it is busy, exit with 75.
    #[arg(short = 'n', long, env = "PROCESSION_NONBLOCK", hide_env = true, value_parser = FalseyValueParser::new())]
    nonblock: bool,
    /// Wait at most this long, then exit with 75: 500ms, 1.5, 10s, 2m; 0 is not at all.
    #[arg(short, long, value_name = "TIME", value_parser = duration, env = "PROCESSION_WAIT", hide_env = true)]
    wait: Option<Duration>,
    /// The exit code instead of 75.
    #[arg(short = 'E', long, value_name = "CODE", env = "PROCESSION_CONFLICT_EXIT_CODE", hide_env = true)]
    pub(crate) conflict_exit_code: Option<u8>,
}

impl WaitArgs {
    pub(crate) fn wait(&self) -> Wait {
        match self.wait {
            _ if self.nonblock => Wait::Not,
            Some(Duration::ZERO) => Wait::Not,
            Some(time) => Wait::For(time),
            None => Wait::Ever,
        }
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.wait().deadline()
    }
}

/// The option by which `map --sem` starts each of its jobs.
pub(crate) const SIGNALS_REACH_COMMAND: &str = "--signals-reach-command";

/// Whether `map` has started what has this command line: what that is to do stands there, and the variables of the
/// environment are the job's.
pub(crate) fn is_of_map(words: &[OsString]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == SIGNALS_REACH_COMMAND)
}

/// How long a command may take to end after SIGTERM, unless it is said.
const KILL_AFTER: &str = "10s";

/// What is to be run, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct CommandArgs {
    /// How long the command may run; then it gets SIGTERM, and the exit code is 124.
    #[arg(short, long, value_name = "TIME", value_parser = duration, env = "PROCESSION_TIMEOUT", hide_env = true)]
    pub(crate) timeout: Option<Duration>,
    /// How long it may take to end after that, before it gets SIGKILL.
    #[arg(
        long,
        value_name = "TIME",
        default_value = KILL_AFTER,
        value_parser = duration,
        env = "PROCESSION_KILL_AFTER",
        hide_env = true
    )]
    pub(crate) kill_after: Duration,
    /// Say who is in the way before waiting.
    #[arg(long, env = "PROCESSION_EXPLAIN", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) explain: bool,
    /// Write what became of it to this file, or to the open descriptor N, as one line of JSON.
    #[arg(long, value_name = "FILE|fd:N", env = "PROCESSION_REPORT", hide_env = true)]
    pub(crate) report: Option<Report>,
    /// Say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Who sends this process a signal sends it to the command as well.
    #[arg(long, hide = true)]
    pub(crate) signals_reach_command: bool,
    /// The command and its arguments, behind `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

impl CommandArgs {
    /// A command of which nothing else is said.
    pub(crate) fn without_options(command: Vec<OsString>) -> Self {
        Self {
            timeout: None,
            kill_after: duration(KILL_AFTER).unwrap_or_default(),
            explain: false,
            report: None,
            json: false,
            signals_reach_command: false,
            command,
        }
    }
}

/// What is done when holders have died.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct DeathArgs {
    /// What to do when the last holder of a lock died, or its command was killed: warn, fail (exit with 65), ignore, or
    /// run=CMD: run this first, by the shell.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "warn",
        env = "PROCESSION_ON_OWNER_DIED",
        hide_env = true
    )]
    pub(crate) on_owner_died: OnOwnerDied,
}

/// What is done about a lock whose last holder died, or whose command was killed.
#[derive(Clone, Debug, Default)]
pub(crate) enum OnOwnerDied {
    /// It is said, and the command runs.
    #[default]
    Warn,
    Fail,
    Ignore,
    /// This command of the shell runs first.
    Run(String),
}

impl std::str::FromStr for OnOwnerDied {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "warn" => Ok(Self::Warn),
            "fail" => Ok(Self::Fail),
            "ignore" => Ok(Self::Ignore),
            _ => match text.strip_prefix("run=").filter(|command| !command.is_empty()) {
                Some(command) => Ok(Self::Run(command.to_owned())),
                None => Err("it is one of warn, fail, ignore, run=CMD".to_owned()),
            },
        }
    }
}

/// A failure as it is to be told.
pub(crate) fn told(json: bool, outcome: Result<(), Failure>) -> Result<(), Failure> {
    outcome.map_err(|failure| if json { Failure::InJson(Box::new(failure)) } else { failure })
}

/// Runs the command while all of the targets are held.
///
/// # Errors
/// [`Failure::Refused`] when they were not acquired, or the command took too long; [`Failure::Command`] with the
/// command's code.
pub(crate) fn run(
    targets: Vec<Target>,
    wait: &WaitArgs,
    args: &CommandArgs,
    policy: &OnOwnerDied,
    namespace: Option<&Namespace>,
) -> Result<(), Failure> {
    let mut record = Record::of(&targets);
    let outcome = run_reported(targets, wait, args, policy, namespace, &mut record);
    let reported = args.report.as_ref().map_or(Ok(()), |report| report.write(record.ended(&outcome)));
    told(args.json, outcome.and(reported))
}

fn run_reported(
    targets: Vec<Target>,
    wait: &WaitArgs,
    args: &CommandArgs,
    policy: &OnOwnerDied,
    namespace: Option<&Namespace>,
    record: &mut Record,
) -> Result<(), Failure> {
    if args.signals_reach_command {
        be_called_procession();
    }
    let mut things = targets.into_iter().map(Thing::open).collect::<Result<Vec<Thing>, Failure>>()?;
    let registration = register(&Namespace::current()?)?;
    let terms = Terms {
        wait: wait.wait(),
        code: wait.conflict_exit_code,
        explain: args.explain,
        takes_from_dead: !matches!(policy, OnOwnerDied::Fail),
        command: &args.command,
    };
    let inbox = passed_on::inbox();
    let began = Instant::now();
    let held = acquire(&mut things, terms, &inbox)?;
    let token = fencing_token(&held);
    let owner_died = held.iter().any(|held| held.died.is_some());
    record.acquired(token.map(Mark::Number), owner_died, began.elapsed());
    let mut environment = environment(&held, token);
    if let Some(namespace) = namespace {
        environment.push(("PROCESSION_NAMESPACE", Some(namespace.name().to_owned())));
    }
    let passes_on = !args.signals_reach_command;
    let limits = Limits { time: args.timeout, kill_after: args.kill_after, passes_on };
    let under = Under { environment: &environment, limits, inbox: &inbox, registration };
    let held = under.repair(held, policy)?;
    let outcome = under.run(&args.command)?;
    record.ran(outcome);
    finish(outcome, held, args)
}

/// Says that the last holder died, if it did.
pub(crate) fn warn_of_death(held: &Held) {
    if let Some(pid) = held.died {
        output::warn(&format!(
            "the last holder of {} (pid {pid}) died, or its command was killed: what the lock guards may be half-changed",
            Quoted(&held.target)
        ));
    }
}

/// The same, ready to be used: shared with others, if that was asked for.
pub(crate) fn settled(held: Held) -> Result<Held, Failure> {
    let Held { guard, target, died } = held;
    Ok(Held { guard: guard.settled(&target)?, target, died })
}

/// How commands run while something is held.
#[derive(Clone, Copy)]
struct Under<'a> {
    environment: &'a [(&'a str, Option<String>)],
    limits: Limits,
    inbox: &'a Inbox,
    registration: &'static Registration,
}

impl Under<'_> {
    fn run(&self, command: &[OsString]) -> Result<Outcome, Failure> {
        let Self { environment, limits, inbox, registration } = *self;
        wrap::run(Wrapped { command, environment, limits, stdin: None, is_lost: None }, inbox, registration)
    }

    /// Does what is to be done about holders that died.
    fn repair(&self, held: Vec<Held>, policy: &OnOwnerDied) -> Result<Vec<Held>, Failure> {
        let mut whole = Vec::with_capacity(held.len());
        for one in held {
            if one.died.is_none() {
                whole.push(one);
                continue;
            }
            match policy {
                OnOwnerDied::Run(command) => {
                    // If this fails, the lock goes with this process, and whoever comes next is told, too.
                    let kept = ManuallyDrop::new(one);
                    self.run_repair(command, &kept.target)?;
                    whole.push(settled(ManuallyDrop::into_inner(kept))?);
                }
                OnOwnerDied::Ignore => whole.push(settled(one)?),
                OnOwnerDied::Warn | OnOwnerDied::Fail => {
                    warn_of_death(&one);
                    whole.push(settled(one)?);
                }
            }
        }
        Ok(whole)
    }

    fn run_repair(&self, command: &str, target: &Target) -> Result<(), Failure> {
        let command = ["sh", "-c", command].map(OsString::from);
        let how = match self.run(&command)?.ended {
            Ended::Exited(0) => return Ok(()),
            Ended::Exited(code) => format!("failed with exit code {code}"),
            Ended::Signaled(signal) => {
                format!("was ended by {}", procession_sys::signals::words(signal))
            }
        };
        let message = format!(
            "the last holder of {} died, and the command that was to put things right {how}",
            Quoted(target)
        );
        Err(refusal("owner_died", DISAGREE, message))
    }
}

/// Lets go of what was held, and says how the command ended.
fn finish(outcome: Outcome, held: Vec<Held>, args: &CommandArgs) -> Result<(), Failure> {
    match outcome.ended {
        Ended::Exited(_) => drop(held),
        // What it worked on is half-done: this process ends as a holder, so that the next one is told.
        Ended::Signaled(_) => std::mem::forget(held),
    }
    ended(outcome, args)
}

/// How the command ended, as this process ends.
pub(crate) fn ended(outcome: Outcome, args: &CommandArgs) -> Result<(), Failure> {
    let code = match outcome.ended {
        Ended::Exited(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Ended::Signaled(signal) => code_of(signal),
    };
    match args.timeout.filter(|_| outcome.timed_out) {
        Some(time) => {
            let message = format!("the command ran for longer than {time:?}, and was ended");
            Err(refusal("timed_out", TIMED_OUT, message))
        }
        None if code == 0 => Ok(()),
        None => Err(Failure::Command(code)),
    }
}

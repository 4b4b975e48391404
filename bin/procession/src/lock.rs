//! `procession lock`: a command that runs while a lock is held, and locks that are held without a command.

use crate::acquire::{HELD, OWNER_DIED, TOKEN};
use crate::breaking;
use crate::holding::{Target, Thing};
use crate::in_the_way::InTheWay;
use crate::keeper::{self, KeepArgs};
use crate::under::{self, CommandArgs, DeathArgs, WaitArgs, told};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use procession::Namespace;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Run a command while a lock is held, which goes with this process: `lock NAME -- CMD`.
#[derive(Debug, clap::Args)]
#[command(after_help = LOCK_HELP)]
pub(crate) struct LockArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(RunArgs),
    Acquire(AcquireArgs),
    Release(ReleaseArgs),
    Test(TestArgs),
    Break(BreakArgs),
}

/// Run a command while the lock is held.
#[derive(Debug, clap::Args)]
#[command(after_help = LOCK_HELP)]
pub(crate) struct RunArgs {
    /// The lock; it is made if there is none.
    name: String,
    /// Hold it together with others who share it.
    #[arg(short, long, env = "PROCESSION_SHARED", hide_env = true, value_parser = FalseyValueParser::new())]
    shared: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    deaths: DeathArgs,
    #[command(flatten)]
    command: CommandArgs,
}

/// A variable that says an option begins so.
const VARIABLES: &[u8] = b"PROCESSION_";
/// Variables of that beginning that are no options: what a command finds in its environment.
const NO_OPTIONS: [&str; 4] = ["PROCESSION_NAMESPACE", HELD, TOKEN, OWNER_DIED];

impl RunArgs {
    /// What `NAME -- CMD…` says, where neither a word nor one of these variables of the environment is an option; `None`
    /// if it is anything else.
    ///
    /// To read options takes as long as all the rest of what this process does before it starts the command, and most
    /// locks of scripts have none.
    pub(crate) fn without_options(
        words: &[OsString],
        mut variables: impl Iterator<Item = OsString>,
    ) -> Option<Self> {
        let (name, [dashes, command @ ..]) = words.split_first()? else { return None };
        let name = name.to_str().filter(|name| !name.is_empty() && !name.starts_with('-'))?;
        let is_option = |variable: OsString| {
            variable.as_bytes().starts_with(VARIABLES) && NO_OPTIONS.iter().all(|known| variable != *known)
        };
        if dashes != "--" || command.is_empty() || variables.any(is_option) {
            return None;
        }
        let command = CommandArgs::without_options(command.to_vec());
        let (wait, deaths) = (WaitArgs::default(), DeathArgs::default());
        Some(Self { name: name.to_owned(), shared: false, wait, deaths, command })
    }
}

/// Hold the lock for a process, by default the one that starts this, until `lock release` or until that process ends.
///
/// Exits with 0 once it is held.
#[derive(Debug, clap::Args)]
#[command(after_help = ACQUIRE_HELP)]
struct AcquireArgs {
    /// The lock; it is made if there is none.
    name: String,
    /// Hold it together with others who share it.
    #[arg(short, long, env = "PROCESSION_SHARED", hide_env = true, value_parser = FalseyValueParser::new())]
    shared: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Let go of a lock that `lock acquire` holds.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession lock release nightly\n  procession -N build lock release cache\n\nExit codes: 0 released, 1 not held, 65 held by somebody else, 66 no such lock"
)]
struct ReleaseArgs {
    /// The lock.
    name: String,
}

/// Say by the exit code whether the lock is held.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession lock test deploy && echo free\n  procession lock test deploy --json | jq .holders\n\nExit codes: 0 free, 1 held"
)]
struct TestArgs {
    /// The lock.
    name: String,
    /// Print who holds it, and who waits, as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// Kill those who hold the lock.
///
/// They get SIGKILL, and their commands end with them. Whoever gets the lock next is told that its holder died.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession lock break deploy\n  procession lock break deploy --yes\n\nExit codes: 0 it is free, 2 without --yes, 66 no such lock, 77 not permitted"
)]
struct BreakArgs {
    /// The lock.
    name: String,
    /// Do it; otherwise only say who would be killed.
    #[arg(long)]
    yes: bool,
}

const LOCK_HELP: &str = "\
Examples:
  procession lock deploy -- make deploy
  procession lock cache --shared -w 30s --explain -- ./report

The command's environment has PROCESSION_HELD, a list of what is held,
PROCESSION_TOKEN, a number higher than that of every holder before, and
PROCESSION_OWNER_DIED=1 if the last holder died. Nothing of the lock is
inherited: what the command leaves running does not hold it. Signals are passed
on; the command is killed when this process is killed, and the lock is free
when both are gone.

A lock is a Lock of the library, which programs open by the same name. One that
is first used with --shared is an RwLock. --shared makes an RwLock of a Lock
that nobody uses; one in use is held alone, and a line on stderr says so.

Exit codes: that of the command; 65 its holder died (--on-owner-died fail), or
an ancestor holds it, or the name is another kind of object; 75 not acquired
(or -E); 124 it ran too long; 125 procession failed; 126, 127 it cannot be run,
was not found; 128+n ended by signal n.";

const ACQUIRE_HELP: &str = "\
Examples:
  procession lock acquire nightly -n || exit 0
  procession lock acquire db --shared --owner $(cat server.pid)

A process in the background holds the lock; it has nothing of the caller's but
its environment. If it is killed, the lock's next holder is told.

Exit codes: 0 held, 65 an ancestor holds it or the name is another kind of
object, 75 not acquired (or -E), 125 procession failed.";

/// # Errors
/// Those of [`under::run`].
pub(crate) fn run_command(args: RunArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    let target = Target::Lock { name: args.name, shared: args.shared };
    under::run(vec![target], &args.wait, &args.command, &args.deaths.on_owner_died, namespace)
}

/// # Errors
/// Those of the subcommands.
pub(crate) fn run(args: LockArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    match args.verb {
        Verb::Run(args) => run_command(args, namespace),
        Verb::Acquire(args) => {
            let target = Target::Lock { name: args.name, shared: args.shared };
            told(args.keep.json, keeper::acquire(&target, &args.wait, &args.keep))
        }
        Verb::Release(args) => keeper::release(Target::Lock { name: args.name, shared: false }),
        Verb::Test(args) => {
            let target = Target::Lock { name: args.name, shared: false };
            told(args.json, test(target, args.json))
        }
        Verb::Break(args) => breaking::run(Target::Lock { name: args.name, shared: false }, args.yes),
    }
}

/// Whether somebody holds the lock, or so many permits that too few are left.
///
/// # Errors
/// [`Failure::Incomplete`] if so.
pub(crate) fn test(target: Target, json: bool) -> Result<(), Failure> {
    let (kind, name) = (target.kind(), target.name().to_owned());
    let thing = Thing::find(target)?;
    let in_the_way = thing.as_ref().map(InTheWay::of);
    let held = in_the_way.as_ref().is_some_and(InTheWay::is_in_the_way);
    if json {
        let mut record = in_the_way.map(|in_the_way| in_the_way.details()).unwrap_or_default();
        for nobody in ["holders", "waiters"] {
            record.entry(nobody).or_insert_with(|| Vec::<u32>::new().into());
        }
        record.extend([
            ("v".to_owned(), 1.into()),
            ("kind".to_owned(), kind.into()),
            ("name".to_owned(), name.into()),
            ("held".to_owned(), held.into()),
        ]);
        output::json(&record)?;
    }
    if held { Err(Failure::Incomplete) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::RunArgs;
    use crate::args::Alone;
    use std::ffi::OsString;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn a_line_without_options_is_read_as_any_other() {
        for line in ["deploy -- true", "a/b -- sh -c -- -n", "x -- -w 5"] {
            let variables = ["HOME", "PROCESSION_HELD"].map(OsString::from);
            let quick = RunArgs::without_options(&words(line), variables.into_iter()).unwrap();
            let Alone { namespace: None, args } = Alone::<RunArgs>::read("lock", words(line)).unwrap() else {
                panic!("{line}")
            };
            assert_eq!(format!("{quick:?}"), format!("{args:?}"), "{line}");
        }
    }

    #[test]
    fn what_may_be_an_option_is_left_to_who_knows_them() {
        for line in
            ["", "deploy", "deploy --", "-n deploy -- true", "deploy -n -- true", "-- true", "a b -- true"]
        {
            assert!(RunArgs::without_options(&words(line), std::iter::empty()).is_none(), "{line}");
        }
        let variable = std::iter::once("PROCESSION_WAIT".into());
        assert!(RunArgs::without_options(&words("deploy -- true"), variable).is_none());
    }
}

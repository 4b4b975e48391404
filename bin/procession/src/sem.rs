//! `procession sem`: a command that runs while permits of a semaphore are held, and permits that are held without a
//! command.

use crate::holding::{Target, Thing, Wait, no_such_object, patiently, refusal};
use crate::in_the_way::InTheWay;
use crate::keeper::{self, KeepArgs};
use crate::lock::test;
use crate::under::{self, CommandArgs, OnOwnerDied, WaitArgs, told};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use procession::shm::Kind;
use procession::{Namespace, OpenError, Semaphore, SemaphoreError};
use procession_terminal::exit::{DISAGREE, Failure};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Run a command while a permit is held, which goes back with this process: `sem NAME -c COUNT -- CMD`.
#[derive(Debug, clap::Args)]
#[command(after_help = SEM_HELP)]
pub(crate) struct SemArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(RunArgs),
    Acquire(AcquireArgs),
    Release(NameArgs),
    Test(TestArgs),
    Resize(ResizeArgs),
}

/// Run a command while permits are held.
#[derive(Debug, clap::Args)]
#[command(after_help = SEM_HELP)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    permits: PermitArgs,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    command: CommandArgs,
}

/// Which permits.
#[derive(Debug, clap::Args)]
pub(crate) struct PermitArgs {
    /// The semaphore; with -c it is made if there is none.
    name: String,
    /// How many permits there are; all who use it must say the same.
    #[arg(short, long, value_name = "N", value_parser = count, env = "PROCESSION_SEM_COUNT", hide_env = true)]
    count: Option<usize>,
    /// How many of them to take.
    #[arg(short = 'k', long, value_name = "N", default_value = "1", value_parser = count, env = "PROCESSION_PERMITS", hide_env = true)]
    permits: usize,
}

impl PermitArgs {
    pub(crate) fn target(self) -> Result<Target, Failure> {
        match self.count {
            Some(count) if self.permits > count => {
                Err(Failure::Usage(format!("there are never {} of {count} permits", self.permits)))
            }
            count => Ok(Target::Permits { name: self.name, permits: self.permits, count }),
        }
    }
}

/// Hold permits for a process, by default the one that starts this, until `sem release` or until that process ends.
///
/// Exits with 0 once they are held.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession sem acquire net -c 4 -w 10m\n  procession sem acquire gpu -k 2 --owner $(cat server.pid)\n\nExit codes: 0 held, 65 another count, 66 no such semaphore and no -c, 75 not\nacquired (or -E)"
)]
struct AcquireArgs {
    #[command(flatten)]
    permits: PermitArgs,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Let go of the permits that `sem acquire` holds for this process's ancestors, or else of all that it holds.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession sem release net\n  procession -N build sem release gpu\n\nExit codes: 0 released, 1 not held, 65 held by others, 66 no such semaphore"
)]
struct NameArgs {
    /// The semaphore.
    name: String,
}

/// Say by the exit code whether all permits are held.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession sem test net && echo free\n  procession sem test gpu -k 2 --json | jq .holders\n\nExit codes: 0 free, 1 held"
)]
struct TestArgs {
    /// The semaphore.
    name: String,
    /// How many permits are wanted.
    #[arg(short = 'k', long, value_name = "N", default_value = "1", value_parser = count, env = "PROCESSION_PERMITS", hide_env = true)]
    permits: usize,
    /// Print who holds permits, and who waits, as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// Change how many permits there are. Fewer are there once so many were given back, for which this waits.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession sem resize net -c 8\n  procession sem resize net -c 2 -w 10m\n\nExit codes: 0 done, 65 it cannot have so many, 66 no such semaphore, 75 too\nmany are held (or -E)"
)]
struct ResizeArgs {
    /// The semaphore.
    name: String,
    /// How many permits there are to be.
    #[arg(short, long, value_name = "N", value_parser = count, env = "PROCESSION_SEM_COUNT", hide_env = true)]
    count: usize,
    #[command(flatten)]
    wait: WaitArgs,
}

/// The most permits that a semaphore can have.
const MOST: usize = 65_536;

pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=MOST).contains(count)).ok_or_else(|| format!("it is 1 to {MOST}"))
}

const SEM_HELP: &str = "\
Examples:
  procession sem net -c 4 -w 10m -- curl https://example.org
  procession sem gpu -c 8 -k 2 -- ./train

The command's environment has PROCESSION_HELD, a list of what is held. Nothing
of the permits is inherited. Signals are passed on; the command is killed when
this process is killed, and its permits are free when both are gone. Programs
open the same Semaphore of the library by its name.

Exit codes: that of the command; 65 another count, or ancestors hold too many;
66 no such semaphore and no -c; 75 not acquired (or -E); 124 it ran too long;
125 procession failed; 126, 127 it cannot be run, was not found; 128+n ended by
signal n.";

/// # Errors
/// Those of [`under::run`].
pub(crate) fn run_command(args: RunArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    let target = args.permits.target()?;
    under::run(vec![target], &args.wait, &args.command, &OnOwnerDied::Ignore, namespace)
}

/// # Errors
/// Those of the subcommands.
pub(crate) fn run(args: SemArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    match args.verb {
        Verb::Run(args) => run_command(args, namespace),
        Verb::Acquire(args) => {
            let target = args.permits.target()?;
            told(args.keep.json, keeper::acquire(&target, &args.wait, &args.keep))
        }
        Verb::Release(args) => keeper::release(of(args.name, 1)),
        Verb::Test(args) => told(args.json, test(of(args.name, args.permits), args.json)),
        Verb::Resize(args) => resize(args),
    }
}

fn of(name: String, permits: usize) -> Target {
    Target::Permits { name, permits, count: None }
}

fn resize(args: ResizeArgs) -> Result<(), Failure> {
    let Some(thing) = Thing::find(of(args.name.clone(), 1))? else {
        let message = format!("there is no semaphore {:?}", args.name);
        return Err(no_such_object(message));
    };
    let Some(semaphore) = thing.semaphore() else { return Ok(()) };
    let most = semaphore.max();
    if args.count > most || thing.kind() == Kind::BOUNDED_SEMAPHORE {
        let message =
            format!("semaphore {:?} cannot be changed to {}: it has {most} at most", args.name, args.count);
        return Err(refusal("disagree", DISAGREE, message));
    }
    change(semaphore, &args, |why| match why {
        SemaphoreError::WouldBlock(_) | SemaphoreError::TimedOut(_) => {
            InTheWay::of(&thing).not_acquired(args.wait.conflict_exit_code)
        }
        why => why.into(),
    })
}

/// Changes how many permits there are, while nobody else does.
fn change(
    semaphore: &Semaphore,
    args: &ResizeArgs,
    not_acquired: impl Fn(SemaphoreError) -> Failure,
) -> Result<(), Failure> {
    let deadline = args.wait.deadline();
    let turns = turns(&args.name)?;
    let wait = Wait::until(deadline);
    let turn = patiently!(turns, wait, acquire, try_acquire, acquire_timeout);
    let _turn = turn.map_err(&not_acquired)?;
    let now = semaphore.permits();
    if args.count >= now {
        return Ok(semaphore.release(args.count - now)?);
    }
    take(semaphore, now - args.count, Wait::until(deadline)).map_err(not_acquired)
}

/// Has one permit: its holder may change the semaphore of that name. Its own name is short, however long that is.
fn turns(name: &str) -> Result<Semaphore, OpenError> {
    let mut hasher = SipHasher24::new();
    hasher.write(name.as_bytes());
    Semaphore::options().permits(1).ephemeral().open_or_create(&format!("resize-{:016x}", hasher.finish()))
}

/// Takes permits out for good.
fn take(semaphore: &Semaphore, permits: usize, wait: Wait) -> Result<(), SemaphoreError> {
    let taken = patiently!(semaphore, wait, acquire_many, try_acquire_many, acquire_many_timeout; permits);
    taken?.forget();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Failure, ResizeArgs, WaitArgs, change};
    use procession::{Namespace, Semaphore};

    #[test]
    fn several_that_say_how_many_permits_there_are_add_them_once() {
        let namespace = Namespace::private();
        assert!(namespace.enter());
        let semaphore = Semaphore::options().permits(1).max(100).create("slots").unwrap();
        let resize = |count| {
            let args = ResizeArgs { name: "slots".to_owned(), count, wait: WaitArgs::default() };
            change(&semaphore, &args, Failure::from).unwrap();
        };
        for _ in 0..50 {
            std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| resize(9)))));
            assert_eq!(semaphore.permits(), 9);
            resize(1);
        }
        assert_eq!(semaphore.permits(), 1);
    }
}

//! Commands that run while something of a cluster is held, and what is held without a command. When it is lost, the commands
//! are ended.

use super::Place;
use super::keeper;
use super::things::{self, Terms, Wanted};
use crate::acquire::{HELD, TOKEN};
use crate::holding::refusal;
use crate::keeper::{KeepArgs, KeeperArgs};
use crate::passed_on::{self, die_of};
use crate::report::{Mark, Record};
use crate::sem::PermitArgs;
use crate::under::{CommandArgs, WaitArgs, ended, told};
use crate::wrap::{self, IsLost, Limits, Wrapped};
use clap::Subcommand;
use procession::Namespace;
use procession::cluster::AnyGuard;
use procession::shm::register;
use procession_terminal::exit::{Failure, LEASE_LOST};
use std::time::Instant;

/// Run a command while a lock is held, which goes with this process: `lock NAME -- CMD`.
#[derive(Debug, clap::Args)]
#[command(after_help = LOCK_HELP)]
pub(crate) struct LockArgs {
    #[command(subcommand)]
    verb: LockVerb,
}

#[derive(Debug, Subcommand)]
enum LockVerb {
    Run(LockRunArgs),
    Acquire(LockAcquireArgs),
    Release(LockReleaseArgs),
    #[command(name = crate::keeper::KEEPER, hide = true)]
    Keeper(KeeperArgs<Wanted>),
}

/// Which lock, and how.
#[derive(Debug, clap::Args)]
struct LockName {
    /// The lock; it is made if there is none.
    name: String,
    /// Share it with others who share it. Who shares a lock and who wants it alone say different kinds of it: all users of
    /// a name say -s or -x.
    #[arg(short, long, conflicts_with = "exclusive", env = "PROCESSION_SHARED", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    shared: bool,
    /// Have it alone, where others share it.
    #[arg(short = 'x', long)]
    exclusive: bool,
}

impl LockName {
    fn wanted(self) -> Wanted {
        Wanted::lock(self.name, self.shared, self.exclusive)
    }
}

/// Run a command while the lock is held.
#[derive(Debug, clap::Args)]
#[command(after_help = LOCK_HELP)]
struct LockRunArgs {
    #[command(flatten)]
    lock: LockName,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    command: CommandArgs,
}

/// Hold the lock for a process of this host, by default the one that starts this, until `lock release` or until that process
/// ends.
///
/// Exits with 0 once it is held.
#[derive(Debug, clap::Args)]
#[command(after_help = ACQUIRE_HELP)]
struct LockAcquireArgs {
    #[command(flatten)]
    lock: LockName,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Let go of a lock that `lock acquire` holds for a process of this host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB lock release nightly\n  procession --cluster shm: lock release cache\n\nExit codes: 0 released, 1 not held, 65 held by somebody else or on another host, 66\nno such lock"
)]
struct LockReleaseArgs {
    /// The lock.
    name: String,
}

const LOCK_HELP: &str = "\
Examples:
  procession --cluster postgres://me@db/work lock deploy -- ./deploy.sh
  procession --cluster $DB lock index -s -w 10s -- ./search

The command's environment has PROCESSION_TOKEN: give it along with every write.

Exit codes: that of the command; 65 an ancestor holds it; 75 not acquired (or
-E); 76 the lock was lost, and the command ended; 124 it ran too long; 128+n
ended by signal n.";

const ACQUIRE_HELP: &str = "\
Examples:
  procession --cluster $DB lock acquire nightly -n || exit 0
  procession --cluster $DB lock acquire db -s --owner $(cat server.pid)

A process in the background holds the lock. If it is killed, or the server does
not hear of this host for some seconds, the next one has the lock, and nobody
tells the owner: what must not go on then is run by `lock NAME -- CMD`.

Exit codes: 0 held, 65 an ancestor holds it, 75 not acquired (or -E), 125
procession failed.";

/// Run a command while a permit is held, which goes back with this process: `sem NAME -c COUNT -- CMD`.
#[derive(Debug, clap::Args)]
#[command(after_help = SEM_HELP)]
pub(crate) struct SemArgs {
    #[command(subcommand)]
    verb: SemVerb,
}

#[derive(Debug, Subcommand)]
enum SemVerb {
    Run(SemRunArgs),
    Acquire(SemAcquireArgs),
    Release(SemReleaseArgs),
}

/// Run a command while permits are held.
#[derive(Debug, clap::Args)]
#[command(after_help = SEM_HELP)]
struct SemRunArgs {
    #[command(flatten)]
    permits: PermitArgs,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    command: CommandArgs,
}

/// Hold permits for a process of this host, by default the one that starts this, until `sem release` or until that process
/// ends.
///
/// Exits with 0 once they are held.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB sem acquire net -c 4 -w 10m\n  procession --cluster $DB sem acquire gpu -k 2 --owner $(cat server.pid)\n\nExit codes: 0 held, 65 another count, 66 no such semaphore and no -c, 75 not\nacquired (or -E)"
)]
struct SemAcquireArgs {
    #[command(flatten)]
    permits: PermitArgs,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Let go of the permits that `sem acquire` holds for this process's ancestors, or else of all that it holds on this host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB sem release net\n  procession --cluster shm: sem release gpu\n\nExit codes: 0 released, 1 not held, 65 held by others, 66 no such semaphore"
)]
struct SemReleaseArgs {
    /// The semaphore.
    name: String,
}

const SEM_HELP: &str = "\
Examples:
  procession --cluster $DB sem api -c 4 -- curl https://example.org
  procession --cluster shm: sem gpu -c 2 -n -- ./train

Exit codes: that of the command; 65 another count, or ancestors hold too many;
66 no such semaphore and no -c; 75 not acquired (or -E); 76 the permit was lost,
and the command ended; 124 it ran too long.";

/// Run a command while several locks and permits are held: all of them or none.
#[derive(Debug, clap::Args)]
#[command(after_help = WITH_HELP)]
pub(crate) struct WithArgs {
    /// What is to be held: lock:NAME, lock:NAME:shared, lock:NAME:exclusive, sem:NAME, sem:NAME=PERMITS, with commas between.
    #[arg(required = true, value_delimiter = ',', value_name = "TARGET,…")]
    targets: Vec<Wanted>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    command: CommandArgs,
}

const WITH_HELP: &str = "\
Examples:
  procession --cluster $DB with lock:db:shared,sem:gpu=2 -w 30s -- ./train.sh
  procession --cluster $DB with lock:a,lock:b -n -- ./move a b

Nobody waits for one of them while it holds another, so there is no deadlock,
whatever order others have. A semaphore must be there already: `sem -c` makes
it. lock:NAME:exclusive has a lock alone that others share.

Exit codes: that of the command; 65 an ancestor holds one; 66 no such semaphore;
75 not acquired (or -E); 76 one of them was lost, and the command ended; 124 it
ran too long.";

pub(super) fn lock(args: LockArgs, place: &Place<'_>) -> Result<(), Failure> {
    match args.verb {
        LockVerb::Run(args) => run(&[args.lock.wanted()], &args.wait, &args.command, place),
        LockVerb::Acquire(args) => {
            told(args.keep.json, keeper::acquire(&args.lock.wanted(), &args.wait, &args.keep, place))
        }
        LockVerb::Release(args) => keeper::release(&["lock", "rwlock"], &args.name, place),
        LockVerb::Keeper(args) => keeper::run(args, place),
    }
}

pub(super) fn sem(args: SemArgs, place: &Place<'_>) -> Result<(), Failure> {
    match args.verb {
        SemVerb::Run(args) => run(&[args.permits.target()?.into()], &args.wait, &args.command, place),
        SemVerb::Acquire(args) => {
            let wanted = args.permits.target()?.into();
            told(args.keep.json, keeper::acquire(&wanted, &args.wait, &args.keep, place))
        }
        SemVerb::Release(args) => keeper::release(&["semaphore"], &args.name, place),
    }
}

pub(super) fn with(args: WithArgs, place: &Place<'_>) -> Result<(), Failure> {
    let mut wanted = args.targets;
    wanted.sort();
    if let Some(pair) = wanted.windows(2).find(|pair| pair[0].target.is_of_same_object(&pair[1].target)) {
        return Err(Failure::Usage(format!("{} and {} are one object", pair[0], pair[1])));
    }
    run(&wanted, &args.wait, &args.command, place)
}

fn run(wanted: &[Wanted], wait: &WaitArgs, args: &CommandArgs, place: &Place<'_>) -> Result<(), Failure> {
    let mut record = Record::of(wanted);
    let outcome = run_reported(wanted, wait, args, place, &mut record);
    let reported = args.report.as_ref().map_or(Ok(()), |report| report.write(record.ended(&outcome)));
    told(args.json, outcome.and(reported))
}

fn run_reported(
    wanted: &[Wanted],
    wait: &WaitArgs,
    args: &CommandArgs,
    place: &Place<'_>,
    record: &mut Record,
) -> Result<(), Failure> {
    crate::program::check(&args.command)?;
    let registration = register(&Namespace::current()?)?;
    // Before the thread of the connections is there, which is to take no signals.
    let inbox = passed_on::inbox();
    let terms = Terms { wait: wait.wait(), code: wait.conflict_exit_code, explain: args.explain };
    let began = Instant::now();
    let (taken, signal) = passed_on::interruptibly(&inbox, || things::acquire(wanted, terms, place));
    if let Some(signal) = signal {
        return Err(die_of(signal));
    }
    let guards = taken?;
    let token = match &guards[..] {
        [one] => one.token(),
        // Of several it would not be said whose it is.
        _ => None,
    };
    let token = token.map(|token| token.to_string());
    record.acquired(token.clone().map(Mark::Text), false, began.elapsed());
    let environment = [(HELD, Some(things::held(wanted))), (TOKEN, token)];
    let passes_on = !args.signals_reach_command;
    let limits = Limits { time: args.timeout, kill_after: args.kill_after, passes_on };
    let is_lost = || guards.iter().any(AnyGuard::is_lost);
    let wrapped = Wrapped {
        command: &args.command,
        environment: &environment,
        limits,
        stdin: None,
        is_lost: Some(IsLost(&is_lost)),
    };
    let outcome = wrap::run(wrapped, &inbox, registration)?;
    record.ran(outcome);
    // Each is released, whatever becomes of another.
    let released = guards.into_iter().map(AnyGuard::release).filter(Result::is_ok).count();
    if outcome.was_lost || released < wanted.len() {
        let message =
            format!("{} was lost while the command ran: somebody else may have had it", things::list(wanted));
        return Err(refusal("lease_lost", LEASE_LOST, message));
    }
    ended(outcome, args)
}

//! Commands that run while something of a cluster is held. When that is lost, they are ended.

use super::{Place, failure_with};
use crate::holding::{patiently, refusal};
use crate::passed_on::{self, die_of};
use crate::under::{CommandArgs, WaitArgs, ended, told};
use crate::wrap::{self, IsLost, Limits, Wrapped};
use procession::Namespace;
use procession::cluster::{AnyGuard, Cluster, ClusterError};
use procession::shm::register;
use procession_terminal::exit::{Failure, LEASE_LOST};

/// Run a command while a lock is held: `lock NAME -- CMD`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster postgres://me@db/work lock deploy -- ./deploy.sh\n  procession --cluster postgres://me@db/work lock index -s -w 10s -- ./search\n\nThe command's environment has PROCESSION_TOKEN: give it along with every write.\n\nExit codes: that of the command; 75 not acquired (or -E); 76 the lock was lost,\nand the command ended; 124 it ran too long; 128+n ended by signal n."
)]
pub(crate) struct LockArgs {
    /// The lock.
    name: String,
    /// Share it with others who share it. Who shares a lock and who wants it alone say different kinds of it: all users of
    /// a name say -s or -x.
    #[arg(short, long, conflicts_with = "exclusive")]
    shared: bool,
    /// Have it alone, where others share it.
    #[arg(short = 'x', long)]
    exclusive: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    command: CommandArgs,
}

/// Run a command while a permit is held: `sem NAME -c COUNT -- CMD`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster postgres://me@db/work sem api -c 4 -- curl https://example.org\n  procession --cluster shm: sem gpu -c 2 -n -- ./train\n\nExit codes: that of the command; 65 another count; 75 not acquired (or -E); 76 the\npermit was lost, and the command ended; 124 it ran too long."
)]
pub(crate) struct SemArgs {
    /// The semaphore.
    name: String,
    /// How many permits there are; all who use it must say the same.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536), env = "PROCESSION_SEM_COUNT", hide_env = true)]
    count: u32,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    command: CommandArgs,
}

pub(super) fn lock(args: LockArgs, place: &Place<'_>) -> Result<(), Failure> {
    let (name, wait) = (&args.name, args.wait.wait());
    let take = |cluster: &Cluster| {
        if args.shared {
            patiently!(cluster.rwlock(name), wait, read, try_read, read_timeout).map(AnyGuard::from)
        } else if args.exclusive {
            patiently!(cluster.rwlock(name), wait, write, try_write, write_timeout).map(AnyGuard::from)
        } else {
            patiently!(cluster.lock(name), wait, acquire, try_acquire, acquire_timeout).map(AnyGuard::from)
        }
    };
    let held = format!("lock:{name}");
    told(args.command.json, run(&held, take, &args.wait, &args.command, place))
}

pub(super) fn sem(args: SemArgs, place: &Place<'_>) -> Result<(), Failure> {
    let wait = args.wait.wait();
    let take = |cluster: &Cluster| {
        let semaphore = cluster.semaphore(&args.name, args.count);
        patiently!(semaphore, wait, acquire, try_acquire, acquire_timeout).map(AnyGuard::from)
    };
    let held = format!("sem:{}", args.name);
    told(args.command.json, run(&held, take, &args.wait, &args.command, place))
}

fn run(
    held: &str,
    take: impl FnOnce(&Cluster) -> Result<AnyGuard, ClusterError>,
    wait: &WaitArgs,
    args: &CommandArgs,
    place: &Place<'_>,
) -> Result<(), Failure> {
    crate::program::check(&args.command)?;
    let registration = register(&Namespace::current()?)?;
    // Before the thread of the connections is there, which is to take no signals.
    let inbox = passed_on::inbox();
    let (taken, signal) = passed_on::interruptibly(&inbox, || place.connect().map(|cluster| take(&cluster)));
    if let Some(signal) = signal {
        return Err(die_of(signal));
    }
    let guard = taken?.map_err(|error| failure_with(error, wait.conflict_exit_code))?;
    let mut environment = vec![("PROCESSION_HELD", Some(held.to_owned()))];
    environment.extend(guard.token().map(|token| ("PROCESSION_TOKEN", Some(token.to_string()))));
    let limits = Limits { time: args.timeout, kill_after: args.kill_after, passes_on: true };
    let is_lost = || guard.is_lost();
    let wrapped = Wrapped {
        command: &args.command,
        environment: &environment,
        limits,
        stdin: None,
        is_lost: Some(IsLost(&is_lost)),
    };
    let outcome = wrap::run(wrapped, &inbox, registration)?;
    let was_held = !outcome.was_lost && guard.release().is_ok();
    if !was_held {
        let message = format!("{held} was lost while the command ran: somebody else may have had it");
        return Err(refusal("lease_lost", LEASE_LOST, message));
    }
    ended(outcome, args)
}

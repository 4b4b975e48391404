//! `procession queue ack`, `nack` and `extend`: what becomes of an item that somebody has leased, by the lease's token.

use super::QueueName;
use super::store::Store;
use crate::duration::duration;
use crate::holding::refusal;
use crate::keeper;
use crate::people;
use crate::under::told;
use clap::builder::FalseyValueParser;
use procession::{AckError, Encoded, JoinableQueue, LeaseToken, Namespace, Redeemed};
use procession_sys::signals::{SIGUSR1, send};
use procession_terminal::exit::{Failure, LEASE_LOST};
use std::time::Duration;

/// Which lease.
#[derive(Debug, clap::Args)]
pub(crate) struct LeaseArgs {
    #[command(flatten)]
    pub(crate) queue: QueueName,
    /// The item's number: `id` of `queue get --json`, or $PROCESSION_ITEM.
    id: u64,
    /// The lease's token: `token` of `queue get --json`, or $PROCESSION_TOKEN.
    #[arg(value_parser = key)]
    token: Key,
    /// Say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

impl LeaseArgs {
    pub(crate) fn token(&self) -> LeaseToken {
        LeaseToken::new(self.id, self.token.0)
    }

    /// That no lease has this token.
    pub(crate) fn lost(&self) -> Failure {
        let message = format!(
            "the lease of item {} of queue {:?} is lost: its time was over, or its holder has ended, or the item was \
             acknowledged or given back before",
            self.id, self.queue.name
        );
        refusal("lease_lost", LEASE_LOST, message)
    }
}

/// Say that a leased item is done: nobody gets it any more.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue ack jobs 17 9f3c21d04b5a6e78\n  procession queue ack jobs $(jq -r '\"\\(.id) \\(.token)\"' item)\n\nExit codes: 0 done; 66 no such queue; 76 the lease is lost: its time was over,\nits holder has ended, or it was acknowledged before"
)]
pub(crate) struct AckArgs {
    #[command(flatten)]
    pub(crate) lease: LeaseArgs,
}

/// Give a leased item back: it is there again for the next that gets, or a dead letter after its last attempt.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue nack jobs 17 9f3c21d04b5a6e78\n  procession queue nack jobs 17 9f3c21d04b5a6e78 --dead\n\nExit codes: 0 given back; 66 no such queue; 76 the lease is lost"
)]
pub(crate) struct NackArgs {
    #[command(flatten)]
    pub(crate) lease: LeaseArgs,
    /// Nobody will ever finish it: it is a dead letter now, however many attempts are left.
    #[arg(long)]
    pub(crate) dead: bool,
}

/// Have a lease last for so long from now on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue extend jobs 17 9f3c21d04b5a6e78 --lease 10m\n  procession queue extend jobs $PROCESSION_ITEM $PROCESSION_TOKEN --lease 0\n\nExit codes: 0 extended; 66 no such queue; 76 the lease is lost"
)]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    pub(crate) lease: LeaseArgs,
    /// For how long; 0 is for as long as its holder lives. The queue's own time unless said.
    #[arg(long = "lease", value_name = "TIME", value_parser = duration, env = "PROCESSION_QUEUE_LEASE", hide_env = true)]
    pub(crate) time: Option<Duration>,
}

/// The key of a token.
#[derive(Clone, Copy, Debug)]
struct Key(u64);

fn key(text: &str) -> Result<Key, String> {
    let is_whole = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = u64::from_str_radix(text, 16).ok().filter(|_| is_whole);
    key.map(Key).ok_or_else(|| "a token is 16 hexadecimal digits".to_owned())
}

/// # Errors
/// Those of the help.
pub(super) fn ack(args: &AckArgs) -> Result<(), Failure> {
    decide(&args.lease, |_, lease| lease.task_done())
}

/// # Errors
/// Those of the help.
pub(super) fn nack(args: &NackArgs) -> Result<(), Failure> {
    decide(&args.lease, |_, lease| if args.dead { lease.give_up() } else { lease.give_back() })
}

/// # Errors
/// Those of the help.
pub(super) fn extend(args: &ExtendArgs) -> Result<(), Failure> {
    decide(&args.lease, |queue, lease| {
        let time = args.time.or(queue.lease_timeout()).filter(|time| !time.is_zero());
        lease.extend(time.unwrap_or(Duration::MAX))
    })
}

fn decide(
    args: &LeaseArgs,
    decision: impl FnOnce(&JoinableQueue<Encoded>, Redeemed<'_, Encoded>) -> Result<(), AckError>,
) -> Result<(), Failure> {
    told(args.json, decide_alone(args, decision))
}

fn decide_alone(
    args: &LeaseArgs,
    decision: impl FnOnce(&JoinableQueue<Encoded>, Redeemed<'_, Encoded>) -> Result<(), AckError>,
) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let queue = Store::open_leased(name, "a token")?;
    // Before it is decided: a lease that has ended is nobody's.
    let holder =
        queue.leased().into_iter().find(|leased| leased.id == args.id).map(|leased| leased.holder.pid);
    match decision(&queue, queue.redeem(args.token())) {
        Ok(()) => {
            holder.into_iter().for_each(wake_keeper);
            Ok(())
        }
        Err(AckError::StaleToken { .. }) => Err(args.lost()),
        Err(error) => Err(error.into()),
    }
}

/// Has a keeper look at what it holds. If it is not told, it holds nothing until its owner ends.
fn wake_keeper(pid: u32) {
    let is_keeper = keeper::kept_for(&people::command_line(pid)).is_some();
    if is_keeper && Namespace::current().is_ok_and(|namespace| people::uses(pid, &namespace)) {
        // It may have ended.
        drop(send(pid, SIGUSR1));
    }
}

//! Leases of a cluster that scripts have: a keeper on the host of the script holds them, as those of one machine
//! (`queue/keeper.rs`), and any process of any host that has the token decides about them.
//!
//! A lease ends with its keeper, however that ends: the server sees its session end. So a keeper has to be told of the end of
//! its owner alone; that others have decided about its items, it asks now and then, for they may be on other hosts.

use super::{Place, item, take, why_not_got};
use crate::cluster::failure;
use crate::holding::no_such_object;
use crate::keeper::{self as keepers, KeepArgs, QUEUE};
use crate::passed_on::{self, interruptibly};
use crate::queue::get::GetArgs;
use crate::queue::item::{Item, Printer};
use crate::queue::keeper::{self as queue_keepers, Kept, LeaseKeeperArgs, Over, keep_leases};
use crate::queue::lease::{AckArgs, ExtendArgs, LeaseArgs, NackArgs};
use crate::under::told;
use procession::cluster::{ClusterError, Lease, Redeemed};
use procession_terminal::exit::Failure;
use serde_json::Value;
use std::time::Duration;

/// How often a keeper asks whether it holds anything still.
const LOOK: Duration = Duration::from_secs(1);

impl Kept for Lease<Value> {
    fn item(&self) -> Item {
        Item { token: Some(self.token()), ..item(self) }
    }

    fn put_back(self) {
        drop(Self::put_back(self));
    }

    fn is_held(&self) -> Result<Option<Duration>, Over> {
        match self.time_left() {
            Ok(left) => Ok(Some(left.map_or(LOOK, |left| left.min(LOOK)))),
            Err(ClusterError::Lost { .. }) => Err(Over),
            // With the session, all is over; else it answers again.
            Err(_) if self.is_lost() => Err(Over),
            Err(_) => Ok(Some(LOOK)),
        }
    }
}

/// Has a keeper lease items, and prints them.
pub(super) fn get(
    args: &GetArgs,
    keep: &KeepArgs,
    place: &Place<'_>,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let (owner, end) = queue_keepers::owner(args, keep)?;
    queue_keepers::get_by(place.keeper(QUEUE, owner, end)?, args, printer)
}

/// Is a keeper, until there is nothing to keep.
pub(super) fn be_keeper(args: &LeaseKeeperArgs, place: &Place<'_>) -> Result<(), Failure> {
    told(args.json, keep(args, place))
}

fn keep(args: &LeaseKeeperArgs, place: &Place<'_>) -> Result<(), Failure> {
    if !keepers::begin(args.parent)? {
        // It ended before that, and nobody waits for this.
        return Ok(());
    }
    // Before the thread of the connections is there, which is to take no signals.
    let inbox = passed_on::inbox();
    let (leases, signal) = interruptibly(&inbox, || lease_some(args, place));
    if signal.is_some() {
        // `queue get` has ended.
        return Ok(());
    }
    keep_leases(leases?)
}

fn lease_some(args: &LeaseKeeperArgs, place: &Place<'_>) -> Result<Vec<Lease<Value>>, Failure> {
    let queue = place.queue(&args.name)?;
    let got = take(&queue, args.wait.wait(), args.count as usize);
    let leases = got.map_err(|error| why_not_got(&args.name, error, &args.wait))?;
    if let Some(time) = args.time() {
        // One whose time is over meanwhile is there again, as it would be if it were a moment later.
        leases.iter().for_each(|lease| drop(lease.extend(time)));
    }
    Ok(leases)
}

/// Says that a leased item is done.
pub(super) fn ack(args: &AckArgs, place: &Place<'_>) -> Result<(), Failure> {
    decide(&args.lease, place, |lease| lease.task_done())
}

/// Gives a leased item back.
pub(super) fn nack(args: &NackArgs, place: &Place<'_>) -> Result<(), Failure> {
    decide(&args.lease, place, |lease| if args.dead { lease.give_up() } else { lease.give_back() })
}

/// Has a lease last for so long from now on.
pub(super) fn extend(args: &ExtendArgs, place: &Place<'_>) -> Result<(), Failure> {
    let time = args.time.filter(|time| !time.is_zero()).unwrap_or(Duration::MAX);
    decide(&args.lease, place, |lease| lease.extend(time))
}

fn decide(
    args: &LeaseArgs,
    place: &Place<'_>,
    decision: impl FnOnce(Redeemed<'_, Value>) -> Result<(), ClusterError>,
) -> Result<(), Failure> {
    told(args.json, decide_alone(args, place, decision))
}

fn decide_alone(
    args: &LeaseArgs,
    place: &Place<'_>,
    decision: impl FnOnce(Redeemed<'_, Value>) -> Result<(), ClusterError>,
) -> Result<(), Failure> {
    let name = &args.queue.name;
    let Some(queue) = place.queue(name)?.if_there().map_err(failure)? else {
        return Err(no_such_object(format!("there is no queue {name:?} in the cluster")));
    };
    match decision(queue.redeem(args.token())) {
        Err(ClusterError::Lost { .. }) => Err(args.lost()),
        decided => decided.map_err(failure),
    }
}

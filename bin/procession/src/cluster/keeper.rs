//! Keepers of locks and permits of a cluster: as those of one machine (`keeper.rs`), by a session of their own with the
//! server, with which the hold ends.

use super::things::{self, Terms, Wanted, keeper_for};
use super::{Place, failure};
use crate::holding::{no_such_object, refusal};
use crate::keeper::{self as keepers, KeepArgs, KeeperArgs, LOCK, Look, kept_for};
use crate::passed_on::{self, die_of, interruptibly};
use crate::people;
use crate::under::{WaitArgs, told};
use procession::cluster::{AnyGuard, ClusterParticipant};
use procession_sys::signals::SIGTERM;
use procession_terminal::exit::{DISAGREE, Failure, INCOMPLETE};
use std::time::Duration;

/// How often a keeper looks whether what it holds is lost.
const LOOK: Duration = Duration::from_secs(1);

/// Has a keeper acquire it.
pub(super) fn acquire(
    wanted: &Wanted,
    wait: &WaitArgs,
    args: &KeepArgs,
    place: &Place<'_>,
) -> Result<(), Failure> {
    let (owner, end) = keepers::owner(args, wanted)?;
    let keeper = place.keeper(LOCK, owner, end)?;
    keepers::acquire_by(keeper, (wanted, wanted.target.count()), wait, args.json)
}

/// Is a keeper, until what it holds is released or lost.
pub(super) fn run(args: KeeperArgs<Wanted>, place: &Place<'_>) -> Result<(), Failure> {
    told(args.json, keep(args, place))
}

fn keep(args: KeeperArgs<Wanted>, place: &Place<'_>) -> Result<(), Failure> {
    if !keepers::begin(args.parent)? {
        // It ended before that, and nobody waits for this.
        return Ok(());
    }
    let wanted = [args.kept.of_all(args.count)];
    let terms = Terms { wait: args.wait.wait(), code: args.wait.conflict_exit_code, explain: false };
    // Before the thread of the connections is there, which is to take no signals.
    let inbox = passed_on::inbox();
    let (held, signal) = interruptibly(&inbox, || things::acquire(&wanted, terms, place));
    if let Some(signal) = signal {
        drop(held);
        return Err(die_of(signal));
    }
    let is_lost = |held: &Vec<AnyGuard>| held.iter().any(AnyGuard::is_lost);
    keepers::stay(held?, Some(Look { every: LOOK, is_lost }))
}

/// Has keepers of this host let go of what is held of this name: those that hold it for an ancestor of this process, or else
/// all.
pub(super) fn release(kinds: &[&str], name: &str, place: &Place<'_>) -> Result<(), Failure> {
    let objects = place.connect()?.list().map_err(failure)?;
    let is_it = |object: &&procession::cluster::ClusterObject| {
        object.name == name && kinds.contains(&object.kind.as_str())
    };
    let objects: Vec<_> = objects.iter().filter(is_it).collect();
    if objects.is_empty() {
        return Err(no_such_object(format!("there is no {} {name:?} in the cluster", kinds[0])));
    }
    let holders: Vec<&ClusterParticipant> = objects.iter().flat_map(|object| &object.holders).collect();
    let keepers = holders.iter().filter_map(|holder| Some((holder.pid, keeper_for(holder)?)));
    let mut keepers: Vec<(u32, u32)> = keepers.collect();
    // One that has several permits holds each.
    keepers.sort_unstable();
    keepers.dedup();
    let ancestors = people::ancestors();
    let own: Vec<(u32, u32)> =
        keepers.iter().copied().filter(|(_, owner)| ancestors.contains(owner)).collect();
    let chosen = if own.is_empty() { keepers } else { own };
    if chosen.is_empty() {
        return Err(not_kept(kinds[0], name, &holders));
    }
    let is_keeper = |pid| kept_for(&people::command_line(pid)).is_some();
    chosen.into_iter().try_for_each(|(pid, _)| keepers::end_if(pid, SIGTERM, is_keeper))
}

fn not_kept(kind: &str, name: &str, holders: &[&ClusterParticipant]) -> Failure {
    if holders.is_empty() {
        return refusal("not_kept", INCOMPLETE, format!("{kind} {name:?} is not held"));
    }
    let who = holders.iter().take(4).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "{kind} {name:?} is held by no `acquire` of this host, and so cannot be released here: it is held by {who}"
    );
    refusal("not_kept", DISAGREE, message)
}

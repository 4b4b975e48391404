//! `procession queue get`: the first items, for good or leased.
//!
//! | what is got | killed before it is printed | after that |
//! |---|---|---|
//! | from a queue without leases | it is gone with this process | it was printed |
//! | for good | it is there again: it is acknowledged once it is printed | it was printed, and may be there again |
//! | leased for a process | it is there again | it is leased until that process ends (`queue/keeper.rs`) |

use super::item::{Item, ItemArgs, Printer};
use super::store::Store;
use super::{QueueName, keeper, why_not_got};
use crate::duration::duration;
use crate::holding::{Wait, patiently, refusal};
use crate::keeper::KeepArgs;
use crate::under::{WaitArgs, told};
use procession::{Encoded, GetError, JoinableQueue, Lease, Queue};
use procession_terminal::exit::{DISAGREE, Failure};
use std::time::Duration;

/// Get the first item of a queue, or the first few.
#[derive(Debug, clap::Args)]
#[command(after_help = GET_HELP)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) queue: QueueName,
    /// So many items at the most: as many as are there, and it waits for the first only.
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 1,
        env = "PROCESSION_QUEUE_COUNT",
        hide_env = true
    )]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
    /// Lease the items for so long instead of taking them: those that are not acknowledged by then are there again. 0 is
    /// for ever.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "PROCESSION_QUEUE_LEASE", hide_env = true)]
    pub(crate) lease: Option<Duration>,
    /// Lease the items for this process, with which the leases end; the one that starts this unless said.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), env = "PROCESSION_OWNER", hide_env = true)]
    owner: Option<u32>,
    #[command(flatten)]
    pub(crate) item: ItemArgs,
}

const GET_HELP: &str = "\
Examples:
  procession queue get jobs -w 10
  procession queue get jobs --lease 5m --json

A loop over all: while item=$(procession queue get jobs); do …; done

Without --lease and --owner the items are taken for good, once they are printed.
With one of them they are leased: nobody else gets them, `queue ack` says that
they are done, with the `id` and the `token` of --json, and they are there again
when the time is over, or at once when the owner ends, however it does. The
simplest way to work so is `queue work`.

Exit codes: 0 got; 1 the queue is closed and everything is done; 65 it has no
leases, or other programs keep values of their own in it; 66 no such queue; 75
it is empty, and -n was said or the time of -w is over (or -E); 125 procession
failed.";

/// # Errors
/// Those of the help.
pub(super) fn run(args: &GetArgs) -> Result<(), Failure> {
    told(args.item.json, get(args))
}

impl GetArgs {
    /// For whom the items are to be leased; `None` if they are to be taken for good.
    pub(crate) fn keep(&self) -> Option<KeepArgs> {
        let is_leased = self.lease.is_some() || self.owner.is_some();
        is_leased.then_some(KeepArgs { owner: self.owner, json: self.item.json })
    }
}

fn get(args: &GetArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let store = Store::open(name)?;
    store.must_be_readable(name)?;
    let mut printer = Printer::new(name, store.codec(), args.item);
    let most = args.count as usize;
    match (store, args.keep()) {
        _ if most == 0 => Ok(()),
        (Store::Leased(_), Some(keep)) => keeper::get(args, &keep, &mut printer),
        (Store::Leased(queue), None) => take(&queue, args.wait.wait(), most, &mut printer).and_then(|got| {
            got.map(drop).map_err(|error| why_not_got(name, error, args.wait.conflict_exit_code))
        }),
        (Store::Plain(_), Some(_)) => {
            let message = format!("queue {name:?} has no leases: get from it without --lease and --owner");
            Err(refusal("no_leases", DISAGREE, message))
        }
        (Store::Plain(queue), None) => take_plain(&queue, args, most, &mut printer),
    }
}

/// Takes and prints items, at most `most`; how many, or why there was none.
///
/// # Errors
/// When they cannot be printed: then they are there again.
pub(super) fn take(
    queue: &JoinableQueue<Encoded>,
    wait: Wait,
    most: usize,
    printer: &mut Printer<'_>,
) -> Result<Result<usize, GetError>, Failure> {
    let (mut count, mut leases) = (0, Vec::new());
    let mut next = lease_one(queue, wait);
    loop {
        match next {
            Ok(lease) => {
                count += 1;
                let bytes = lease.to_vec();
                printer.add(&Item {
                    id: Some(lease.id()),
                    attempt: Some(lease.attempt()),
                    bytes,
                    ..Item::default()
                })?;
                leases.push(lease);
            }
            Err(error) if count == 0 => return Ok(Err(error)),
            // Whoever asks again is told.
            Err(_) => return finish(printer, leases).map(|()| Ok(count)),
        }
        if count == most {
            return finish(printer, leases).map(|()| Ok(count));
        }
        if printer.is_full() {
            finish(printer, std::mem::take(&mut leases))?;
        }
        next = queue.try_get();
    }
}

/// Prints what was leased, and then acknowledges it.
fn finish(printer: &mut Printer<'_>, leases: Vec<Lease<Encoded>>) -> Result<(), Failure> {
    if let Err(failure) = printer.flush() {
        // Nobody has seen them.
        leases.into_iter().for_each(|lease| drop(lease.put_back()));
        return Err(failure);
    }
    Ok(leases.into_iter().try_for_each(Lease::task_done)?)
}

/// Leases the first item.
pub(super) fn lease_one(queue: &JoinableQueue<Encoded>, wait: Wait) -> Result<Lease<Encoded>, GetError> {
    patiently!(queue, wait, get, try_get, get_timeout)
}

fn take_plain(
    queue: &Queue<Encoded>,
    args: &GetArgs,
    most: usize,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let batch = queue.batch();
    let got = patiently!(batch, args.wait.wait(), get, try_get, get_timeout; most);
    let failed = |error| why_not_got(&args.queue.name, error, args.wait.conflict_exit_code);
    let (items, error) = match got {
        Ok(items) => (items, None),
        Err(error) => (error.got, Some(error.error)),
    };
    for item in items {
        printer.add(&Item { bytes: item.into(), ..Item::default() })?;
    }
    printer.flush()?;
    error.map_or(Ok(()), |error| Err(failed(error)))
}

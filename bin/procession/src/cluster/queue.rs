//! Queues of a cluster: items that are put, got for good or leased, and worked on.

mod leases;

use super::{Place, failure, failure_with};
use crate::holding::{Wait, patiently, refusal};
use crate::passed_on::{self, die_of};
use crate::queue::get::GetArgs;
use crate::queue::item::{Item, Printer};
use crate::queue::keeper::LeaseKeeperArgs;
use crate::queue::lease::{AckArgs, ExtendArgs, NackArgs};
use crate::queue::{at_its_end, empty};
use crate::under::{WaitArgs, told};
use crate::wrap::{self, IsLost, Limits, Wrapped};
use clap::Subcommand;
use procession::cluster::{ClusterError, JoinableQueue, Lease};
use procession::shm::register;
use procession::{Codec, Namespace};
use procession_sys::pidfd::Ended;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::time::Duration;

/// How many items are put, or taken, in one step.
const BATCH: usize = 1000;

/// Hand out jobs: each item is with one process at a time, and with the next one when that dies.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  find . -name '*.wav' | procession --cluster $DB queue put enc\n  procession --cluster $DB queue work enc -- ./encode {}\n\nItems are texts, in JSON as other programs read them.\n\nExit codes: 0 done; 1 closed, and everything is done; 75 not in time (or -E); 76\nthe lease is lost."
)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Debug, Subcommand)]
enum QueueVerb {
    /// Put items: these, or else each line of stdin. When this ends, they are on the server's disk.
    Put {
        /// The queue.
        name: String,
        /// The items.
        items: Vec<String>,
        /// They are JSON, and not texts.
        #[arg(long)]
        parse: bool,
    },
    Get(GetArgs),
    Ack(AckArgs),
    Nack(NackArgs),
    Extend(ExtendArgs),
    /// Run a command for each item, one after the other: 0 acknowledges it, and any other end has it tried again.
    Work {
        /// The queue.
        name: String,
        /// End when there is no item, instead of waiting.
        #[arg(long)]
        until_empty: bool,
        /// The command; {} in it is the item, which it finds in its environment, too: PROCESSION_ITEM.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Wait until everything is done.
    Join {
        /// The queue.
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Print how many items are not done.
    Len {
        /// The queue.
        name: String,
    },
    /// Put nothing any more: who gets is told once everything is done.
    Close {
        /// The queue.
        name: String,
    },
    /// Open it again.
    Reopen {
        /// The queue.
        name: String,
    },
    /// Print the items that nobody could finish.
    Dead {
        /// The queue.
        name: String,
    },
    /// Have all items that nobody could finish tried again.
    Retry {
        /// The queue.
        name: String,
    },
    #[command(name = crate::keeper::KEEPER, hide = true)]
    Keeper(LeaseKeeperArgs),
}

/// An item as it is printed and given to commands.
fn text(item: &Value) -> String {
    item.as_str().map_or_else(|| item.to_string(), str::to_owned)
}

impl Place<'_> {
    fn queue(&self, name: &str) -> Result<JoinableQueue<Value>, Failure> {
        Ok(self.connect()?.joinable_queue(name))
    }
}

pub(super) fn queue(args: QueueArgs, place: &Place<'_>) -> Result<(), Failure> {
    match args.verb {
        QueueVerb::Work { name, until_empty, command } => work(&name, until_empty, &command, place),
        QueueVerb::Put { name, items, parse } => put(&place.queue(&name)?, items, parse),
        QueueVerb::Get(args) => told(args.item.json, get(&args, place)),
        QueueVerb::Ack(args) => leases::ack(&args, place),
        QueueVerb::Nack(args) => leases::nack(&args, place),
        QueueVerb::Extend(args) => leases::extend(&args, place),
        QueueVerb::Keeper(args) => leases::be_keeper(&args, place),
        QueueVerb::Join { name, wait } => {
            let queue = place.queue(&name)?;
            let joined = patiently!(queue, wait.wait(), join, join_timeout);
            joined.map_err(|error| failure_with(error, wait.conflict_exit_code))
        }
        QueueVerb::Len { name } => output::line(place.queue(&name)?.unfinished().map_err(failure)?),
        QueueVerb::Close { name } => place.queue(&name)?.close().map_err(failure),
        QueueVerb::Reopen { name } => place.queue(&name)?.reopen().map_err(failure),
        QueueVerb::Dead { name } => {
            let letters = place.queue(&name)?.dead_letters().map_err(failure)?;
            letters.iter().try_for_each(|letter| output::line(text(&letter.item)))
        }
        QueueVerb::Retry { name } => {
            let queue = place.queue(&name)?;
            let letters = queue.dead_letters().map_err(failure)?;
            letters.iter().try_for_each(|letter| queue.retry(letter).map(drop)).map_err(failure)
        }
    }
}

/// What is printed of an item.
fn item(lease: &Lease<Value>) -> Item {
    let (is_text, bytes) = match &**lease {
        Value::String(text) => (true, text.clone().into_bytes()),
        json => (false, json.to_string().into_bytes()),
    };
    Item { id: Some(lease.id()), token: None, attempt: Some(lease.attempt()), bytes, is_text }
}

/// Waits so long for items, and takes at most so many.
fn take(queue: &JoinableQueue<Value>, wait: Wait, most: usize) -> Result<Vec<Lease<Value>>, ClusterError> {
    patiently!(queue, wait, get_many, get_many_timeout; most)
}

fn get(args: &GetArgs, place: &Place<'_>) -> Result<(), Failure> {
    let mut printer = Printer::new(&args.queue.name, Codec::Json, args.item);
    if args.count == 0 {
        return Ok(());
    }
    if let Some(keep) = args.keep() {
        return leases::get(args, &keep, place, &mut printer);
    }
    let queue = place.queue(&args.queue.name)?;
    let (mut left, mut wait) = (args.count as usize, args.wait.wait());
    loop {
        let most = left.min(BATCH);
        let leases = match take(&queue, wait, most) {
            Ok(leases) => leases,
            // Whoever asks again is told.
            Err(_) if left < args.count as usize => return Ok(()),
            Err(error) => return Err(why_not_got(&args.queue.name, error, &args.wait)),
        };
        leases.iter().try_for_each(|lease| printer.add(&item(lease)))?;
        // Printed before it is acknowledged: what nobody has seen comes again.
        printer.flush()?;
        left -= leases.len();
        let is_last = left == 0 || leases.len() < most;
        queue.tasks_done(leases).map_err(failure)?;
        if is_last {
            return Ok(());
        }
        wait = Wait::Not;
    }
}

/// Why nothing was got, as people and scripts are told.
fn why_not_got(name: &str, error: ClusterError, wait: &WaitArgs) -> Failure {
    match error {
        ClusterError::WouldBlock { .. } | ClusterError::TimedOut { .. } => {
            empty(name, wait.conflict_exit_code)
        }
        ClusterError::Closed { .. } => at_its_end(name),
        error => failure(error),
    }
}

fn put(queue: &JoinableQueue<Value>, items: Vec<String>, parse: bool) -> Result<(), Failure> {
    let item = |text: String| {
        if !parse {
            return Ok(Value::String(text));
        }
        serde_json::from_str(&text).map_err(|error| Failure::Usage(format!("{text:?} is no JSON: {error}")))
    };
    if !items.is_empty() {
        let items = items.into_iter().map(item).collect::<Result<Vec<_>, _>>()?;
        return queue.put_many(&items).map_err(failure);
    }
    let mut batch = Vec::new();
    for line in std::io::stdin().lock().lines() {
        batch.push(item(line?)?);
        if batch.len() == BATCH {
            queue.put_many(&batch).map_err(failure)?;
            batch.clear();
        }
    }
    queue.put_many(&batch).map_err(failure)
}

fn work(name: &str, until_empty: bool, command: &[OsString], place: &Place<'_>) -> Result<(), Failure> {
    crate::program::check(command)?;
    let registration = register(&Namespace::current()?)?;
    let inbox = passed_on::inbox();
    let queue = place.queue(name)?;
    let mut failed = 0_u64;
    loop {
        let get = || if until_empty { queue.try_get() } else { queue.get() };
        let (got, signal) = passed_on::interruptibly(&inbox, get);
        if let Some(signal) = signal {
            if let Ok(lease) = got {
                // Nobody has begun it: that it was got does not count.
                drop(lease.put_back());
            }
            return Err(die_of(signal));
        }
        let lease = match got {
            Ok(lease) => lease,
            Err(ClusterError::Closed { .. } | ClusterError::WouldBlock { .. }) => break,
            Err(error) => return Err(failure(error)),
        };
        let outcome = run_job(&lease, command, &inbox, registration)?;
        if let Some(signal) = outcome.asked_by {
            drop(lease);
            return Err(die_of(signal));
        }
        if outcome.ended == Ended::Exited(0) {
            match lease.task_done() {
                // Another one has it by now.
                Ok(()) | Err(ClusterError::Lost { .. }) => {}
                Err(error) => return Err(failure(error)),
            }
        } else {
            output::warn(&format!("item {} failed in attempt {}", lease.id(), lease.attempt()));
            failed += 1;
        }
    }
    if failed == 0 {
        return Ok(());
    }
    let message = format!("{} failed", output::number_of(failed, "attempt"));
    Err(refusal("jobs_failed", procession_terminal::exit::SOME_FAILED, message))
}

fn run_job(
    lease: &Lease<Value>,
    command: &[OsString],
    inbox: &procession_sys::signals::Inbox,
    registration: &'static procession::shm::Registration,
) -> Result<wrap::Outcome, Failure> {
    let item = text(lease);
    let fill = |word: &OsString| match word.to_str() {
        Some(word) => word.replace("{}", &item).into(),
        None => word.clone(),
    };
    let command: Vec<OsString> = command.iter().map(fill).collect();
    let environment =
        [("PROCESSION_ITEM", Some(item.clone())), ("PROCESSION_ATTEMPT", Some(lease.attempt().to_string()))];
    let limits = Limits { time: None, kill_after: Duration::from_secs(10), passes_on: true };
    let is_lost = || lease.is_lost();
    let null = std::fs::File::open("/dev/null")?;
    let wrapped = Wrapped {
        command: &command,
        environment: &environment,
        limits,
        stdin: Some(std::os::fd::AsFd::as_fd(&null)),
        is_lost: Some(IsLost(&is_lost)),
    };
    std::io::stdout().flush()?;
    wrap::run(wrapped, inbox, registration)
}

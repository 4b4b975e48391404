//! What scripts on several hosts tell one another by: queues, events, barriers, counters.

use super::{Connect, failure, failure_with};
use crate::holding::{Wait, refusal};
use crate::passed_on::{self, die_of};
use crate::under::WaitArgs;
use crate::wrap::{self, IsLost, Limits, Wrapped};
use clap::Subcommand;
use procession::Namespace;
use procession::cluster::{Cluster, ClusterError, JoinableQueue, Lease};
use procession::shm::register;
use procession_sys::pidfd::Ended;
use procession_terminal::exit::{Failure, INCOMPLETE};
use procession_terminal::output;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::time::Duration;

/// How many lines of stdin are put in one step.
const BATCH: usize = 1000;

/// Hand out jobs: each item is with one process at a time, and with the next one when that dies.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  find . -name '*.wav' | procession --cluster $DB queue put enc\n  procession --cluster $DB queue work enc -- ./encode {}\n\nItems are texts, in JSON as other programs read them.\n\nExit codes: 0 done; 1 closed, and everything is done; 75 not in time (or -E)."
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
    /// Take an item, print it, and acknowledge it.
    Get {
        /// The queue.
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
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
}

/// An item as it is printed and given to commands.
fn text(item: &Value) -> String {
    item.as_str().map_or_else(|| item.to_string(), str::to_owned)
}

pub(super) fn queue(args: QueueArgs, connect: impl Connect) -> Result<(), Failure> {
    let open = |cluster: &Cluster, name: &str| cluster.joinable_queue::<Value>(name);
    match args.verb {
        QueueVerb::Work { name, until_empty, command } => work(&name, until_empty, &command, connect),
        QueueVerb::Put { name, items, parse } => put(&open(&connect()?, &name), items, parse),
        QueueVerb::Get { name, wait } => {
            let queue = open(&connect()?, &name);
            let got = match wait.wait() {
                Wait::Ever => queue.get(),
                Wait::Not => queue.try_get(),
                Wait::For(time) => queue.get_timeout(time),
            };
            let lease = got.map_err(|error| failure_with(error, wait.conflict_exit_code))?;
            // Printed before it is acknowledged: what nobody has seen comes again.
            output::line(text(&lease))?;
            lease.task_done().map_err(failure)
        }
        QueueVerb::Join { name, wait } => {
            let queue = open(&connect()?, &name);
            let joined = match wait.wait() {
                Wait::Ever => queue.join(),
                Wait::Not => queue.join_timeout(Duration::ZERO),
                Wait::For(time) => queue.join_timeout(time),
            };
            joined.map_err(|error| failure_with(error, wait.conflict_exit_code))
        }
        QueueVerb::Len { name } => output::line(open(&connect()?, &name).unfinished().map_err(failure)?),
        QueueVerb::Close { name } => open(&connect()?, &name).close().map_err(failure),
        QueueVerb::Reopen { name } => open(&connect()?, &name).reopen().map_err(failure),
        QueueVerb::Dead { name } => {
            let letters = open(&connect()?, &name).dead_letters().map_err(failure)?;
            letters.iter().try_for_each(|letter| output::line(text(&letter.item)))
        }
        QueueVerb::Retry { name } => {
            let queue = open(&connect()?, &name);
            let letters = queue.dead_letters().map_err(failure)?;
            letters.iter().try_for_each(|letter| queue.retry(letter).map(drop)).map_err(failure)
        }
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

fn work(name: &str, until_empty: bool, command: &[OsString], connect: impl Connect) -> Result<(), Failure> {
    crate::program::check(command)?;
    let registration = register(&Namespace::current()?)?;
    let inbox = passed_on::inbox();
    let queue = connect()?.joinable_queue::<Value>(name);
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

/// Set an event, and wait for it: a gate that opens for all who wait.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB event set migrated\n  procession --cluster $DB event wait migrated -w 30s && ./serve\n\nExit codes: 0 done, or it is set; 1 it is not set (test); 75 not in time (or -E)."
)]
pub(crate) struct EventArgs {
    #[command(subcommand)]
    verb: EventVerb,
}

#[derive(Debug, Subcommand)]
enum EventVerb {
    /// Set it.
    Set {
        /// The event.
        name: String,
    },
    /// Clear it.
    Clear {
        /// The event.
        name: String,
    },
    /// Let all go on who wait now.
    Pulse {
        /// The event.
        name: String,
    },
    /// Wait until it is set.
    Wait {
        /// The event.
        name: String,
        /// Wait until it is cleared instead.
        #[arg(long)]
        cleared: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Say by the exit code whether it is set.
    Test {
        /// The event.
        name: String,
    },
}

pub(super) fn event(cluster: &Cluster, args: &EventArgs) -> Result<(), Failure> {
    match &args.verb {
        EventVerb::Set { name } => cluster.event(name).set().map_err(failure),
        EventVerb::Clear { name } => cluster.event(name).clear().map_err(failure),
        EventVerb::Pulse { name } => cluster.event(name).pulse().map_err(failure),
        EventVerb::Wait { name, cleared, wait } => {
            let event = cluster.event(name);
            let waited = match (wait.wait(), cleared) {
                (Wait::Ever, false) => event.wait(),
                (Wait::Ever, true) => event.wait_cleared(),
                (Wait::Not, false) => event.wait_timeout(Duration::ZERO),
                (Wait::Not, true) => event.wait_cleared_timeout(Duration::ZERO),
                (Wait::For(time), false) => event.wait_timeout(time),
                (Wait::For(time), true) => event.wait_cleared_timeout(time),
            };
            waited.map_err(|error| failure_with(error, wait.conflict_exit_code))
        }
        EventVerb::Test { name } => match cluster.event(name).is_set().map_err(failure)? {
            true => Ok(()),
            false => Err(Failure::Command(INCOMPLETE)),
        },
    }
}

/// Wait until all parties have come.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB barrier wait loaded -p 8\n  procession --cluster $DB barrier reset loaded -p 8\n\nExit codes: 0 all have come; 65 it is broken, or has other parties; 75 not in time\n(or -E), and broken now."
)]
pub(crate) struct BarrierArgs {
    #[command(subcommand)]
    verb: BarrierVerb,
}

#[derive(Debug, Subcommand)]
enum BarrierVerb {
    /// Wait until all have come.
    Wait {
        /// The barrier.
        name: String,
        /// How many there are; all who use it must say the same.
        #[arg(short, long, value_name = "N", env = "WORLD_SIZE")]
        parties: u32,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Make it whole again.
    Reset {
        /// The barrier.
        name: String,
        /// How many there are.
        #[arg(short, long, value_name = "N", env = "WORLD_SIZE")]
        parties: u32,
    },
    /// Break it.
    Abort {
        /// The barrier.
        name: String,
        /// How many there are.
        #[arg(short, long, value_name = "N", env = "WORLD_SIZE")]
        parties: u32,
    },
}

pub(super) fn barrier(cluster: &Cluster, args: &BarrierArgs) -> Result<(), Failure> {
    match &args.verb {
        BarrierVerb::Wait { name, parties, wait } => {
            let barrier = cluster.barrier(name, *parties);
            let met = match wait.wait() {
                Wait::Ever => barrier.wait(),
                Wait::Not => barrier.wait_timeout(Duration::ZERO),
                Wait::For(time) => barrier.wait_timeout(time),
            };
            output::line(met.map_err(|error| failure_with(error, wait.conflict_exit_code))?)
        }
        BarrierVerb::Reset { name, parties } => cluster.barrier(name, *parties).reset().map_err(failure),
        BarrierVerb::Abort { name, parties } => cluster.barrier(name, *parties).abort().map_err(failure),
    }
}

/// Count together: a number that is changed in one step, and printed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB counter add done\n  procession --cluster $DB counter get done --json\n\nExit codes: 0 done; 65 the number would be too large."
)]
pub(crate) struct CounterArgs {
    #[command(subcommand)]
    verb: CounterVerb,
    /// Print it as one JSON document.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum CounterVerb {
    /// Add to it, and print what it is then.
    Add {
        /// The counter.
        name: String,
        /// How much, also a negative number.
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        number: i64,
    },
    /// Print it.
    Get {
        /// The counter.
        name: String,
    },
    /// Make it that.
    Set {
        /// The counter.
        name: String,
        /// The number.
        #[arg(allow_negative_numbers = true)]
        number: i64,
    },
}

pub(super) fn counter(cluster: &Cluster, args: &CounterArgs) -> Result<(), Failure> {
    let (name, now) = match &args.verb {
        CounterVerb::Add { name, number } => (name, cluster.counter(name).add(*number)),
        CounterVerb::Get { name } => (name, cluster.counter(name).get()),
        CounterVerb::Set { name, number } => (name, cluster.counter(name).set(*number).map(|()| *number)),
    };
    let now = now.map_err(failure)?;
    if args.json {
        return output::json(&json!({"v": 1, "kind": "counter", "name": name, "value": now}));
    }
    output::line(now)
}

//! What scripts on several hosts tell one another by: events, barriers, counters.

use super::{failure, failure_with};
use crate::holding::patiently;
use crate::under::WaitArgs;
use clap::Subcommand;
use procession::cluster::Cluster;
use procession_terminal::exit::{Failure, INCOMPLETE};
use procession_terminal::output;
use serde_json::json;

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
            let waited = if *cleared {
                patiently!(event, wait.wait(), wait_cleared, wait_cleared_timeout)
            } else {
                patiently!(event, wait.wait(), wait, wait_timeout)
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
            let met = patiently!(barrier, wait.wait(), wait, wait_timeout);
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
    pub(super) json: bool,
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

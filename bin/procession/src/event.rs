//! `procession event`: a gate between scripts and programs, which opens for all who wait there.

use crate::holding::{not_in_time, patiently};
use crate::keeper::{self, Kept};
use crate::under::{WaitArgs, told};
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use procession::{Event, EventError, OpenError};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde_json::json;

/// Set an event, and wait for it: a gate that opens for all who wait.
#[derive(Debug, clap::Args)]
#[command(after_help = EVENT_HELP)]
pub(crate) struct EventArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Set(SetArgs),
    Clear(ClearArgs),
    Pulse(PulseArgs),
    Wait(UntilArgs),
    Test(TestArgs),
}

/// Set the event: who waits goes on, and nobody waits for it from now on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession event set db-up\n  procession event set db-up --owner $(cat db.pid)\n\nExit codes: 0 set, 2 no such process, 65 the name is another kind of object, or\nanother process's event"
)]
struct SetArgs {
    /// The event; it is made if there is none.
    name: String,
    /// Have it clear itself when this process ends, however that ends.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), env = "PROCESSION_OWNER", hide_env = true)]
    owner: Option<u32>,
}

/// Clear the event: from now on, who waits for it has to wait.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession event clear db-up\n  procession -N build event clear go\n\nExit codes: 0 cleared, 65 the name is another kind of object"
)]
struct ClearArgs {
    /// The event; it is made if there is none.
    name: String,
}

/// Let go all who wait for the event now, and leave it cleared.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession event pulse tick\n  procession -N build event pulse go\n\nExit codes: 0 done, 65 the name is another kind of object"
)]
struct PulseArgs {
    /// The event; it is made if there is none.
    name: String,
}

/// Wait until the event is set.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession event wait db-up -w 30s && pytest\n  procession event wait maintenance --cleared\n\nExit codes: 0 it is set, 65 the name is another kind of object, 75 it was not\nin time (or -E)"
)]
struct UntilArgs {
    /// The event; it is made if there is none.
    name: String,
    /// Wait until it is cleared instead.
    #[arg(long, env = "PROCESSION_CLEARED", hide_env = true, value_parser = FalseyValueParser::new())]
    cleared: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// Say by the exit code whether the event is set.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession event test db-up && echo up\n  procession event test db-up --json | jq .set\n\nExit codes: 0 it is set, 1 it is not, or there is none"
)]
struct TestArgs {
    /// The event.
    name: String,
    /// Print it as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

const EVENT_HELP: &str = "\
Examples:
  start_db && procession event set db-up --owner $(cat db.pid)
  procession event wait db-up -w 30s && pytest

Programs open the same Event of the library by its name.

Exit codes: 0 done, or it is set; 1 it is not set (test); 2 wrong usage; 65 the
name is another kind of object; 75 not in time (-E changes this code).";

/// # Errors
/// [`Failure::Refused`] when the event was not set in time; [`Failure::Incomplete`] for a test of one that is not.
pub(crate) fn run(args: EventArgs) -> Result<(), Failure> {
    match args.verb {
        Verb::Set(args) => set(args),
        Verb::Clear(args) => {
            Event::open_or_create(&args.name)?.clear();
            Ok(())
        }
        Verb::Pulse(args) => {
            Event::open_or_create(&args.name)?.pulse();
            Ok(())
        }
        Verb::Wait(args) => told(args.json, wait(&args)),
        Verb::Test(args) => told(args.json, test(&args)),
    }
}

fn set(args: SetArgs) -> Result<(), Failure> {
    if let Some(owner) = args.owner {
        return keeper::keep_for(owner, &Kept::Event(args.name));
    }
    Event::open_or_create(&args.name)?.set();
    Ok(())
}

fn wait(args: &UntilArgs) -> Result<(), Failure> {
    let event = Event::open_or_create(&args.name)?;
    let wait = args.wait.wait();
    let outcome = if args.cleared {
        patiently!(event, wait, wait_cleared, wait_cleared_timeout)
    } else {
        patiently!(event, wait, wait, wait_timeout)
    };
    outcome.map_err(|error| match error {
        EventError::TimedOut { .. } => {
            let message = format!("event {:?} is not set, and was not in time", args.name);
            not_in_time(args.wait.conflict_exit_code, message)
        }
        EventError::StillSet { .. } => {
            let by = event.owner().map_or_else(String::new, |owner| format!(" by {owner}"));
            let message = format!("event {:?} is still set{by}", args.name);
            not_in_time(args.wait.conflict_exit_code, message)
        }
        error => error.into(),
    })
}

fn test(args: &TestArgs) -> Result<(), Failure> {
    let event = match Event::open(&args.name) {
        Ok(event) => Some(event),
        Err(OpenError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let is_set = event.as_ref().is_some_and(Event::is_set);
    if args.json {
        let owner = event.and_then(|event| event.owner()).map(|owner| owner.pid);
        output::json(&json!({"v": 1, "kind": "event", "name": args.name, "set": is_set, "owner": owner}))?;
    }
    if is_set { Ok(()) } else { Err(Failure::Incomplete) }
}

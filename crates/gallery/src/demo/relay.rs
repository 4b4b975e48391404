//! Three processes in a row: A fetches, B processes, C saves.
//!
//! C is started first and A last; two events put them in order. Each takes two numbers from a common counter,
//! one when it begins and one when it ends: so the order is measured.

use crate::shown::{Done, introduce, must_hold, say};
use procession::{Event, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A fetches, B processes, C saves: put in order by two events.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Steps of some milliseconds instead of half a second.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct Relay {
    has_fetched: Event,
    has_processed: Event,
    data: Value<u64>,
    result: Value<u64>,
    saved: Value<u64>,
    /// How many beginnings and ends there were so far.
    counter: Value<u64>,
    step: Duration,
}

const FETCHED: u64 = 21;

/// The numbers that a process took at its beginning and at its end.
type Span = (u64, u64);

/// Runs in a process of its own.
fn fetch(relay: Relay) -> Done<Span> {
    let begin = relay.counter.fetch_add(1)?;
    std::thread::sleep(relay.step);
    relay.data.set(FETCHED)?;
    say(format_args!("A fetched {FETCHED}"));
    let end = relay.counter.fetch_add(1)?;
    relay.has_fetched.set();
    Ok((begin, end))
}

/// Runs in a process of its own.
fn process(relay: Relay) -> Done<Span> {
    relay.has_fetched.wait()?;
    let begin = relay.counter.fetch_add(1)?;
    std::thread::sleep(relay.step);
    let result = relay.data.get()? * 2;
    relay.result.set(result)?;
    say(format_args!("B made {result} of it"));
    let end = relay.counter.fetch_add(1)?;
    relay.has_processed.set();
    Ok((begin, end))
}

/// Runs in a process of its own.
fn save(relay: Relay) -> Done<Span> {
    relay.has_processed.wait()?;
    let begin = relay.counter.fetch_add(1)?;
    std::thread::sleep(relay.step);
    let result = relay.result.get()?;
    relay.saved.set(result)?;
    say(format_args!("C saved {result}"));
    Ok((begin, relay.counter.fetch_add(1)?))
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let relay = Relay {
        has_fetched: Event::new()?,
        has_processed: Event::new()?,
        data: Value::new(0)?,
        result: Value::new(0)?,
        saved: Value::new(0)?,
        counter: Value::new(0)?,
        step: Duration::from_millis(if args.quick { 5 } else { 500 }),
    };
    let mut team = Team::new();
    team.spawn_fallible("C", save, relay.clone())?;
    team.spawn_fallible("B", process, relay.clone())?;
    team.spawn_fallible("A", fetch, relay.clone())?;
    introduce(&team)?;
    let spans = team.join()?;
    must_hold(spans == [(4, 5), (2, 3), (0, 1)], "somebody began before the one before had ended")?;
    must_hold(relay.saved.get()? == FETCHED * 2, "something else was saved")?;
    output::line("order: A, B, C: all right")
}

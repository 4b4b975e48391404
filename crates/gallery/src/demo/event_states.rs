//! What an event does: set, cleared, waited for in vain, set before anybody waits, and pulsed.

use crate::check::must_hold;
use procession::{Event, EventError, Process};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// An event is set, cleared, waited for and pulsed; its state after each step.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Waits in vain for 50 ms instead of 3 s.
    #[arg(long)]
    quick: bool,
}

/// Runs in a process of its own: says that it is there, and waits.
fn waiter((is_there, event): (Event, Event)) -> Result<(), String> {
    is_there.set();
    event.wait().map_err(|error| error.to_string())
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let event = Event::new()?;
    let shows = |step: &str, expected: bool| {
        output::line(format_args!("{step}: {}", if event.is_set() { "set" } else { "not set" }))?;
        must_hold(event.is_set() == expected, "the event is in another state")
    };
    shows("at first", false)?;
    let timeout = Duration::from_millis(if args.quick { 50 } else { 3000 });
    let waited = event.wait_timeout(timeout);
    must_hold(matches!(waited, Err(EventError::TimedOut { .. })), "nobody set it, and the wait ended")?;
    shows("waited in vain", false)?;

    event.set();
    shows("set before anybody waits", true)?;
    let late = Process::spawn(waiter, (Event::new()?, event.clone()))?;
    late.join()?.map_err(Failure::Wrong)?;
    shows("a late process did not wait", true)?;

    event.clear();
    shows("cleared", false)?;
    let is_there = Event::new()?;
    let waiting = Process::spawn(waiter, (is_there.clone(), event.clone()))?;
    is_there.wait_timeout(Duration::from_secs(20))?;
    // Whether it waits already nobody can say: pulse until it has gone on.
    while waiting.is_alive() {
        event.pulse();
        std::thread::sleep(Duration::from_millis(1));
    }
    waiting.join()?.map_err(Failure::Wrong)?;
    shows("pulsed, and the waiting process went on", false)
}

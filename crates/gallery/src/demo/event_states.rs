//! What an event does: set, cleared, waited for in vain and with success, set before anybody waits, and pulsed.

use crate::shown::{Done, must_hold};
use procession::{Event, EventError, Process, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::{Duration, Instant};

/// An event is set, cleared, waited for and pulsed; its state after each step.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Waits for a sixtieth of the time.
    #[arg(long)]
    quick: bool,
}

/// Runs in a process of its own: says that it is there, and waits; for how long.
fn waiter(is_there: Event, event: Event, timeout: Duration) -> Done<Duration> {
    is_there.set();
    let begin = Instant::now();
    event.wait_timeout(timeout)?;
    Ok(begin.elapsed())
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let second = Duration::from_secs(1) / if args.quick { 60 } else { 1 };
    // For what happens in any case.
    let long = Duration::from_secs(60);
    let (event, is_there) = (Event::new()?, Event::new()?);
    let shows = |step: &str, expected: bool| {
        output::line(format_args!("{step}: {}", if event.is_set() { "set" } else { "not set" }))?;
        must_hold(event.is_set() == expected, "the event is in another state")
    };
    let wait = |timeout| Process::spawn_fallible(waiter, (is_there.clone(), event.clone(), timeout));
    shows("at first", false)?;
    let waited = event.wait_timeout(3 * second);
    must_hold(matches!(waited, Err(EventError::TimedOut { .. })), "nobody set it, and the wait ended")?;
    shows("waited in vain", false)?;

    let mut team = Team::from_iter([wait(if args.quick { long } else { 3 * second })?]);
    team.wait_for(&is_there)?;
    std::thread::sleep(second);
    event.set();
    let waited: Duration = team.join()?.into_iter().sum();
    shows(
        &format!("a process waited for {:.1} s of its 3, until the event was set", waited.as_secs_f64()),
        true,
    )?;

    let late = wait(long)?.join()?;
    must_hold(late < long, "a process waited for an event that was set")?;
    shows("a late process did not wait, it had been set before", true)?;

    event.clear();
    shows("cleared", false)?;
    is_there.clear();
    let mut team = Team::from_iter([wait(long)?]);
    team.wait_for(&is_there)?;
    // Whether it waits already nobody can say: pulse until it has gone on.
    while team.members().any(Process::is_alive) {
        event.pulse();
        std::thread::sleep(Duration::from_millis(1));
    }
    team.join()?;
    shows("pulsed, and the waiting process went on", false)
}

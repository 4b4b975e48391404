//! The value of a semaphore, step by step.
//!
//! Two permits, two workers: each takes one when it is told to, and gives it back when it is told to. A worker
//! that was killed would give its permit back as well; but then the steps are not these, and the demo says who
//! it was.

use crate::shown::{Done, must_hold};
use procession::{Event, Semaphore, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;

/// Two workers take and give back the two permits of a semaphore; its value after each step.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

/// What a worker is told, and what it tells.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Signals {
    take: Event,
    has_taken: Event,
    give: Event,
    has_given: Event,
}

/// Runs in a process of its own.
fn worker(permits: Semaphore, signals: Signals) -> Done<()> {
    signals.take.wait()?;
    let permit = permits.acquire()?;
    signals.has_taken.set();
    signals.give.wait()?;
    drop(permit);
    signals.has_given.set();
    Ok(())
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let permits = Semaphore::new(2)?;
    let mut team = Team::new();
    let mut workers = Vec::new();
    for number in 1..=2 {
        let (take, has_taken, give, has_given) = (Event::new()?, Event::new()?, Event::new()?, Event::new()?);
        let signals = Signals { take, has_taken, give, has_given };
        team.spawn_fallible(format!("worker-{number}"), worker, (permits.clone(), signals.clone()))?;
        workers.push((number, signals));
    }
    let mut values = vec![permits.available()];
    output::line(format_args!("at first: {}", permits.available()))?;
    for (number, signals) in &workers {
        signals.take.set();
        team.wait_for(&signals.has_taken)?;
        values.push(permits.available());
        output::line(format_args!("worker {number} took a permit: {}", permits.available()))?;
    }
    for (number, signals) in &workers {
        signals.give.set();
        team.wait_for(&signals.has_given)?;
        values.push(permits.available());
        output::line(format_args!("worker {number} gave it back: {}", permits.available()))?;
    }
    team.join()?;
    must_hold(values == [2, 1, 0, 1, 2], "the values were others")?;
    output::line("2, 1, 0, 1, 2: all right")
}

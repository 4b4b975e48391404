//! The value of a semaphore, step by step.
//!
//! Two permits, two workers: each takes one when it is told to, and gives it back when it is told to. A
//! worker that was killed would give its permit back as well.

use crate::check::must_hold;
use procession::{Event, Process, Semaphore};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Two workers take and give back the two permits of a semaphore; its value after each step.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

/// A worker that does not answer for so long has been killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a worker is told, and what it tells.
type Signals = (Event, Event, Event, Event);

/// Runs in a process of its own.
fn worker((permits, (take, has_taken, give, has_given)): (Semaphore, Signals)) -> Result<(), String> {
    take.wait().map_err(|error| error.to_string())?;
    let permit = permits.acquire().map_err(|error| error.to_string())?;
    has_taken.set();
    give.wait().map_err(|error| error.to_string())?;
    drop(permit);
    has_given.set();
    Ok(())
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let permits = Semaphore::new(2)?;
    let mut workers = Vec::new();
    for _ in 0..2 {
        let signals = (Event::new()?, Event::new()?, Event::new()?, Event::new()?);
        workers.push((Process::spawn(worker, (permits.clone(), signals.clone()))?, signals));
    }
    let mut values = vec![permits.available()];
    output::line(format_args!("at first: {}", permits.available()))?;
    for (number, (_, (take, has_taken, ..))) in workers.iter().enumerate() {
        take.set();
        has_taken.wait_timeout(PATIENCE)?;
        values.push(permits.available());
        output::line(format_args!("worker {} took a permit: {}", number + 1, permits.available()))?;
    }
    for (number, (_, (.., give, has_given))) in workers.iter().enumerate() {
        give.set();
        has_given.wait_timeout(PATIENCE)?;
        values.push(permits.available());
        output::line(format_args!("worker {} gave it back: {}", number + 1, permits.available()))?;
    }
    for (worker, _) in workers {
        worker.join()?.map_err(Failure::Wrong)?;
    }
    must_hold(values == [2, 1, 0, 1, 2], "the values were others")?;
    output::line("2, 1, 0, 1, 2: all right")
}

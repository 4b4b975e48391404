//! Releasing once too often: a mistake for a bounded semaphore, a new permit for a plain one.

use crate::shown::{Done, must_hold};
use procession::{BoundedSemaphore, Process, Semaphore};
use procession_terminal::exit::Failure;
use procession_terminal::output;

/// A process releases once too often: a bounded semaphore refuses, a plain one has a permit more.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

const PERMITS: usize = 2;

/// What came of it: the permits at the end, and what the last release said if it was refused.
type Outcome = (u32, Option<String>);

/// Takes a permit and gives it back, as it should be; and then releases one that nobody took.
fn release_too_often(permits: &Semaphore) -> Done<Outcome> {
    drop(permits.acquire()?);
    let refusal = permits.release(1).err().map(|error| error.to_string());
    Ok((permits.available() as u32, refusal))
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let bounded = BoundedSemaphore::new(PERMITS)?;
    let plain = Semaphore::new(PERMITS)?;
    let on_bounded = |bounded: BoundedSemaphore| release_too_often(&bounded);
    let on_plain = |plain: Semaphore| release_too_often(&plain);
    for (kind, (permits, refusal)) in [
        ("bounded", Process::spawn_fallible(on_bounded, bounded.clone())?.join()?),
        ("plain", Process::spawn_fallible(on_plain, plain.clone())?.join()?),
    ] {
        let answer = refusal.map_or("allowed".to_owned(), |why| format!("refused, {why}"));
        output::line(format_args!("{kind} semaphore of {PERMITS}, released once too often: {answer}"))?;
        output::line(format_args!("{kind} semaphore now: {permits} permits"))?;
    }
    must_hold(bounded.available() == PERMITS, "the bounded semaphore has another number of permits")?;
    must_hold(plain.available() == PERMITS + 1, "the plain semaphore did not get a permit more")?;
    output::line("the bounded one refused, the plain one did not: all right")
}

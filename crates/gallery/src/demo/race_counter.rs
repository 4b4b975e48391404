//! Two processes count on one number: with nothing between them, and then under a lock.
//!
//! An increment reads, adds and writes. What the other writes between the reading and the writing is lost,
//! unless a lock keeps it out. A barrier lets both begin at once, and now and then one gives its turn away in
//! the middle of an increment, so that the two meet there on any machine.

use crate::shown::{Done, introduce, must_hold};
use procession::{Barrier, Lock, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;

/// Two processes, 100,000 increments each, unsynchronised and then locked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many increments each process makes.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    times: u64,
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

/// After how many increments one gives its turn away in the middle.
const YIELDS: u64 = 20;

/// Runs in a process of its own.
fn count(counter: Value<u64>, lock: Option<Lock>, start: Barrier, times: u64) -> Done<()> {
    start.wait()?;
    for nth in 0..times {
        let _guard = lock.as_ref().map(Lock::acquire).transpose()?;
        let seen = counter.get()?;
        if nth % YIELDS == 0 {
            std::thread::yield_now();
        }
        counter.set(seen + 1)?;
    }
    Ok(())
}

/// Where two processes get to.
fn counted(lock: Option<&Lock>, times: u64) -> Result<u64, Failure> {
    let (counter, start) = (Value::new(0)?, Barrier::new(2)?);
    let mut team = Team::new();
    for name in ["counter-1", "counter-2"] {
        team.spawn_fallible(name, count, (counter.clone(), lock.cloned(), start.clone(), times))?;
    }
    introduce(&team)?;
    team.join()?;
    Ok(counter.get()?)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let expected = 2 * args.times;
    let unlocked = counted(None, args.times)?;
    let lost = expected.saturating_sub(unlocked);
    output::line(format_args!("unsynchronised: {unlocked} of {expected}, {lost} lost"))?;
    let locked = counted(Some(&Lock::create("counter")?), args.times)?;
    output::line(format_args!("locked: {locked} of {expected}"))?;
    must_hold(locked == expected, "an increment was lost under the lock")?;
    output::line("locked, nothing is lost: all right")
}

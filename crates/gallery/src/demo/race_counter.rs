//! Two processes count on one number: with nothing between them, and then under a lock.
//!
//! An increment reads, adds and writes. What the other writes between the reading and the writing is lost,
//! unless a lock keeps it out.

use crate::check::must_hold;
use crate::workers::{Done, introduce, join_all};
use procession::{Lock, Process, Value};
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

/// Runs in a process of its own.
fn count((counter, lock, times): (Value<u64>, Option<Lock>, u64)) -> Done<()> {
    for _ in 0..times {
        let _guard = lock.as_ref().map(Lock::acquire).transpose()?;
        counter.set(counter.get()? + 1)?;
    }
    Ok(())
}

/// Where two processes get to.
fn counted(lock: Option<&Lock>, times: u64) -> Result<u64, Failure> {
    let counter = Value::new(0)?;
    let start = |number| {
        let named = Process::options().name(format!("counter-{number}"));
        named.spawn(count, (counter.clone(), lock.cloned(), times))
    };
    let workers = vec![start(1)?, start(2)?];
    introduce(&workers)?;
    join_all(workers)?;
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

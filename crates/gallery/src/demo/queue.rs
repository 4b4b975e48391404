//! A queue between three processes.
//!
//! One process puts squares, another puts cubes, both at once; the parent takes them out as they come. Those of
//! one process come in their order, those of the two in any.

use crate::random::work;
use crate::shown::{Done, must_hold};
use procession::{Barrier, Queue, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// One process puts squares into a queue, another cubes, the parent drains it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of at most 2 ms instead of 400.
    #[arg(long)]
    quick: bool,
}

const NUMBERS: u64 = 5;

/// The exponent says who put the power.
type Powers = Queue<(u32, u64)>;

/// Runs in a process of its own: puts the powers of all numbers.
fn put_powers(powers: Powers, exponent: u32, start: Barrier, longest: Duration) -> Done<()> {
    start.wait()?;
    for n in 0..NUMBERS {
        powers.put(&(exponent, n.pow(exponent)))?;
        work(longest);
    }
    Ok(())
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let longest = Duration::from_millis(if args.quick { 2 } else { 400 });
    let (powers, start): (Powers, _) = (Queue::create("powers")?, Barrier::new(2)?);
    let mut team = Team::new();
    for (name, exponent) in [("squares", 2), ("cubes", 3)] {
        team.spawn_fallible(name, put_powers, (powers.clone(), exponent, start.clone(), longest))?;
    }
    let mut seen = Vec::new();
    while seen.len() < 2 * NUMBERS as usize {
        team.wait_for(&powers)?;
        let (exponent, power) = powers.try_get()?;
        output::line(format_args!("{power} ({})", if exponent == 2 { "square" } else { "cube" }))?;
        seen.push((exponent, power));
    }
    team.join()?;

    for exponent in [2, 3] {
        let its = seen.iter().filter(|(whose, _)| *whose == exponent).map(|(_, power)| *power);
        must_hold(its.eq((0..NUMBERS).map(|n| n.pow(exponent))), "a power is missing, or came out of order")?;
    }
    let turns = seen.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    output::line(format_args!(
        "{} powers, each producer's in order, and {} from one to the other: all right",
        seen.len(),
        output::number_of(turns as u64, "change")
    ))
}

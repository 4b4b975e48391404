//! A queue between three processes.
//!
//! One process puts squares, another puts cubes, and the parent takes them out. What a process has put is in
//! the queue even if the process is killed right after that: then another goes on where it stopped.

use crate::check::must_hold;
use procession::{GetError, Process, ProcessError, Queue};
use procession_terminal::exit::Failure;
use procession_terminal::output;

/// One process puts squares into a queue, another cubes, the parent drains it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

const NUMBERS: u64 = 5;

/// The exponent says who put the power.
type Powers = Queue<(u32, u64)>;

/// Runs in a process of its own: puts the powers of all numbers from `first` on.
fn put_powers((powers, exponent, first): (Powers, u32, u64)) -> Result<(), String> {
    for n in first..NUMBERS {
        powers.put(&(exponent, n.pow(exponent))).map_err(|error| error.to_string())?;
    }
    Ok(())
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let powers: Powers = Queue::create("powers")?;
    let start = |exponent, first| Process::spawn(put_powers, (powers.clone(), exponent, first));
    let producers = [(2, start(2, 0)?), (3, start(3, 0)?)];

    let mut seen: Vec<(u32, u64)> = Vec::new();
    for (exponent, mut producer) in producers {
        loop {
            match producer.join() {
                Ok(done) => break done.map_err(Failure::Wrong)?,
                Err(ProcessError::Killed { .. }) => {
                    drain(&powers, &mut seen)?;
                    producer = start(exponent, by(exponent, &seen).count() as u64)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    drain(&powers, &mut seen)?;

    for exponent in [2, 3] {
        let in_order = by(exponent, &seen).eq((0..NUMBERS).map(|n| n.pow(exponent)));
        must_hold(in_order, "a power is missing, or came out of order")?;
    }
    output::line(format_args!("{} powers, each producer's in order: all right", seen.len()))
}

/// The powers that one producer put, as they came.
fn by(exponent: u32, seen: &[(u32, u64)]) -> impl Iterator<Item = u64> {
    seen.iter().filter(move |(whose, _)| *whose == exponent).map(|(_, power)| *power)
}

/// Takes out all that is there.
fn drain(powers: &Powers, seen: &mut Vec<(u32, u64)>) -> Result<(), Failure> {
    loop {
        match powers.try_get() {
            Ok((exponent, power)) => {
                output::line(format_args!("{power} ({})", if exponent == 2 { "square" } else { "cube" }))?;
                seen.push((exponent, power));
            }
            Err(GetError::WouldBlock(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

//! Three workers that wait for each other, twice.
//!
//! Each counts itself before the barrier and looks at the count behind it. The barrier gives each another index,
//! in the order in which they came. They have joined the barrier, so it knows them: if one is killed, the others
//! are told which, instead of waiting for ever.

use crate::random::work;
use crate::shown::{Done, introduce, must_hold, say};
use procession::{Array, Barrier, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Three workers meet at a barrier, twice; nobody passes before all have arrived.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Work of some milliseconds instead of up to a second.
    #[arg(long)]
    quick: bool,
}

const WORKERS: u32 = 3;
const ROUNDS: usize = 2;

/// Runs in a process of its own; its index, and how many had arrived when it passed, in each round.
fn worker(me: u32, barrier: Barrier, arrived: Array<u32>, longest: Duration) -> Done<Vec<(u32, u32)>> {
    let mut member = barrier.join()?;
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        say(format_args!("worker {me} works"));
        let time = work(longest);
        say(format_args!("worker {me} arrives after {} ms, round {}", time.as_millis(), round + 1));
        arrived.fetch_add(round, 1)?;
        let (index, count) = (member.wait()?, arrived.get(round)?);
        say(format_args!("worker {me} passes, round {}, with index {index}: {count} had arrived", round + 1));
        seen.push((index, count));
    }
    Ok(seen)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let longest = Duration::from_millis(if args.quick { 5 } else { 1000 });
    let barrier = Barrier::new(WORKERS as usize)?;
    let arrived = Array::options().len(ROUNDS).anonymous()?;
    let mut team = Team::new();
    for me in 1..=WORKERS {
        let arguments = (me, barrier.clone(), arrived.clone(), longest);
        team.spawn_fallible(format!("worker-{me}"), worker, arguments)?;
    }
    introduce(&team)?;
    let seen = team.join()?;
    for round in 0..ROUNDS {
        let mut passed: Vec<_> = seen.iter().map(|rounds| rounds[round]).collect();
        passed.sort_unstable();
        must_hold(passed == [(0, 3), (1, 3), (2, 3)], "somebody passed before all had arrived")?;
    }
    output::line(format_args!("{ROUNDS} rounds, nobody passed before all {WORKERS} had arrived: all right"))
}

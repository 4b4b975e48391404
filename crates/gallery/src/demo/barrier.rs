//! Three workers that wait for each other, twice.
//!
//! Each counts itself before the barrier and looks at the count behind it. They have joined the barrier, so
//! it knows them: if one is killed, the others are told which, instead of waiting for ever.

use crate::check::must_hold;
use crate::random::work;
use crate::workers::{Done, introduce, join_all, say};
use procession::{Array, Barrier, Process};
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

/// Runs in a process of its own; how many had arrived when it passed, in each round.
fn worker((me, barrier, arrived, longest): (u32, Barrier, Array<u32>, Duration)) -> Done<Vec<u32>> {
    let mut member = barrier.join()?;
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        say(format_args!("worker {me} works"));
        let time = work(longest);
        say(format_args!("worker {me} arrives after {} ms, round {}", time.as_millis(), round + 1));
        arrived.fetch_add(round, 1)?;
        member.wait()?;
        seen.push(arrived.get(round)?);
        say(format_args!("worker {me} passes, round {}: {} had arrived", round + 1, seen[round]));
    }
    Ok(seen)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let longest = Duration::from_millis(if args.quick { 5 } else { 1000 });
    let barrier = Barrier::new(WORKERS as usize)?;
    let arrived = Array::options().len(ROUNDS).anonymous()?;
    let start = |me| {
        let named = Process::options().name(format!("worker-{me}"));
        named.spawn(worker, (me, barrier.clone(), arrived.clone(), longest))
    };
    let workers = (1..=WORKERS).map(start).collect::<Result<Vec<_>, _>>()?;
    introduce(&workers)?;
    let seen = join_all(workers)?.concat();
    must_hold(seen == [WORKERS; WORKERS as usize * ROUNDS], "somebody passed before all had arrived")?;
    output::line(format_args!("{ROUNDS} rounds, nobody passed before all {WORKERS} had arrived: all right"))
}

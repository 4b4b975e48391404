//! A group photo: when everybody is there, one of them sets up the camera.
//!
//! A barrier gives everyone who passes it another index. So they need not talk about who does something that
//! is to be done once: whoever gets 0 does it. The others wait for that at the barrier as well.

use crate::random::work;
use crate::shown::{Done, must_hold, say};
use procession::{Barrier, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Four workers; the one that gets index 0 at the barrier prepares what all do next.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ways of some milliseconds instead of up to a second.
    #[arg(long)]
    quick: bool,
}

const WORKERS: u32 = 4;

/// Runs in a process of its own; its index, and how many cameras it has seen.
fn worker(me: u32, barrier: Barrier, cameras: Value<u32>, longest: Duration) -> Done<(u32, u32)> {
    let mut member = barrier.join()?;
    work(longest);
    say(format_args!("worker {me} is there"));
    let index = member.wait()?;
    say(format_args!("worker {me} has index {index}"));
    if index == 0 {
        say(format_args!("worker {me} sets up the camera"));
        cameras.fetch_add(1)?;
    }
    member.wait()?;
    let cameras = cameras.get()?;
    say(format_args!("worker {me} smiles into {}", output::number_of(cameras.into(), "camera")));
    Ok((index, cameras))
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let longest = Duration::from_millis(if args.quick { 5 } else { 1000 });
    let barrier = Barrier::new(WORKERS as usize)?;
    let cameras = Value::new(0)?;
    let mut team = Team::new();
    for me in 1..=WORKERS {
        let arguments = (me, barrier.clone(), cameras.clone(), longest);
        team.spawn_fallible(format!("worker-{me}"), worker, arguments)?;
    }
    let (mut indexes, cameras): (Vec<u32>, Vec<u32>) = team.join()?.into_iter().unzip();
    indexes.sort_unstable();
    must_hold(indexes.iter().copied().eq(0..WORKERS), "two workers have the same index")?;
    must_hold(cameras == [1; WORKERS as usize], "there was not exactly one camera for everybody")?;
    output::line("exactly one had index 0, and everybody saw its camera: all right")
}

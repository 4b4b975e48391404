//! A barrier for three, and only two workers.
//!
//! With a timeout this mistake is an error in every process, instead of a program that does nothing for ever.

use crate::shown::{Done, must_hold, say};
use procession::{Barrier, BarrierError, BreakCause, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Three parties, two workers: reported by a timeout, instead of hanging.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Waits for 100 ms instead of 2 s.
    #[arg(long)]
    quick: bool,
}

const PARTIES: usize = 3;
const WORKERS: u32 = 2;

/// Runs in a process of its own; whether it was told that somebody is missing.
fn worker(me: u32, barrier: Barrier) -> Done<bool> {
    say(format_args!("worker {me} waits"));
    match barrier.wait() {
        Err(BarrierError::TimedOut { .. }) => {
            say(format_args!("worker {me}: not all {} came in time", barrier.parties()));
            Ok(true)
        }
        Err(BarrierError::Broken { cause: BreakCause::TimedOut, .. }) => {
            say(format_args!("worker {me}: broken, another has waited in vain"));
            Ok(true)
        }
        other => Ok(other.map(|_| false)?),
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let timeout = Duration::from_millis(if args.quick { 100 } else { 2000 });
    // The timeout belongs to the barrier: no worker can forget it.
    let barrier = Barrier::options().parties(PARTIES).timeout(timeout).anonymous()?;
    output::line(format_args!("a barrier for {PARTIES}, and {WORKERS} workers"))?;
    let mut team = Team::new();
    for me in 1..=WORKERS {
        team.spawn_fallible(format!("worker-{me}"), worker, (me, barrier.clone()))?;
    }
    let told = team.join()?;
    must_hold(told == [true; WORKERS as usize], "a worker passed although one is missing")?;
    must_hold(barrier.broken() == Some(BreakCause::TimedOut), "the barrier is not broken")?;
    output::line(format_args!("both workers were told, nobody hangs: all right"))
}

//! An unreliable worker, and a barrier that does not wait for it for ever.
//!
//! Two workers wait, the third does not come. When the first has waited for long enough, the barrier is
//! broken for everybody: for the other that waits, and for the third, who comes too late. Then it is reset,
//! and holds again.

use crate::shown::{Done, must_hold, say};
use procession::{Barrier, BarrierError, BreakCause, Event, Latch, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// A worker comes too late to a barrier with a timeout; all see it broken, and reset heals it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Waits for 100 ms instead of 3 s.
    #[arg(long)]
    quick: bool,
}

const WORKERS: u32 = 3;
const UNRELIABLE: u32 = 3;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Shared {
    barrier: Barrier,
    timeout: Duration,
    /// Opens when all have seen that the barrier is broken.
    all_know: Latch,
    healed: Event,
}

/// Runs in a process of its own; whether it saw the barrier broken, and then passed it.
fn worker(me: u32, shared: Shared) -> Done<(bool, bool)> {
    if me == UNRELIABLE {
        while shared.barrier.broken().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        say(format_args!("worker {me} comes too late"));
    } else {
        say(format_args!("worker {me} waits for at most {} ms", shared.timeout.as_millis()));
    }
    let saw_broken = match shared.barrier.wait_timeout(shared.timeout) {
        Err(error @ (BarrierError::TimedOut { .. } | BarrierError::Broken { .. })) => {
            say(format_args!("worker {me}: {error}"));
            true
        }
        other => other.map(|_| false)?,
    };
    shared.all_know.arrive();
    shared.healed.wait()?;
    shared.barrier.wait()?;
    say(format_args!("worker {me} passes"));
    Ok((saw_broken, true))
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let shared = Shared {
        barrier: Barrier::new(WORKERS as usize)?,
        timeout: Duration::from_millis(if args.quick { 100 } else { 3000 }),
        all_know: Latch::new(WORKERS as usize)?,
        healed: Event::new()?,
    };
    let mut team = Team::new();
    for me in 1..=WORKERS {
        team.spawn_fallible(format!("worker-{me}"), worker, (me, shared.clone()))?;
    }
    team.wait_for(&shared.all_know)?;
    must_hold(shared.barrier.broken() == Some(BreakCause::TimedOut), "the barrier is not broken")?;

    shared.barrier.reset()?;
    must_hold(shared.barrier.broken().is_none(), "the barrier is still broken")?;
    output::line("the barrier is reset")?;
    shared.healed.set();
    let seen = team.join()?;
    must_hold(seen == [(true, true); WORKERS as usize], "somebody did not see the barrier broken")?;
    output::line(format_args!("all {WORKERS} saw it broken, and passed after the reset: all right"))
}

//! What a barrier says about itself: how many there are to be, how many wait, and whether it is broken.
//!
//! Two of three wait, and it is reset: they are told, and it is whole. Two wait, and it is aborted: they are
//! told, and so is everybody who comes later, until it is reset. Then three pass.

use crate::shown::{Done, must_hold, say};
use procession::{Barrier, BarrierError, BreakCause, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Parties, waiting, broken, reset, abort: what a barrier is like after each step.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum End {
    Passed,
    Reset,
    Aborted,
}

/// Runs in a process of its own.
fn waits(barrier: Barrier) -> Done<End> {
    match barrier.wait() {
        Err(error @ BarrierError::Broken { cause: BreakCause::Reset, .. }) => {
            say(format_args!("  a worker: {error}"));
            Ok(End::Reset)
        }
        Err(error @ BarrierError::Broken { cause: BreakCause::Aborted, .. }) => {
            say(format_args!("  a worker: {error}"));
            Ok(End::Aborted)
        }
        other => {
            say(format_args!("  a worker passes with index {}", other?));
            Ok(End::Passed)
        }
    }
}

/// Prints what the barrier says, which must be this.
fn shows(step: &str, barrier: &Barrier, waiting: usize, broken: Option<BreakCause>) -> Result<(), Failure> {
    let (parties, n_waiting, is_broken) = (barrier.parties(), barrier.n_waiting(), barrier.broken());
    let word = is_broken.map_or("no".to_owned(), |cause| format!("{cause:?}"));
    output::line(format_args!("{step}: parties {parties}, waiting {n_waiting}, broken {word}"))?;
    must_hold((parties, n_waiting, is_broken) == (3, waiting, broken), "the barrier is in another state")
}

/// Starts workers one after the other, each when those before it wait.
fn wait_at(barrier: &Barrier, count: usize) -> Result<Team<End>, Failure> {
    let mut team = Team::new();
    for waiting in 1..=count {
        team.spawn_fallible(format!("worker-{waiting}"), waits, barrier.clone())?;
        while barrier.n_waiting() != waiting {
            team.check()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        shows(&format!("worker {waiting} waits"), barrier, waiting, None)?;
    }
    Ok(team)
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let barrier = Barrier::new(3)?;
    shows("at first", &barrier, 0, None)?;

    let mut team = wait_at(&barrier, 2)?;
    barrier.reset()?;
    shows("reset", &barrier, 0, None)?;
    must_hold(team.join()? == [End::Reset, End::Reset], "somebody was not told of the reset")?;

    let mut team = wait_at(&barrier, 2)?;
    barrier.abort();
    shows("aborted", &barrier, 0, Some(BreakCause::Aborted))?;
    team.spawn_fallible("late", waits, barrier.clone())?;
    let told = [End::Aborted, End::Aborted, End::Aborted];
    must_hold(team.join()? == told, "somebody was not told that it was aborted")?;
    shows("all were told", &barrier, 0, Some(BreakCause::Aborted))?;

    barrier.reset()?;
    shows("reset again", &barrier, 0, None)?;
    let mut team = wait_at(&barrier, 2)?;
    team.spawn_fallible("worker-3", waits, barrier.clone())?;
    let passed = [End::Passed, End::Passed, End::Passed];
    must_hold(team.join()? == passed, "somebody did not pass")?;
    shows("three have passed", &barrier, 0, None)?;
    output::line("every state as it must be: all right")
}

//! Two locks, two processes.
//!
//! When both acquire the locks in the same order, one of them waits and nothing else happens. In opposite
//! order each can hold what the other waits for. Here they make sure that it comes to that; then the less
//! patient one sees its timeout pass, tells who holds what, and lets go, so that the other can go on.

use crate::shown::{Done, introduce, must_hold};
use procession::{Event, Lock, LockError, Team, current_process};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Two processes, two locks: the same order works, the opposite one is caught by a timeout.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Waits in vain for 100 ms instead of two seconds.
    #[arg(long)]
    quick: bool,
}

const TIMES: u32 = 1000;
/// For the one that is to be let through.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs in a process of its own: acquires both locks, many times.
fn in_this_order(first: Lock, second: Lock) -> Done<u32> {
    for _ in 0..TIMES {
        let _first = first.acquire()?;
        let _second = second.acquire()?;
    }
    Ok(TIMES)
}

/// An event that says "I hold my first lock", and that of the other process.
type Signals = (Event, Event);

/// Runs in a process of its own: what was in the way, if it did not get both locks.
fn crosswise(first: Lock, second: Lock, patience: Duration, (mine, theirs): Signals) -> Done<Option<String>> {
    let _first = first.acquire()?;
    mine.set();
    theirs.wait()?;
    match second.acquire_timeout(patience) {
        Ok(_) => Ok(None),
        Err(LockError::TimedOut { .. }) => {
            let me = current_process();
            let holds = format!("{} (pid {}) holds {:?}", me.name(), me.pid(), first.name());
            let holder =
                second.holder().map_or("nobody".to_owned(), |it| format!("{} (pid {})", it.name, it.pid));
            Ok(Some(format!("{holds} and waits for {:?}, which {holder} holds", second.name())))
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (left, right) = (Lock::create("left")?, Lock::create("right")?);
    let both = (left.clone(), right.clone());
    let mut team = Team::new();
    team.spawn_fallible("one", in_this_order, both.clone())?;
    team.spawn_fallible("other", in_this_order, both)?;
    let times: u32 = team.join()?.iter().sum();
    output::line(format_args!("same order: both locks acquired {times} times"))?;

    let patience = Duration::from_millis(if args.quick { 100 } else { 2000 });
    let (has_left, has_right) = (Event::new()?, Event::new()?);
    let mut team = Team::new();
    let one = (left.clone(), right.clone(), patience, (has_left.clone(), has_right.clone()));
    let other = (right.clone(), left.clone(), PATIENCE, (has_right, has_left));
    let one = team.spawn_fallible("left-first", crosswise, one)?.pid();
    let other = team.spawn_fallible("right-first", crosswise, other)?.pid();
    introduce(&team)?;
    let expected = format!(
        "left-first (pid {one}) holds \"left\" and waits for \"right\", which right-first (pid {other}) holds"
    );
    let caught = team.join()?;
    for report in caught.iter().flatten() {
        output::line(format_args!("opposite order: timed out after {} ms: {report}", patience.as_millis()))?;
    }
    must_hold(caught == [Some(expected), None], "it was not the impatient one that gave way")?;
    output::line("opposite order: it let go, and the other got both")?;
    must_hold(left.holder().is_none() && right.holder().is_none(), "a lock is still held")?;
    output::line(format_args!("now: {left:?}"))?;
    output::line("no order hangs: all right")
}

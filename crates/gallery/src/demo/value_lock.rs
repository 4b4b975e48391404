//! Two processes add and subtract on one shared value, in three ways.
//!
//! A barrier lets both begin at once. Each change reads the value, thinks for a moment, and writes. Without a
//! lock, what the other has written in that moment is lost. Under the value's guard, or by `update`, the other
//! waits for its turn, and nothing is lost.

use crate::shown::{Done, must_hold};
use procession::{Barrier, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Two processes add and subtract 5 on a shared Value: without a lock, with a guard, with update.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

const START: i64 = 500;
const TIMES: u32 = 500;

#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Way {
    Unlocked,
    Guard,
    Update,
}

/// What becomes of the value, a moment after it was seen.
fn changed(seen: i64, step: i64) -> i64 {
    std::thread::sleep(Duration::from_micros(10));
    seen + step
}

/// Runs in a process of its own.
fn change(total: Value<i64>, step: i64, way: Way, start: Barrier) -> Done<()> {
    start.wait()?;
    for _ in 0..TIMES {
        match way {
            Way::Unlocked => total.set(changed(total.get()?, step))?,
            Way::Guard => {
                let mut guard = total.acquire()?;
                *guard = changed(*guard, step);
            }
            Way::Update => total.update(|total| *total = changed(*total, step))?,
        }
    }
    Ok(())
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let ways =
        [(Way::Unlocked, "without a lock"), (Way::Guard, "with a guard"), (Way::Update, "with update")];
    for (way, name) in ways {
        let (total, start) = (Value::options().initial(START).anonymous()?, Barrier::new(2)?);
        let mut team = Team::new();
        for (who, step) in [("adds", 5), ("subtracts", -5)] {
            team.spawn_fallible(who, change, (total.clone(), step, way, start.clone()))?;
        }
        team.join()?;
        let end = total.get()?;
        must_hold(way == Way::Unlocked || end == START, "a change was lost under a lock")?;
        let off = if end == START { String::new() } else { format!(" (off by {})", end - START) };
        output::line(format_args!("{name}: {end}{off}"))?;
    }
    output::line("with a guard or update exactly 500: all right")
}

//! Two processes add and subtract on one shared value, in three ways.
//!
//! Reading and then writing without a lock may lose what the other did in between. Under the value's guard,
//! or by `update`, nothing can be lost. (Whoever is killed on the way is not started again here: its part
//! would be missing.)

use crate::check::must_hold;
use procession::{LockError, Process, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;

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

/// Runs in a process of its own.
fn change((total, step, way): (Value<i64>, i64, Way)) -> Result<(), String> {
    let once = || -> Result<(), LockError> {
        match way {
            Way::Unlocked => total.set(total.get()? + step),
            Way::Guard => {
                let mut guard = total.acquire()?;
                *guard += step;
                Ok(())
            }
            Way::Update => total.update(|total| *total += step),
        }
    };
    (0..TIMES).try_for_each(|_| once()).map_err(|error| error.to_string())
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let ways =
        [(Way::Unlocked, "without a lock"), (Way::Guard, "with a guard"), (Way::Update, "with update")];
    for (way, name) in ways {
        let total = Value::options().initial(START).anonymous()?;
        let both = [5, -5].map(|step| Process::spawn(change, (total.clone(), step, way)));
        for process in both {
            process?.join()?.map_err(Failure::Wrong)?;
        }
        let end = total.get()?;
        must_hold(way == Way::Unlocked || end == START, "a change was lost under a lock")?;
        let loss = end - START;
        output::line(format_args!(
            "{name}: {end}{}",
            if loss == 0 { String::new() } else { format!(" (off by {loss})") }
        ))?;
    }
    output::line("with a guard or update exactly 500: all right")
}

//! `lock break`: ends those who hold a lock. The lock itself stays: nobody ever finds it free while its holder runs.

use crate::holding::{Target, Thing, no_such_object};
use crate::in_the_way::InTheWay;
use crate::keeper::{PATIENCE, end};
use procession_sys::Deadline;
use procession_sys::signals::SIGKILL;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// How often it is asked whether their commands have ended, too.
const LOOKS_EVERY: Duration = Duration::from_millis(1);

/// # Errors
/// [`Failure::Usage`] without `yes`, which says who would be killed.
pub(crate) fn run(target: Target, yes: bool) -> Result<(), Failure> {
    let text = target.to_string();
    let Some(thing) = Thing::find(target)? else {
        return Err(no_such_object(format!("there is no {text}")));
    };
    let in_the_way = InTheWay::of(&thing);
    if in_the_way.holders.is_empty() {
        return Ok(());
    }
    if !yes {
        let line = in_the_way.line("you would be");
        return Err(Failure::Usage(format!("{line}; --yes kills who holds it")));
    }
    in_the_way.holders.iter().try_for_each(|holder| end(holder.pid, SIGKILL))?;
    let was_killed = |pid: u32| in_the_way.holders.iter().any(|holder| holder.pid == pid);
    let until = Deadline::after(PATIENCE);
    // A command ends a moment after its wrapper, and the lock is not free before.
    while let Some(held) = thing.holders().iter().find(|held| was_killed(held.holder.pid)) {
        if until.has_passed() {
            let pid = held.holder.pid;
            output::warn(&format!("process {pid} has ended, and its command has not: it holds {text} still"));
            return Err(Failure::Incomplete);
        }
        std::thread::sleep(LOOKS_EVERY);
    }
    Ok(())
}

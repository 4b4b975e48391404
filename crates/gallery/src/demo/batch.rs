//! A batch that goes when three quarters have come, and takes the others along as they come.
//!
//! A latch waits for so many, whoever they are; whoever comes later passes at once. The last quarter starts
//! only when all of the others have gone: so if anybody waited for them, nobody would ever arrive.

use crate::shown::{Done, introduce, must_hold, say};
use procession::{Latch, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Go when 75 % of the parties have arrived (Latch), accept the rest as they come.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Work of some milliseconds instead of up to a second.
    #[arg(long)]
    quick: bool,
}

const PARTIES: u32 = 8;
const ENOUGH: u32 = PARTIES * 3 / 4;

/// Runs in a process of its own; whether it was one of those that the batch waited for.
fn party(number: u32, enough: Latch, gone: Latch, work: Duration) -> Done<bool> {
    if number > ENOUGH {
        gone.wait()?;
    }
    std::thread::sleep(work);
    let before = enough.arrive();
    let is_late = before >= u64::from(ENOUGH);
    say(format_args!("party {number} arrives{}", if is_late { " late" } else { "" }));
    enough.wait()?;
    say(format_args!("party {number} goes"));
    gone.arrive();
    Ok(!is_late)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (enough, gone) = (Latch::new(ENOUGH as usize)?, Latch::new(ENOUGH as usize)?);
    let mut parties = Team::new();
    for number in 1..=PARTIES {
        let work = Duration::from_millis(u64::from(number * 5 % 8) * if args.quick { 2 } else { 100 });
        let arguments = (number, enough.clone(), gone.clone(), work);
        parties.spawn_fallible(format!("party-{number}"), party, arguments)?;
    }
    introduce(&parties)?;
    let in_time = parties.join()?;
    let waited_for = in_time.iter().filter(|&&in_time| in_time).count();
    must_hold(waited_for == ENOUGH as usize, "the batch waited for more or fewer than three quarters")?;
    must_hold(in_time.len() == PARTIES as usize, "a party is lost")?;
    must_hold(gone.arrived() == u64::from(PARTIES), "a party has not gone")?;
    output::line(format_args!(
        "{waited_for} of {PARTIES} were waited for, and {} came later: all right",
        in_time.len() - waited_for
    ))
}

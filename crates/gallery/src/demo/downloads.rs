//! Ten downloads over a line that takes three at a time.
//!
//! A semaphore of three permits lets them in; who finds none says so, and waits. Each counts itself in and out
//! again, so that how many were inside at once is measured, not assumed. A worker that is killed gives its permit back by dying; but
//! nobody finishes its download, and the demo says so.

use crate::shown::{Done, introduce, must_hold, say};
use procession::{Semaphore, SemaphoreError, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Ten workers download, at most three at a time; the greatest number inside is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Downloads of some milliseconds instead of up to half a second.
    #[arg(long)]
    quick: bool,
}

const DOWNLOADS: u32 = 10;
const AT_ONCE: usize = 3;

/// The permits, how many are inside, and the greatest number that ever was.
type Line = (Semaphore, Value<u32>, Value<u32>);

/// Runs in a process of its own.
fn download(number: u32, (permits, inside, most): Line, time: Duration) -> Done<()> {
    let permit = match permits.try_acquire() {
        Err(SemaphoreError::WouldBlock { .. }) => {
            say(format_args!("download {number} waits"));
            permits.acquire()?
        }
        permit => permit?,
    };
    let now = inside.fetch_add(1)? + 1;
    most.fetch_max(now)?;
    say(format_args!("download {number} begins, {now} inside"));
    std::thread::sleep(time);
    inside.fetch_sub(1)?;
    drop(permit);
    say(format_args!("download {number} is done"));
    Ok(())
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let line: Line = (Semaphore::new(AT_ONCE)?, Value::new(0)?, Value::new(0)?);
    let mut team = Team::new();
    for number in 1..=DOWNLOADS {
        let time = Duration::from_millis(if args.quick { 10 } else { 300 + u64::from(number % 3) * 100 });
        team.spawn_fallible(format!("download-{number}"), download, (number, line.clone(), time))?;
    }
    introduce(&team)?;
    let done = team.join()?.len();
    let (permits, inside, most) = line;
    let most = most.get()?;
    must_hold(most <= AT_ONCE as u32, "more were inside than there are permits")?;
    must_hold(inside.get()? == 0, "somebody is still inside")?;
    must_hold(permits.available() == AT_ONCE, "a permit is missing")?;
    output::line(format_args!(
        "{done} downloads, at most {most} inside at once, {AT_ONCE} allowed: all right"
    ))
}

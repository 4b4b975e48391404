//! A race: runners wait for the starting gun, which is an event.
//!
//! Times are those of the kernel's monotonic clock, which is the same in all processes: so "before" and
//! "after" can be compared across them.

use crate::check::must_hold;
use crate::workers::{Done, introduce, join_all, until};
use nix::time::{ClockId, clock_gettime};
use procession::{Event, Latch, Process};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use std::time::Duration;

/// Runners wait for the starting gun; one comes late and starts at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs of some milliseconds instead of up to two seconds.
    #[arg(long)]
    quick: bool,
}

const RUNNERS: u32 = 5;

/// The time since some moment in the past, the same moment for all processes.
fn now() -> Result<Duration, nix::Error> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

/// When a runner came to the line, started, and finished.
type Run = (Duration, Duration, Duration);

/// Runs in a process of its own.
fn runner((line, gun, needs): (Latch, Event, Duration)) -> Done<Run> {
    let came = now()?;
    line.arrive();
    gun.wait()?;
    let started = now()?;
    std::thread::sleep(needs);
    Ok((came, started, now()?))
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let line = Latch::new(RUNNERS as usize)?;
    let gun = Event::create("starting-gun")?;
    // The first runner is not the fastest.
    let needs = |number: u32| {
        let tempo = u64::from(number * 3 % 7 + 2);
        Duration::from_millis(if args.quick { tempo } else { tempo * 200 })
    };
    let start = |name: String, number| {
        Process::options().name(name).spawn(runner, (line.clone(), gun.clone(), needs(number)))
    };
    let mut runners = Vec::new();
    for number in 1..=RUNNERS {
        runners.push(start(format!("runner-{number}"), number)?);
    }
    introduce(&runners)?;
    until(&runners, "the runners", |slice| line.wait_timeout(slice).is_ok())?;
    output::line(format_args!("{RUNNERS} runners at the line"))?;

    let fired = now()?;
    gun.set();
    let late = start("late".to_owned(), RUNNERS + 1)?;
    let names: Vec<String> = runners.iter().chain([&late]).map(|runner| runner.name().to_owned()).collect();
    runners.push(late);
    let mut runs: Vec<_> = names.into_iter().zip(join_all(runners)?).collect();

    for (name, (came, started, _)) in &runs {
        must_hold(*started >= fired, "somebody started before the gun")?;
        must_hold((*came >= fired) == (name == "late"), "somebody was not at the line, or was not late")?;
    }
    runs.sort_by_key(|(_, (_, _, finished))| *finished);
    let after = |time: Duration| {
        if time >= fired {
            format!("+{:.6}", (time - fired).as_secs_f64())
        } else {
            format!("-{:.6}", (fired - time).as_secs_f64())
        }
    };
    let row = |(name, (came, started, finished)): &(String, Run)| {
        vec![name.clone(), after(*came), after(*started), after(*finished)]
    };
    let heading = [
        ("RUNNER", Align::Left),
        ("CAME", Align::Right),
        ("STARTED", Align::Right),
        ("FINISHED", Align::Right),
    ];
    output::line(format_args!(
        "the gun was fired at {:.6} s of the monotonic clock; from there, in seconds:",
        fired.as_secs_f64()
    ))?;
    output::table(&heading, &runs.iter().map(row).collect::<Vec<_>>())?;
    output::line("nobody started before the gun, and the late one did not wait for another: all right")
}

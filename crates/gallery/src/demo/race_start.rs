//! A race: runners wait for the starting gun, which is an event.
//!
//! Times are those of the kernel's monotonic clock, which is the same in all processes: so "before" and
//! "after" can be compared across them.

use crate::shown::{Done, introduce, must_hold, say};
use nix::time::{ClockId, clock_gettime};
use procession::{Event, Latch, Team};
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
fn runner(name: String, line: Latch, gun: Event, needs: Duration) -> Done<Run> {
    let came = now()?;
    line.arrive();
    gun.wait()?;
    let started = now()?;
    say(format_args!("{name} runs"));
    std::thread::sleep(needs);
    let finished = now()?;
    say(format_args!("{name} has finished"));
    Ok((came, started, finished))
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let line = Latch::new(RUNNERS as usize)?;
    let gun = Event::create("starting-gun")?;
    let tenth = Duration::from_millis(if args.quick { 1 } else { 100 });
    let mut team = Team::new();
    let mut names: Vec<_> = (1..=RUNNERS).map(|number| format!("runner-{number}")).collect();
    names.push("late".to_owned());
    // The first runner is not the fastest.
    let start = |team: &mut Team<Run>, number: u32, name: &String| {
        let arguments = (name.clone(), line.clone(), gun.clone(), tenth * (number * 3 % 7 + 2) * 2);
        team.spawn_fallible(name, runner, arguments).map(drop)
    };
    let (late, in_time) = names.split_last().ok_or_else(|| Failure::Wrong("nobody runs".to_owned()))?;
    for (number, name) in (1..).zip(in_time) {
        start(&mut team, number, name)?;
    }
    introduce(&team)?;
    team.wait_for(&line)?;
    for call in ["ready", "set"] {
        output::line(call)?;
        std::thread::sleep(5 * tenth);
    }
    output::line("go!")?;
    let fired = now()?;
    gun.set();
    start(&mut team, RUNNERS + 1, late)?;
    let mut runs: Vec<_> = names.iter().cloned().zip(team.join()?).collect();

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

//! Functions in processes of their own.
//!
//! Each process squares one number. All are started, then all are joined; whoever is killed on the way is
//! started again, so that the result stays the same.

use crate::shown::must_hold;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession::{Event, Process, ProcessError, current_process};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::BTreeSet;
use std::time::Duration;

/// N processes each square one number.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many processes.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// For how long each of them sleeps once all have been started: so all are alive at once.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3600))]
    sleep: Option<u64>,
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

/// How many processes there are at a time, unless all are to be: each takes two of this process's descriptors.
const AT_A_TIME: usize = 200;

/// Runs in a process of its own.
fn square(n: u64, go: Event, sleep: Option<u64>) -> Result<(u32, String, u64), String> {
    go.wait().map_err(|error| error.to_string())?;
    std::thread::sleep(Duration::from_secs(sleep.unwrap_or(0)));
    let me = current_process();
    Ok((me.pid(), me.name().to_owned(), n * n))
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let numbers: Vec<u64> = (0..args.count).collect();
    let mut squares = Vec::new();
    let mut pids = BTreeSet::new();
    let at_a_time = if args.sleep.is_some() { numbers.len() } else { AT_A_TIME };
    if at_a_time > AT_A_TIME {
        allow_descriptors()?;
    }
    for numbers in numbers.chunks(at_a_time) {
        let go = Event::new()?;
        let start = |n| Process::spawn_fallible(square, (n, go.clone(), args.sleep));
        let started = numbers.iter().map(|&n| start(n)).collect::<Result<Vec<_>, _>>()?;
        if args.sleep.is_some() {
            let alive = started.iter().filter(|process| process.is_alive()).count();
            output::line(format_args!("{alive} processes are alive at once"))?;
        }
        go.set();
        for (mut process, &n) in started.into_iter().zip(numbers) {
            let (pid, name, square) = loop {
                match process.join() {
                    Err(ProcessError::Killed { .. }) => process = start(n)?,
                    other => break other?,
                }
            };
            output::line(format_args!("{name}, pid {pid}: {n} * {n} = {square}"))?;
            squares.push(square);
            pids.insert(pid);
        }
    }
    must_hold(squares.iter().copied().eq(numbers.iter().map(|n| n * n)), "a square is missing or wrong")?;
    // Of many processes one after the other, some have the pid of one that has ended.
    let fewest = if args.sleep.is_some() { numbers.len() } else { numbers.len().min(2) };
    must_hold(pids.len() >= fewest, "functions ran in one process")?;
    must_hold(!pids.contains(&std::process::id()), "a function ran in the parent")?;
    output::line(format_args!("{0} squares by {0} processes: all right", squares.len()))
}

/// As many descriptors as this process may have: the usual limit, 1024, is for programs that use `select`.
fn allow_descriptors() -> Result<(), Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

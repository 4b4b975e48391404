//! Functions in processes of their own.
//!
//! Each process squares one number. All are started, then all are joined; whoever is killed on the way is
//! started again, so that the result stays the same.

use crate::check::must_hold;
use procession::{Process, ProcessError, current_process};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::BTreeSet;

/// N processes each square one number.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many processes.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

/// How many processes there are at a time: each takes two of this process's descriptors.
const AT_A_TIME: usize = 200;

/// Runs in a process of its own.
fn square(n: u64) -> (u32, String, u64) {
    let me = current_process();
    (me.pid(), me.name().to_owned(), n * n)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let numbers: Vec<u64> = (0..args.count).collect();
    let mut squares = Vec::new();
    let mut pids = BTreeSet::new();
    for numbers in numbers.chunks(AT_A_TIME) {
        let started: Result<Vec<_>, _> = numbers.iter().map(|&n| Process::spawn(square, n)).collect();
        for (mut process, &n) in started?.into_iter().zip(numbers) {
            let (pid, name, square) = loop {
                match process.join() {
                    Err(ProcessError::Killed { .. }) => process = Process::spawn(square, n)?,
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
    must_hold(pids.len() > 1 || numbers.len() < 2, "all functions ran in one process")?;
    must_hold(!pids.contains(&std::process::id()), "a function ran in the parent")?;
    output::line(format_args!("{0} squares by {0} processes: all right", squares.len()))
}

//! `procession deadlocks`: who waits for whom in a circle, read without taking any lock.

use crate::waits::Record;
use clap::builder::FalseyValueParser;
use procession::{BlockedThread, Namespace, deadlocks_in};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::Serialize;

/// Show the deadlocks of the namespace: threads that wait for each other's locks in a circle.
///
/// Exits with 1 if there is one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession deadlocks\n  procession deadlocks --json | jq '.[].threads[].pid'\n\nExit codes: 0 there is none, 1 there is one. `procession waits` shows all who\nwait."
)]
pub(crate) struct DeadlocksArgs {
    /// Print one JSON array.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read; [`Failure::Wrong`] when there is a deadlock.
pub(crate) fn run(args: &DeadlocksArgs) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    let deadlocks = deadlocks_in(&namespace)?;
    if args.json {
        let circles: Vec<Circle> = deadlocks.iter().map(|one| Circle::of(&one.threads)).collect();
        output::json(&circles)?;
    } else {
        for deadlock in &deadlocks {
            output::line(format!("deadlock of {} threads:", deadlock.threads.len()))?;
            for thread in &deadlock.threads {
                output::line(format!("  {}", output::printable(&thread.to_string())))?;
            }
        }
    }
    match deadlocks.len() {
        0 => Ok(()),
        count => Err(Failure::Wrong(format!(
            "{} in namespace {}; ending one process of each lets the others go on",
            output::number_of(count as u64, "deadlock"),
            namespace.name()
        ))),
    }
}

/// One deadlock in `--json`.
#[derive(Debug, Serialize)]
struct Circle<'a> {
    v: u32,
    threads: Vec<Record<'a>>,
}

impl<'a> Circle<'a> {
    fn of(threads: &'a [BlockedThread]) -> Self {
        Self { v: 1, threads: threads.iter().map(Record::from).collect() }
    }
}

//! `procession deadlocks`: who waits for whom in a circle, read without taking any lock.

use procession::{BlockedThread, Holder, Namespace, blocked_in, deadlocks_in};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use serde::Serialize;

/// Show the deadlocks of the namespace: threads that wait for each other's locks in a circle.
///
/// Exits with 1 if there is one.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession deadlocks\n  procession deadlocks --waits\n  procession deadlocks --json | jq '.[].threads[].pid'"
)]
pub(crate) struct DeadlocksArgs {
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
    /// Show every thread that has waited for longer than a few milliseconds instead, for whatever it waits.
    #[arg(long)]
    waits: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read; [`Failure::Wrong`] when there is a deadlock.
pub(crate) fn run(args: &DeadlocksArgs) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    if args.waits {
        return show_waits(&blocked_in(&namespace)?, args.json);
    }
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

fn show_waits(waits: &[BlockedThread], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&waits.iter().map(Record::from).collect::<Vec<_>>());
    }
    let heading = [
        ("PROCESS", Align::Left),
        ("THREAD", Align::Right),
        ("SECONDS", Align::Right),
        ("KIND", Align::Left),
        ("NAME", Align::Left),
        ("HELD BY", Align::Left),
    ];
    let row = |wait: &BlockedThread| {
        vec![
            output::printable(&wait.process.to_string()),
            wait.tid.to_string(),
            format!("{:.1}", wait.since.as_secs_f64()),
            wait.kind.to_owned(),
            output::printable(wait.object.as_deref().unwrap_or("?")),
            wait.holder.as_ref().map_or_else(String::new, |holder| output::printable(&holder.to_string())),
        ]
    };
    output::table(&heading, &waits.iter().map(row).collect::<Vec<_>>())
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

/// One thread in `--json`.
#[derive(Debug, Serialize)]
struct Record<'a> {
    pid: u32,
    process: &'a str,
    tid: u32,
    waits_for: Option<&'a str>,
    kind: &'static str,
    held_by: Option<u32>,
    seconds: f64,
    timed: bool,
}

impl<'a> From<&'a BlockedThread> for Record<'a> {
    fn from(thread: &'a BlockedThread) -> Self {
        let Holder { pid, name, .. } = &thread.process;
        Self {
            pid: *pid,
            process: name,
            tid: thread.tid,
            waits_for: thread.object.as_deref(),
            kind: thread.kind,
            held_by: thread.holder.as_ref().map(|holder| holder.pid),
            seconds: thread.since.as_secs_f64(),
            timed: thread.is_timed,
        }
    }
}

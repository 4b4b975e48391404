//! `procession waits`: who waits for what, read without taking any lock.

use clap::builder::FalseyValueParser;
use procession::{BlockedThread, Holder, Namespace, blocked_in};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use serde::Serialize;

/// List the threads that have waited for longer than a few milliseconds, the longest first, with what they wait for and
/// who holds it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession waits\n  procession waits --json | jq 'map(select(.seconds > 60))'\n\nExit codes: 0 shown"
)]
pub(crate) struct WaitsArgs {
    /// Print one JSON array.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read.
pub(crate) fn run(args: &WaitsArgs) -> Result<(), Failure> {
    let waits = blocked_in(&Namespace::current()?)?;
    if args.json {
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

/// One thread in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    v: u32,
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
            v: 1,
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

//! `procession ps`: the processes of a namespace, what each holds and for what it waits.

use crate::duration::age;
use crate::list::{Looker, Seen};
use crate::people::{command_line, in_one_line};
use clap::builder::FalseyValueParser;
use procession::Namespace;
use procession::shm::{Participant, register};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// List the processes that use the namespace, with what each holds and for what it waits.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession ps\n  procession ps --json | jq '.[] | select(.holds != []) | .pid'\n\n\
        Exit codes: 0 shown"
)]
pub(crate) struct ProcessesArgs {
    /// Print one JSON array.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read.
pub(crate) fn run(args: &ProcessesArgs) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    // Whoever has registered nowhere is in no namespace; to ask would make one.
    let participants = if namespace.has_registry() { others_in(&namespace)? } else { Vec::new() };
    let mut looker = Looker::default();
    let seen: Vec<Seen> = namespace.list()?.into_iter().map(|entry| looker.look(entry)).collect();
    let records: Vec<Record> = participants.iter().map(|process| Record::of(process, &seen)).collect();
    if args.json {
        return output::json(&records);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let heading = [
        ("PID", Align::Right),
        ("NAME", Align::Left),
        ("SINCE", Align::Right),
        ("HOLDS", Align::Left),
        ("WAITS FOR", Align::Left),
        ("COMMAND", Align::Left),
    ];
    let row = |record: &Record| {
        vec![
            record.pid.to_string(),
            output::printable(&record.process),
            age(now.saturating_sub(Duration::from_nanos(record.registered_ns))),
            output::printable(&record.holds.join(",")),
            output::printable(&record.waits_for.join(",")),
            output::printable(&in_one_line(&record.command)),
        ]
    };
    output::table(&heading, &records.iter().map(row).collect::<Vec<_>>())
}

/// All but this process, which is only there to look.
pub(crate) fn others_in(namespace: &Namespace) -> Result<Vec<Participant>, Failure> {
    let mut participants = register(namespace)?.participants();
    participants.retain(|found| found.pid != std::process::id());
    participants.sort_by_key(|found| found.registered_ns);
    Ok(participants)
}

/// One process in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    v: u32,
    pid: u32,
    process: String,
    /// The words of its command line; none if `/proc` does not show them.
    command: Vec<String>,
    registered_ns: u64,
    holds: Vec<String>,
    waits_for: Vec<String>,
}

impl Record {
    pub(crate) fn of(process: &Participant, seen: &[Seen]) -> Self {
        let pid = process.pid;
        Self {
            v: 1,
            pid,
            process: process.name.clone(),
            command: command_line(pid),
            registered_ns: process.registered_ns,
            holds: held_by(pid, seen),
            waits_for: waited_for_by(pid, seen),
        }
    }
}

/// The names of the objects that a process holds, or a part of which it holds.
pub(crate) fn held_by(pid: u32, seen: &[Seen]) -> Vec<String> {
    named(seen, |seen| seen.state.holders.iter().any(|held| held.holder.pid == pid))
}

/// The names of the objects for which a process waits.
pub(crate) fn waited_for_by(pid: u32, seen: &[Seen]) -> Vec<String> {
    named(seen, |seen| seen.waits.iter().any(|wait| wait.process.pid == pid))
}

fn named(seen: &[Seen], is_it: impl Fn(&Seen) -> bool) -> Vec<String> {
    seen.iter().filter(|seen| is_it(seen)).map(|seen| seen.entry.name.clone()).collect()
}

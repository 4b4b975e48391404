//! `procession inspect`: one object, with all who hold it and all who wait for it.

use crate::duration::age;
use crate::in_the_way::wrapped;
use crate::keeper::kept_for;
use crate::list::{Looker, Record, Seen, note, size};
use crate::people::{command_line, in_one_line, user};
use crate::under::told;
use clap::builder::FalseyValueParser;
use procession::shm::Entry;
use procession::{BlockedThread, Holder, Namespace};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Show one object: what it is in, who holds it and since when, who waits for it and in which order.
///
/// Nobody is attached by it, and no lock is taken: it works when the holder is dead, or is stopped.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession inspect deploy\n  procession inspect deploy --json | jq '.waiters[].pid'\n\n\
        Exit codes: 0 shown   66 no such object"
)]
pub(crate) struct InspectArgs {
    /// The object's name.
    name: String,
    /// Print one JSON object, with the fields of `ls --json`, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// # Errors
/// [`Failure::Objects`] if there is no object of that name.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    told(args.json, inspect(args))
}

fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let entry = Namespace::current()?.entry(&args.name).map_err(|error| Failure::Objects(vec![error]))?;
    let seen = Looker::default().look(entry);
    if args.json { output::json(&Record::from(&seen)) } else { show(&seen) }
}

fn show(seen: &Seen) -> Result<(), Failure> {
    let Seen { entry, state, waits } = seen;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    line("name", &format!("{}/{}", entry.namespace.name(), output::printable(&entry.name)))?;
    describe(entry, now)?;
    if !state.text.is_empty() {
        line("state", &state.text)?;
    }
    for (name, number) in &state.figures {
        line(name, &output::grouped(*number))?;
    }
    for held in &state.holders {
        let dead = if held.holder.is_dead { ", and is dead" } else { "" };
        let since =
            held.holder.held_for.map_or_else(String::new, |time| format!(", for at least {}", age(time)));
        line("held by", &format!("{}: {}{since}{dead}", process(&held.holder), held.how))?;
    }
    for (place, wait) in waits.iter().enumerate() {
        line("waits", &format!("#{} {}", place + 1, waiter(wait)))?;
    }
    match note(entry) {
        note if note.is_empty() => Ok(()),
        note => line("note", &note),
    }
}

fn describe(entry: &Entry, now: Duration) -> Result<(), Failure> {
    if let Ok(header) = &entry.header {
        line("kind", header.kind.name())?;
        if !header.element.is_empty() {
            line("element", &output::printable(&header.element))?;
        }
        let since = age(now.saturating_sub(Duration::from_nanos(header.created_ns)));
        line("created", &format!("{since} ago, by pid {}", header.creator))?;
    }
    line("size", &size(entry.bytes))
}

fn line(name: &str, text: &str) -> Result<(), Failure> {
    output::line(format!("{name:<10} {text}"))
}

fn waiter(wait: &BlockedThread) -> String {
    let thread = if wait.tid == wait.process.pid { String::new() } else { format!(", thread {}", wait.tid) };
    let timed = if wait.is_timed { ", with a timeout" } else { "" };
    format!("{}{thread}, for {}{timed}", process(&wait.process), age(wait.since))
}

/// `4242 (make deploy, alice)`: as `/proc` knows it, or else by the name with which it registered.
fn process(holder: &Holder) -> String {
    if holder.pid == 0 {
        return "a process that nobody remembers".to_owned();
    }
    let words = command_line(holder.pid);
    let kept_for = kept_for(&words);
    let kept = kept_for.map_or_else(String::new, |owner| format!("kept for {owner}: "));
    let command = match kept_for {
        Some(owner) => in_one_line(&command_line(owner)),
        None => in_one_line(wrapped(&words).unwrap_or(&words)),
    };
    let command = if command.is_empty() { holder.name.clone() } else { command };
    let user = user(holder.pid).map_or_else(String::new, |user| format!(", {user}"));
    format!("{} ({kept}{}{user})", holder.pid, output::printable(&command))
}

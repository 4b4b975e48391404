//! `procession ls`: what objects there are, read without attaching to any.

use crate::others;
use procession::Namespace;
use procession::shm::{Entry, Header};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use serde::Serialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// List the objects of the namespace.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession ls\n  procession ls --all --json | jq '.[] | select(.attached | not)'"
)]
pub(crate) struct ListArgs {
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
    /// All your namespaces, with their registries and anonymous objects. Root is told on stderr which other
    /// users have some.
    #[arg(long, conflicts_with = "namespace")]
    all: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read.
pub(crate) fn run(args: &ListArgs) -> Result<(), Failure> {
    let mut entries = if args.all {
        procession::shm::list_all()?
    } else {
        let mut entries = Namespace::current()?.list()?;
        // What begins with a dot is the library's own.
        entries.retain(|entry| !entry.name.starts_with('.'));
        entries
    };
    entries.sort_by(|a, b| (a.namespace.name(), &a.name).cmp(&(b.namespace.name(), &b.name)));
    if args.all {
        others::mention("not shown", "ls --all");
    }
    if args.json {
        return output::json(&entries.iter().map(Record::from).collect::<Vec<_>>());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let rows: Vec<_> = entries.iter().map(|entry| row(entry, args.all, now)).collect();
    let mut heading = vec![
        ("KIND", Align::Left),
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("ATTACHED", Align::Left),
        ("CREATOR", Align::Right),
        ("AGE", Align::Right),
        ("NOTE", Align::Left),
    ];
    if rows.iter().all(|row| row.last().is_some_and(String::is_empty)) {
        heading.pop();
    }
    output::table(&heading, &rows)
}

/// One object in `--json`.
#[derive(Debug, Serialize)]
struct Record<'a> {
    v: u32,
    namespace: &'a str,
    name: &'a str,
    kind: Option<&'static str>,
    bytes: u64,
    attached: bool,
    garbage: bool,
    ephemeral: Option<bool>,
    creator: Option<u32>,
    created_ns: Option<u64>,
    element: Option<&'a str>,
    structure: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> From<&'a Entry> for Record<'a> {
    fn from(entry: &'a Entry) -> Self {
        let header = entry.header.as_ref().ok();
        Self {
            v: 1,
            namespace: entry.namespace.name(),
            name: &entry.name,
            kind: header.map(|header| header.kind.name()),
            bytes: entry.bytes,
            attached: entry.attached,
            garbage: entry.is_garbage(),
            ephemeral: header.map(|header| header.ephemeral),
            creator: header.map(|header| header.creator),
            created_ns: header.map(|header| header.created_ns),
            element: header.map(|header| header.element.as_str()).filter(|element| !element.is_empty()),
            structure: header.map(|header| header.structure.as_str()).filter(|text| !text.is_empty()),
            error: entry.header.as_ref().err().map(String::as_str),
        }
    }
}

fn row(entry: &Entry, with_namespace: bool, now: Duration) -> Vec<String> {
    let header = entry.header.as_ref().ok();
    let or_unknown = |known: Option<String>| known.unwrap_or_else(|| "?".to_owned());
    let name = output::printable(&entry.name);
    let age = |header: &Header| age(now.saturating_sub(Duration::from_nanos(header.created_ns)));
    vec![
        or_unknown(header.map(|header| header.kind.to_string())),
        if with_namespace { format!("{}/{name}", entry.namespace.name()) } else { name },
        size(entry.bytes),
        if entry.attached { "yes" } else { "no" }.to_owned(),
        or_unknown(header.map(|header| header.creator.to_string())),
        or_unknown(header.map(age)),
        note(entry),
    ]
}

fn note(entry: &Entry) -> String {
    match &entry.header {
        Err(error) => output::printable(error),
        Ok(_) if entry.is_garbage() => "left by the dead: `procession gc` removes it".to_owned(),
        Ok(_) if entry.is_unlinked() => "unlinked, and still in use".to_owned(),
        Ok(header) if entry.is_spill() => format!("a message of {}", output::printable(&header.element)),
        Ok(header) if header.ephemeral => "ephemeral".to_owned(),
        Ok(_) => String::new(),
    }
}

/// `512`, `4.0K`, `1.5M`.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["", "K", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 1024.0 {
        let Some(larger) = units.next() else { break };
        value /= 1024.0;
        unit = larger;
    }
    if unit.is_empty() { bytes.to_string() } else { format!("{value:.1}{unit}") }
}

/// `7s`, `3m12s`, `5h02m`, `12d03h`.
fn age(since: Duration) -> String {
    let seconds = since.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::{age, size};
    use std::time::Duration;

    #[test]
    fn sizes_and_ages_for_people() {
        assert_eq!([0, 1023, 1024, 1536, 3 << 30].map(size), ["0", "1023", "1.0K", "1.5K", "3.0G"]);
        let ages = [0, 59, 60, 3599, 7320, 90_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0s", "59s", "1m00s", "59m59s", "2h02m", "1d01h"]);
    }
}

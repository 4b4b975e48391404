//! `procession ls`: what objects there are and what they are in, read without attaching to any.

use crate::duration::age;
use crate::in_the_way::{Person, Waiter};
use crate::others;
use crate::state::{self, Held, State};
use clap::builder::FalseyValueParser;
use procession::shm::{Entry, Header, View};
use procession::{BlockedThread, Namespace, blocked_in};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// List the objects of the namespace.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession ls --all\n  procession ls --orphaned --json | jq -e 'length == 0'\n\n\
        HOLDER is the pid and the name of who holds it; +2 stands for two more. WAIT is\n\
        how many threads have waited for it for longer than a few milliseconds.\n\
        `procession inspect NAME` shows all of them.\n\n\
        Exit codes: 0 shown; 125 /dev/shm cannot be read"
)]
pub(crate) struct ListArgs {
    /// Print one JSON array.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// All your namespaces, with their registries and anonymous objects. Root is told on stderr which other
    /// users have some.
    #[arg(long, conflicts_with = "namespace", env = "PROCESSION_ALL", hide_env = true, value_parser = FalseyValueParser::new())]
    all: bool,
    /// Only those that no process uses now: what a test has left, say.
    #[arg(long, env = "PROCESSION_ORPHANED", hide_env = true, value_parser = FalseyValueParser::new())]
    orphaned: bool,
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
    if args.orphaned {
        entries.retain(|entry| !entry.attached && !entry.is_registry());
    }
    entries.sort_by(|a, b| (a.namespace.name(), &a.name).cmp(&(b.namespace.name(), &b.name)));
    if args.all {
        others::mention("not shown", "ls --all");
    }
    let mut looker = Looker::default();
    let seen: Vec<Seen> = entries.into_iter().map(|entry| looker.look(entry)).collect();
    if args.json {
        return output::json(&seen.iter().map(Record::from).collect::<Vec<_>>());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let rows: Vec<_> = seen.iter().map(|seen| row(seen, args.all, now)).collect();
    let mut heading = vec![
        ("KIND", Align::Left),
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("HOLDER", Align::Left),
        ("WAIT", Align::Right),
        ("SIZE", Align::Right),
        ("AGE", Align::Right),
        ("NOTE", Align::Left),
    ];
    if rows.iter().all(|row| row.last().is_some_and(String::is_empty)) {
        heading.pop();
    }
    output::table(&heading, &rows)
}

/// An object, what it is in, and who waits for it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) entry: Arc<Entry>,
    pub(crate) state: State,
    /// The longest first.
    pub(crate) waits: Vec<BlockedThread>,
}

/// Looks at objects one after the other.
#[derive(Debug, Default)]
pub(crate) struct Looker {
    /// Who waits, by namespace: they are asked for once.
    waits: BTreeMap<String, Vec<BlockedThread>>,
}

impl Looker {
    pub(crate) fn look(&mut self, entry: Entry) -> Seen {
        let view = View::of(&entry);
        self.look_through(view.as_ref(), entry.into())
    }

    /// What is seen of an object through a view of it; there is none if it is gone, or cannot be read.
    pub(crate) fn look_through(&mut self, view: Option<&View>, entry: Arc<Entry>) -> Seen {
        let waits = self.waits.entry(entry.namespace.name().to_owned()).or_insert_with(|| {
            // Where there is no registry nobody waits.
            blocked_in(&entry.namespace).unwrap_or_default()
        });
        let kind = entry.header.as_ref().map_or("", |header| header.kind.name());
        let is_for = |wait: &BlockedThread| wait.object.as_ref() == Some(&entry.name) && wait.kind == kind;
        let waits = waits.extract_if(.., |wait| is_for(wait)).collect();
        Seen { state: view.and_then(state::of).unwrap_or_default(), waits, entry }
    }
}

impl Seen {
    /// The first holder, and how many more there are.
    fn holder(&self) -> String {
        let Some(Held { holder, .. }) = self.state.holders.first() else { return String::new() };
        let more = match self.state.holders.len() - 1 {
            0 => String::new(),
            more => format!(" +{more}"),
        };
        format!("{} {}{more}", holder.pid, output::printable(&holder.name))
    }
}

/// One object in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    v: u32,
    namespace: &'a str,
    name: &'a str,
    kind: Option<&'static str>,
    state: Option<&'a str>,
    #[serde(flatten)]
    figures: BTreeMap<&'static str, u64>,
    holders: Vec<Person>,
    waiters: Vec<Waiter>,
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

impl<'a> From<&'a Seen> for Record<'a> {
    fn from(Seen { entry, state, waits }: &'a Seen) -> Self {
        let header = entry.header.as_ref().ok();
        Self {
            v: 1,
            namespace: entry.namespace.name(),
            name: &entry.name,
            kind: header.map(|header| header.kind.name()),
            state: Some(state.text.as_str()).filter(|text| !text.is_empty()),
            figures: state.figures.iter().copied().collect(),
            holders: state.holders.iter().map(Person::of).collect(),
            waiters: waits.iter().map(Waiter::of).collect(),
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

fn row(seen: &Seen, with_namespace: bool, now: Duration) -> Vec<String> {
    let entry = &seen.entry;
    let header = entry.header.as_ref().ok();
    let or_unknown = |known: Option<String>| known.unwrap_or_else(|| "?".to_owned());
    let name = output::printable(&entry.name);
    let age = |header: &Header| age(now.saturating_sub(Duration::from_nanos(header.created_ns)));
    vec![
        or_unknown(header.map(|header| short(header.kind.name()).to_owned())),
        if with_namespace { format!("{}/{name}", entry.namespace.name()) } else { name },
        seen.state.text.clone(),
        seen.holder(),
        if seen.waits.is_empty() { String::new() } else { seen.waits.len().to_string() },
        size(entry.bytes),
        or_unknown(header.map(age)),
        note(entry),
    ]
}

pub(crate) fn note(entry: &Entry) -> String {
    match &entry.header {
        Err(error) => output::printable(error),
        Ok(_) if entry.is_garbage() => "left by the dead: `procession gc` removes it".to_owned(),
        Ok(_) if entry.is_unlinked() => "unlinked, and still in use".to_owned(),
        Ok(header) if entry.is_spill() => format!("a message of {}", output::printable(&header.element)),
        Ok(header) if header.ephemeral => "ephemeral".to_owned(),
        Ok(_) if !entry.attached && !entry.is_registry() => "unused".to_owned(),
        Ok(_) => String::new(),
    }
}

/// A kind in at most seven letters.
pub(crate) fn short(kind: &str) -> &str {
    match kind {
        "semaphore" => "sem",
        "bounded-semaphore" => "bsem",
        "joinable-queue" => "jqueue",
        "condition" => "cond",
        "shared-memory" => "shm",
        "pool-worker" => "worker",
        "raw-value" => "rvalue",
        "raw-array" => "rarray",
        other => other,
    }
}

/// `512`, `4.0K`, `1.5M`.
pub(crate) fn size(bytes: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([0, 1023, 1024, 1536, 3 << 30].map(size), ["0", "1023", "1.0K", "1.5K", "3.0G"]);
    }
}

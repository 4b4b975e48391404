//! `procession metrics`: the state of all objects as numbers, in the text format that Prometheus reads.
//!
//! It is printed once, for whoever asks again and again: the textfile collector of node_exporter, or a script
//! behind a port. Objects are looked at as `ls` does it: nobody is attached, and no lock is taken.

use crate::list::{Looker, Seen};
use crate::processes::others_in;
use crate::room::Room;
use clap::builder::FalseyValueParser;
use procession::shm::{Entry, list_all};
use procession::{Namespace, deadlocks_in};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::BTreeMap;

/// Print the state of the namespace as metrics in the text format of Prometheus.
///
/// Nobody is attached by it, and no lock is taken: it works when holders are dead, or are stopped.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession metrics\n  procession metrics --all > /var/lib/node_exporter/procession.prom\n\n\
        Objects without a name, and the table of processes, are only counted: in\n\
        procession_objects and procession_namespace_bytes.\n\n\
        Exit codes: 0 shown"
)]
pub(crate) struct MetricsArgs {
    /// All your namespaces.
    #[arg(
        long,
        conflicts_with = "namespace",
        env = "PROCESSION_ALL",
        hide_env = true,
        value_parser = FalseyValueParser::new()
    )]
    all: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read.
pub(crate) fn run(args: &MetricsArgs) -> Result<(), Failure> {
    let entries = if args.all { list_all()? } else { Namespace::current()?.list()? };
    let mut metrics = Metrics::default();
    if let Some(room) = Room::look() {
        metrics.add("procession_shm_size_bytes", &[], room.size);
        metrics.add("procession_shm_used_bytes", &[], room.used);
    }
    if !args.all {
        metrics.add_namespace(&Namespace::current()?);
    }
    let mut namespaces: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        namespaces.entry(entry.namespace.name().to_owned()).or_default().push(entry);
    }
    let mut looker = Looker::default();
    for (name, mut entries) in namespaces {
        if let Some(entry) = entries.first().filter(|_| args.all) {
            metrics.add_namespace(&entry.namespace);
        }
        metrics.add_inventory(&name, &entries);
        // What begins with a dot is the library's own: a series for each message would be one for nobody.
        entries.retain(|entry| !entry.name.starts_with('.'));
        for entry in entries {
            metrics.add_object(&looker.look(entry));
        }
    }
    output::line(metrics.text().trim_end())
}

/// Numbers that belong to one name, in the order in which they are shown.
struct Family {
    name: &'static str,
    /// `gauge`, or `counter` for what only grows.
    kind: &'static str,
    help: &'static str,
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "gauge", help }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: "counter", help }
}

const FAMILIES: &[Family] = &[
    gauge("procession_shm_size_bytes", "Size of the file system in /dev/shm."),
    gauge("procession_shm_used_bytes", "Bytes of /dev/shm that are in use, by whatever program."),
    gauge("procession_processes", "Processes that are registered in the namespace and alive."),
    gauge("procession_deadlocks", "Circles of threads that wait for each other's locks."),
    gauge("procession_objects", "Objects of the namespace, those without a name included."),
    gauge(
        "procession_namespace_bytes",
        "Bytes of shared memory that the namespace uses, its own tables included.",
    ),
    gauge("procession_object_bytes", "Bytes of shared memory that the object uses."),
    gauge("procession_attached", "1 if a process is attached to the object."),
    gauge("procession_unreadable", "1 if what is there under the object's name cannot be used as one."),
    gauge(
        "procession_waiters",
        "Threads that have waited for the object for longer than a few milliseconds.",
    ),
    gauge(
        "procession_longest_wait_seconds",
        "For how long the thread has waited that has waited longest for the object.",
    ),
    gauge("procession_holders", "Living processes that hold the object, or a part of it."),
    gauge(
        "procession_dead_holders",
        "Processes that held the object when they died, which nobody has noticed yet.",
    ),
    gauge(
        "procession_held_seconds",
        "For how long the object is held, at least: known of locks for which somebody waits or has waited.",
    ),
    gauge("procession_inconsistent", "1 if a holder of the lock died and nobody has recovered it."),
    counter("procession_owner_deaths_total", "Holders of the lock that died with it, or left it in a panic."),
    counter("procession_tokens_total", "Fencing tokens that were handed out for the lock."),
    gauge("procession_readers", "Living processes that read under the lock."),
    gauge("procession_queue_depth", "Messages that are there to be got."),
    gauge(
        "procession_queue_capacity",
        "Most messages that the queue has room for; missing if only bytes limit it.",
    ),
    gauge("procession_queue_closed", "1 if the queue is closed."),
    counter(
        "procession_queue_put_total",
        "Messages that were put, modulo 2^32; of items with leases, all of them.",
    ),
    counter("procession_queue_got_total", "Messages that were got, modulo 2^32."),
    gauge("procession_queue_leased", "Items that somebody has got and not done."),
    gauge("procession_queue_oldest_lease_seconds", "For how long the item is leased that was leased first."),
    gauge(
        "procession_queue_last_attempt",
        "Leased items that become dead letters if they are not done this time.",
    ),
    gauge("procession_queue_dead_letters", "Items that were tried too often."),
    gauge("procession_semaphore_available", "Permits that are free."),
    gauge("procession_semaphore_held", "Permits that are held."),
    gauge("procession_semaphore_max", "Most permits that the semaphore can ever have."),
    gauge("procession_event_set", "1 if the event is set."),
    counter("procession_event_sets_total", "How often the event was set or pulsed."),
    gauge("procession_latch_arrived", "Arrivals at the latch."),
    gauge("procession_latch_count", "Arrivals that open the latch."),
    gauge("procession_once_done", "1 if it was done."),
    gauge("procession_barrier_arrived", "Parties that wait at the barrier."),
    gauge("procession_barrier_parties", "Parties for which the barrier waits."),
    gauge("procession_barrier_broken", "1 if the barrier is broken."),
    gauge("procession_condition_waiting", "Threads that wait for the condition."),
    gauge("procession_entries", "Entries of the map, or elements of the list or array."),
];

/// The family of a figure that an object of this kind has in its state.
fn family_of(kind: &str, figure: &str) -> Option<&'static str> {
    Some(match (kind, figure) {
        (_, "inconsistent") => "procession_inconsistent",
        (_, "owner_deaths") => "procession_owner_deaths_total",
        (_, "tokens") => "procession_tokens_total",
        (_, "put") => "procession_queue_put_total",
        (_, "got") => "procession_queue_got_total",
        (_, "times_set") => "procession_event_sets_total",
        (_, "readers") => "procession_readers",
        (_, "depth") => "procession_queue_depth",
        (_, "capacity") => "procession_queue_capacity",
        (_, "closed") => "procession_queue_closed",
        (_, "leased") => "procession_queue_leased",
        (_, "last_attempt") => "procession_queue_last_attempt",
        (_, "dead") => "procession_queue_dead_letters",
        (_, "available") => "procession_semaphore_available",
        (_, "held") => "procession_semaphore_held",
        (_, "max") => "procession_semaphore_max",
        (_, "set") => "procession_event_set",
        ("latch", "arrived") => "procession_latch_arrived",
        ("latch", "count") => "procession_latch_count",
        (_, "done") => "procession_once_done",
        ("barrier", "arrived") => "procession_barrier_arrived",
        ("barrier", "parties") => "procession_barrier_parties",
        ("barrier", "broken") => "procession_barrier_broken",
        ("condition", "waiting") => "procession_condition_waiting",
        (_, "len" | "elements") => "procession_entries",
        _ => return None,
    })
}

/// What is known, by family.
#[derive(Debug, Default)]
struct Metrics(BTreeMap<&'static str, String>);

impl Metrics {
    fn add(&mut self, family: &'static str, labels: &[(&str, &str)], number: u64) {
        self.line(family, labels, &number.to_string());
    }

    fn add_seconds(&mut self, family: &'static str, labels: &[(&str, &str)], seconds: f64) {
        self.line(family, labels, &seconds.to_string());
    }

    fn line(&mut self, family: &'static str, labels: &[(&str, &str)], number: &str) {
        let lines = self.0.entry(family).or_default();
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        lines.extend([family, &labels, " ", number, "\n"]);
    }

    fn add_namespace(&mut self, namespace: &Namespace) {
        let labels = [("namespace", namespace.name())];
        // Where nobody has registered, nobody is; to ask would make a registry.
        let processes = if namespace.has_registry() { others_in(namespace).ok() } else { Some(Vec::new()) };
        if let Some(processes) = processes {
            self.add("procession_processes", &labels, processes.len() as u64);
        }
        if let Ok(deadlocks) = deadlocks_in(namespace) {
            self.add("procession_deadlocks", &labels, deadlocks.len() as u64);
        }
    }

    fn add_inventory(&mut self, namespace: &str, entries: &[Entry]) {
        let bytes = entries.iter().map(|entry| entry.bytes).sum();
        self.add("procession_namespace_bytes", &[("namespace", namespace)], bytes);
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_registry()) {
            *kinds.entry(kind_of(entry)).or_default() += 1;
        }
        for (kind, count) in kinds {
            self.add("procession_objects", &[("namespace", namespace), ("kind", kind)], count);
        }
    }

    fn add_object(&mut self, seen: &Seen) {
        let Seen { entry, state, waits } = seen;
        let kind = kind_of(entry);
        let labels = [("namespace", entry.namespace.name()), ("name", &entry.name), ("kind", kind)];
        self.add("procession_object_bytes", &labels, entry.bytes);
        self.add("procession_attached", &labels, entry.attached.into());
        self.add("procession_unreadable", &labels, entry.header.is_err().into());
        self.add("procession_waiters", &labels, waits.len() as u64);
        if let Some(longest) = waits.first() {
            self.add_seconds("procession_longest_wait_seconds", &labels, longest.since.as_secs_f64());
        }
        let dead = state.holders.iter().filter(|held| held.holder.is_dead).count();
        self.add("procession_holders", &labels, (state.holders.len() - dead) as u64);
        self.add("procession_dead_holders", &labels, dead as u64);
        if let Some(longest) = state.holders.iter().filter_map(|held| held.holder.held_for).max() {
            self.add_seconds("procession_held_seconds", &labels, longest.as_secs_f64());
        }
        if let Some(oldest) = state.oldest_lease {
            self.add_seconds("procession_queue_oldest_lease_seconds", &labels, oldest.as_secs_f64());
        }
        for &(figure, number) in &state.figures {
            if let Some(family) = family_of(kind, figure) {
                self.add(family, &labels, number);
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Family { name, kind, help } in FAMILIES {
            if let Some(lines) = self.0.get(name) {
                text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
            }
        }
        text
    }
}

fn kind_of(entry: &Entry) -> &'static str {
    entry.header.as_ref().map_or("unknown", |header| header.kind.name())
}

/// A label's value as the format wants it between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, Metrics, escaped, family_of};
    use std::collections::BTreeSet;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
        let mut metrics = Metrics::default();
        metrics.add("procession_waiters", &[("name", "a\"b"), ("kind", "lock")], 3);
        let text = metrics.text();
        assert!(text.ends_with("procession_waiters{name=\"a\\\"b\",kind=\"lock\"} 3\n"), "{text}");
        assert!(text.starts_with("# HELP procession_waiters "), "{text}");
    }

    #[test]
    fn every_family_is_said_once_and_names_its_unit() {
        let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for family in FAMILIES {
            assert!(family.name.starts_with("procession_"), "{}", family.name);
            assert_eq!(family.kind == "counter", family.name.ends_with("_total"), "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains(['\\', '\n']), "{}", family.name);
        }
        for (kind, figure) in
            [("latch", "arrived"), ("barrier", "arrived"), ("map", "len"), ("lock", "inconsistent")]
        {
            assert!(names.contains(family_of(kind, figure).unwrap()), "{kind} {figure}");
        }
    }
}

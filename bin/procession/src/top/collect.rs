//! Looks at the namespace: its objects, its processes, and who waits for whom in a circle.

use super::lints::Warning;
use super::model::{Holding, Object, Process, Snapshot, Waiter};
use super::runs::{Runs, Worker};
use crate::list::{Record, Seen, note};
use crate::looks::Looks;
use crate::people::{self, command_line, in_one_line};
use crate::processes::{self, others_in};
use crate::room::Room;
use procession::shm::Participant;
use procession::{Namespace, deadlocks_in};
use procession_sys::clock;
use procession_terminal::exit::Failure;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Looks again and again at one namespace.
#[derive(Debug)]
pub(crate) struct Collector {
    looks: Looks,
    began: Instant,
    seen: Vec<Seen>,
    participants: Vec<Participant>,
    runs: Runs,
    workers: Vec<Worker>,
    /// The command lines and users of processes, which seldom change.
    people: BTreeMap<(u32, u64), (String, String)>,
}

impl Collector {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self {
            looks: Looks::at(namespace),
            began: Instant::now(),
            seen: Vec::new(),
            participants: Vec::new(),
            runs: Runs::default(),
            workers: Vec::new(),
            people: BTreeMap::new(),
        }
    }

    /// # Errors
    /// When `/dev/shm` cannot be read.
    pub(crate) fn look(&mut self) -> Result<Snapshot, Failure> {
        self.seen = self.looks.look(|_| true)?;
        // Whoever has registered nowhere is in no namespace; to ask would make one.
        let namespace = self.looks.namespace();
        self.participants = if namespace.has_registry() { others_in(namespace)? } else { Vec::new() };
        let deadlocks = deadlocks_in(namespace)?;
        self.workers = self.runs.look(namespace.name(), &self.seen);
        let in_words = |thread: &procession::BlockedThread| {
            let object = thread.object.as_deref().unwrap_or("an object that was removed");
            format!("{} {} waits for {object}", thread.process.pid, thread.process.name)
        };
        Ok(Snapshot {
            namespace: namespace.name().to_owned(),
            at: self.began.elapsed(),
            room: Room::look(),
            bytes: self.looks.bytes(),
            objects: self.seen.iter().map(object).collect(),
            processes: self.processes(),
            runs: self.workers.clone(),
            deadlocks: deadlocks.iter().map(|one| one.threads.iter().map(in_words).collect()).collect(),
        })
    }

    /// Forgets what it knows: it will not look for a while.
    pub(crate) fn rest(&mut self) {
        self.looks.rest();
    }

    fn processes(&mut self) -> Vec<Process> {
        let now = Duration::from_nanos(clock::wall_ns());
        let mut before = std::mem::take(&mut self.people);
        let mut processes = Vec::new();
        for found in &self.participants {
            let key = (found.pid, found.registered_ns);
            let known = before.remove(&key).unwrap_or_else(|| {
                (in_one_line(&command_line(found.pid)), people::user(found.pid).unwrap_or_default())
            });
            processes.push(process(found, &known, &self.seen, now));
            self.people.insert(key, known);
        }
        processes
    }

    /// All that is known, as `--json` prints it.
    pub(crate) fn json<'a>(&'a self, room: Option<Room>, warnings: &'a [Warning]) -> Document<'a> {
        Document {
            v: 1,
            ts: clock::wall_ns() as f64 / 1e9,
            kind: "top",
            namespace: self.namespace().name(),
            shm_size_bytes: room.map(|room| room.size),
            shm_used_bytes: room.map(|room| room.used),
            namespace_bytes: self.looks.bytes(),
            objects: self.seen.iter().map(Record::from).collect(),
            processes: self
                .participants
                .iter()
                .map(|found| processes::Record::of(found, &self.seen))
                .collect(),
            runs: &self.workers,
            warnings,
        }
    }

    /// Whether the process is still the one that registered then, and so may be sent a signal.
    pub(crate) fn is_there(&self, pid: u32, registered_ns: u64) -> bool {
        let found = others_in(self.namespace()).unwrap_or_default();
        let is_it = |found: &Participant| found.pid == pid && found.registered_ns == registered_ns;
        found.iter().any(is_it) && people::uses(pid, self.namespace())
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        self.looks.namespace()
    }
}

/// The one document of `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    v: u32,
    ts: f64,
    kind: &'static str,
    namespace: &'a str,
    shm_size_bytes: Option<u64>,
    shm_used_bytes: Option<u64>,
    namespace_bytes: u64,
    objects: Vec<Record<'a>>,
    processes: Vec<processes::Record>,
    runs: &'a [Worker],
    warnings: &'a [Warning],
}

fn object(Seen { entry, state, waits }: &Seen) -> Object {
    let holding = |held: &crate::state::Held| Holding {
        pid: held.holder.pid,
        name: held.holder.name.clone(),
        how: held.how.clone(),
        dead: held.holder.is_dead,
        held_for: held.holder.held_for,
    };
    let waiter = |wait: &procession::BlockedThread| Waiter {
        pid: wait.process.pid,
        name: wait.process.name.clone(),
        tid: wait.tid,
        since: wait.since,
        timed: wait.is_timed,
    };
    Object {
        name: entry.name.clone(),
        kind: entry.header.as_ref().map_or("unknown", |header| header.kind.name()),
        created_ns: entry.header.as_ref().map_or(0, |header| header.created_ns),
        state: state.text.clone(),
        holders: state.holders.iter().map(holding).collect(),
        waiters: waits.iter().map(waiter).collect(),
        figures: state.figures.clone(),
        oldest_lease: state.oldest_lease,
        bytes: entry.bytes,
        attached: entry.attached,
        note: note(entry),
    }
}

fn process(found: &Participant, (command, user): &(String, String), seen: &[Seen], now: Duration) -> Process {
    let pid = found.pid;
    Process {
        pid,
        registered_ns: found.registered_ns,
        name: found.name.clone(),
        command: command.clone(),
        user: user.clone(),
        since: now.saturating_sub(Duration::from_nanos(found.registered_ns)),
        doing: match people::run_state(pid) {
            Some('T' | 't') => "stopped",
            Some('Z' | 'X') => "zombie",
            Some('D') => "disk",
            _ => "",
        },
        holds: processes::held_by(pid, seen),
        waits_for: processes::waited_for_by(pid, seen),
    }
}

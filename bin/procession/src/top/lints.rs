//! What of all that is seen deserves a sentence: who is stuck, what nobody repairs, what grows.

use super::model::{Object, Snapshot};
use crate::duration::age;
use crate::rates::per_second;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// For how long something may be held, or a barrier wait, before it is said.
const LONG: Duration = Duration::from_secs(30);
/// For how long a queue grows before it is said.
const GROWS: Duration = Duration::from_secs(60);
/// For how long nobody uses an object before it is said.
const UNUSED: Duration = Duration::from_secs(600);
/// From which part of `/dev/shm` on it is nearly full, in hundredths.
const NEARLY_FULL: u64 = 90;
/// How many lengths of a queue are kept, to be drawn.
const KEPT: usize = 120;
/// How many names one sentence has.
const NAMED: usize = 5;

/// A sentence about what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    /// What machines tell warnings apart by.
    pub(crate) code: &'static str,
    pub(crate) object: Option<String>,
    pub(crate) text: String,
}

/// What has to be remembered from one look to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// When each queue had which length.
    depths: BTreeMap<String, VecDeque<(Duration, u64)>>,
    /// What each object counts, and when that was seen; and what that comes to per second.
    counted: BTreeMap<String, Counted>,
    /// Since when no process was seen to be attached.
    unused: BTreeMap<String, Duration>,
}

/// The counters of an object at one look.
#[derive(Clone, Debug, Default)]
struct Counted {
    created_ns: u64,
    at: Duration,
    figures: Vec<(&'static str, u64)>,
    rates: Vec<(&'static str, f64)>,
}

impl History {
    pub(crate) fn remember(&mut self, snapshot: &Snapshot) {
        self.count(snapshot);
        let there: BTreeSet<&String> = snapshot.objects.iter().map(|object| &object.name).collect();
        self.depths.retain(|name, _| there.contains(name));
        self.unused.retain(|name, _| there.contains(name));
        for object in &snapshot.objects {
            if object.attached {
                self.unused.remove(&object.name);
            } else if !self.unused.contains_key(&object.name) {
                self.unused.insert(object.name.clone(), snapshot.at);
            }
            let Some(depth) = object.figure("depth") else { continue };
            let depths = self.depths.entry(object.name.clone()).or_default();
            depths.push_back((snapshot.at, depth));
            while depths.len() > KEPT {
                depths.pop_front();
            }
        }
    }

    fn count(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.counted);
        for object in &snapshot.objects {
            let (at, figures) = (snapshot.at, object.figures.clone());
            let mut counted = Counted { created_ns: object.created_ns, at, figures, rates: Vec::new() };
            let of_it = |before: &Counted| before.created_ns == object.created_ns && before.at < at;
            if let Some(before) = before.remove(&object.name).filter(of_it) {
                let time = at.saturating_sub(before.at);
                counted.rates = per_second(object.kind, &before.figures, &counted.figures, time);
            }
            self.counted.insert(object.name.clone(), counted);
        }
    }

    /// What has happened to an object since the look before, per second, by what is counted.
    pub(crate) fn rates(&self, name: &str) -> &[(&'static str, f64)] {
        self.counted.get(name).map_or(&[], |counted| &counted.rates)
    }

    /// The lengths of a queue, the oldest first.
    pub(crate) fn depths(&self, name: &str) -> Vec<u64> {
        self.depths.get(name).map_or_else(Vec::new, |depths| depths.iter().map(|&(_, depth)| depth).collect())
    }

    /// From which to which length a queue has grown without ever becoming shorter, if that takes long already.
    fn grown(&self, name: &str) -> Option<(u64, u64, Duration)> {
        let depths = self.depths.get(name)?;
        let &(now, last) = depths.back()?;
        let (mut first, mut later) = ((now, last), last);
        for &(at, depth) in depths.iter().rev() {
            if depth > later {
                break;
            }
            (first, later) = ((at, depth), depth);
        }
        let time = now.saturating_sub(first.0);
        (time >= GROWS && last > first.1).then_some((first.1, last, time))
    }
}

/// All that is to be said, the worst first.
pub(crate) fn warnings(snapshot: &Snapshot, history: &History) -> Vec<Warning> {
    let mut all: Vec<Warning> = snapshot.deadlocks.iter().map(|circle| deadlock(circle)).collect();
    for lint in [owner_died, held_long, barrier_stuck, last_attempt] {
        all.extend(snapshot.objects.iter().filter_map(lint));
    }
    all.extend(snapshot.objects.iter().filter_map(|object| grows(object, history)));
    all.extend(nearly_full(snapshot));
    all.extend(unused(snapshot, history));
    all
}

fn about(object: &Object, code: &'static str, text: &str) -> Option<Warning> {
    let text = format!("{} {}: {text}", object.kind, object.name);
    Some(Warning { code, object: Some(object.name.clone()), text })
}

fn deadlock(circle: &[String]) -> Warning {
    let text = format!(
        "deadlock of {} threads: {}; ending one process lets the others go on",
        circle.len(),
        circle.join(" -> ")
    );
    Warning { code: "deadlock", object: None, text }
}

fn owner_died(object: &Object) -> Option<Warning> {
    const CODE: &str = "owner_died";
    // Permits and leases of the dead come back by themselves, and so do places of readers.
    let is_lock = object.figure("inconsistent").is_some() || object.kind == "value" || object.kind == "array";
    if let Some(dead) =
        object.holders.iter().find(|holder| is_lock && holder.dead && holder.how == "exclusive")
    {
        return about(
            object,
            CODE,
            &format!("its holder {} {} died; whoever acquires it next is told", dead.pid, dead.name),
        );
    }
    if object.figure("inconsistent") == Some(1) {
        return about(object, CODE, "a holder died with it, and nobody has recovered it");
    }
    None
}

fn held_long(object: &Object) -> Option<Warning> {
    let holder = object.holders.iter().find(|holder| !holder.dead)?;
    // What is no lock does not say for how long it is held: it is, for as long as somebody has waited.
    let held = object.held_for().max(object.longest_wait()).filter(|&held| held >= LONG)?;
    let wait = object.longest_wait()?;
    let text = format!(
        "held by {} {} for {}, while {} wait{} for up to {}",
        holder.pid,
        holder.name,
        age(held),
        object.waiters.len(),
        if object.waiters.len() == 1 { "s" } else { "" },
        age(wait),
    );
    about(object, "held_long", &text)
}

fn barrier_stuck(object: &Object) -> Option<Warning> {
    let (arrived, parties) = (object.figure("arrived")?, object.figure("parties")?);
    if object.figure("broken") == Some(1) {
        return about(
            object,
            "barrier_broken",
            &format!("{}; `procession barrier reset` mends it", object.state),
        );
    }
    let wait = object.longest_wait().filter(|&wait| wait >= LONG)?;
    if arrived == 0 || arrived >= parties {
        return None;
    }
    let text =
        format!("{arrived} of {parties} arrived and wait for {}; {} missing", age(wait), parties - arrived);
    about(object, "barrier_stuck", &text)
}

fn last_attempt(object: &Object) -> Option<Warning> {
    let items = object.figure("last_attempt").filter(|&items| items > 0)?;
    let (items, are) =
        if items == 1 { ("1 item".to_owned(), "is") } else { (format!("{items} items"), "are") };
    about(object, "last_attempt", &format!("{items} {are} on the last attempt, and then a dead letter"))
}

fn grows(object: &Object, history: &History) -> Option<Warning> {
    let (before, now, time) = history.grown(&object.name)?;
    about(
        object,
        "queue_grows",
        &format!("grew from {before} to {now} messages in {}, and was never shorter", age(time)),
    )
}

fn nearly_full(snapshot: &Snapshot) -> Option<Warning> {
    let room = snapshot.room.filter(|room| room.size > 0)?;
    let part = room.used.saturating_mul(100) / room.size;
    (part >= NEARLY_FULL).then(|| Warning {
        code: "shm_nearly_full",
        object: None,
        text: format!("/dev/shm is {part} % full; `procession gc --all`, or mount it larger"),
    })
}

/// One sentence for all of them: there may be many, and a queue that waits for its next user is nothing bad.
fn unused(snapshot: &Snapshot, history: &History) -> Option<Warning> {
    let is_old = |since: &Duration| snapshot.at.saturating_sub(*since) >= UNUSED;
    let names: Vec<&str> =
        history.unused.iter().filter(|(_, since)| is_old(since)).map(|(name, _)| name.as_str()).collect();
    let some = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED { ", …" } else { "" };
    let (objects, have) = if names.len() == 1 { ("object", "has") } else { ("objects", "have") };
    (!names.is_empty()).then(|| Warning {
        code: "unused",
        object: names.first().filter(|_| names.len() == 1).map(|&name| name.to_owned()),
        text: format!(
            "{} {objects} {have} had no process for {}: {some}{more}; `procession gc --unused` removes such",
            names.len(),
            age(UNUSED)
        ),
    })
}

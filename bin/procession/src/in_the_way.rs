//! Who is in the way of something that is to be held: those who hold it, and those who wait for it.

use crate::duration::age;
use crate::holding::{Quoted, Target, Thing};
use crate::keeper;
use crate::people;
use crate::state::Held;
use procession::{BlockedThread, Holder, Namespace, blocked_in};
use procession_terminal::exit::{Failure, NOT_ACQUIRED, Refusal};
use procession_terminal::output;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// How many holders are named in one line.
const NAMED: usize = 4;

/// One who holds it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Person {
    pub(crate) pid: u32,
    /// The name with which it registered.
    process: String,
    /// What runs, or what it is held for.
    command: String,
    user: Option<String>,
    /// `exclusive`, `shared`, `3 permits`.
    how: String,
    /// How many permits, of a semaphore; 1 of a lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permits: Option<usize>,
    dead: bool,
    /// For how long it has held it, at least.
    seconds: Option<f64>,
    /// The process for which a keeper holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kept_for: Option<u32>,
}

impl Person {
    pub(crate) fn of(Held { holder, how, permits }: &Held) -> Self {
        let pid = holder.pid;
        let words = people::command_line(pid);
        let kept_for = keeper::kept_for(&words);
        let (command, since) = if let Some(owner) = kept_for {
            (people::in_one_line(&people::command_line(owner)), people::age(pid))
        } else if let Some(command) = wrapped(&words) {
            // It began when the lock was acquired.
            (people::in_one_line(command), people::child(pid).and_then(people::age))
        } else {
            (people::in_one_line(&words), None)
        };
        Self {
            pid,
            process: holder.name.clone(),
            command: if command.is_empty() { holder.name.clone() } else { command },
            user: people::user(pid),
            how: how.clone(),
            permits: *permits,
            dead: holder.is_dead,
            seconds: since.or(holder.held_for).map(|since| since.as_secs_f64()),
            kept_for,
        }
    }

    /// `4242 (make deploy, alice) for 3m12s`.
    fn words(&self, of_several: bool) -> String {
        let kept = self.kept_for.map_or_else(String::new, |owner| format!("kept for {owner}: "));
        let user = self.user.as_ref().map_or_else(String::new, |user| format!(", {user}"));
        let since = self.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let since = since.map_or_else(String::new, |since| format!(" for {}", age(since)));
        let permits = self.permits.filter(|_| of_several);
        let permits = permits.map_or_else(String::new, |permits| format!(", {permits}"));
        format!("{} ({kept}{}{user}){permits}{since}", self.pid, output::printable(&self.command))
    }
}

/// The command behind the `--` of a process that holds something for it, or waits for it.
pub(crate) fn wrapped(words: &[String]) -> Option<&[String]> {
    let program = words.first()?.rsplit('/').next()?;
    let behind = words.iter().position(|word| word == "--")?;
    (program.starts_with("procession") && behind > 1).then(|| &words[behind + 1..])
}

/// One who waits for it.
#[derive(Debug, Serialize)]
pub(crate) struct Waiter {
    pid: u32,
    /// The name with which it registered.
    process: String,
    tid: u32,
    command: String,
    seconds: f64,
    timed: bool,
}

impl Waiter {
    pub(crate) fn of(wait: &BlockedThread) -> Self {
        let Holder { pid, name, .. } = &wait.process;
        let words = people::command_line(*pid);
        let command = people::in_one_line(wrapped(&words).unwrap_or(&words));
        Self {
            pid: *pid,
            process: name.clone(),
            tid: wait.tid,
            command: if command.is_empty() { name.clone() } else { command },
            seconds: wait.since.as_secs_f64(),
            timed: wait.is_timed,
        }
    }
}

/// Those who are in the way of one thing.
#[derive(Debug)]
pub(crate) struct InTheWay<'a> {
    thing: &'a Thing,
    pub(crate) holders: Vec<Person>,
    waiters: Vec<Waiter>,
}

impl<'a> InTheWay<'a> {
    /// Looks at who holds the thing and who waits for it, longest first.
    pub(crate) fn of(thing: &'a Thing) -> Self {
        let me = std::process::id();
        let holders = thing.holders();
        let holders = holders.iter().filter(|held| held.holder.pid != me);
        let waits = Namespace::current().ok().and_then(|namespace| blocked_in(&namespace).ok());
        let waits = waits.unwrap_or_default().into_iter().filter(|wait| {
            wait.object.as_deref() == Some(thing.target.name())
                && wait.kind == thing.kind().name()
                && wait.process.pid != me
        });
        Self {
            thing,
            holders: holders.map(Person::of).collect(),
            waiters: waits.map(|wait| Waiter::of(&wait)).collect(),
        }
    }

    /// Whether somebody else could not have it now.
    pub(crate) fn is_in_the_way(&self) -> bool {
        !self.thing.leaves_room_beside(self.holders.iter().filter_map(|holder| holder.permits).sum())
    }

    /// One line: who holds it, since when, and how many wait; `you` says what this process's place is, as `you would
    /// be`.
    pub(crate) fn line(&self, you: &str) -> String {
        let target = &self.thing.target;
        let is_permits = matches!(target, Target::Permits { .. });
        let named = self.holders.iter().take(NAMED).map(|holder| holder.words(is_permits));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if let Some(more) = self.holders.len().checked_sub(NAMED).filter(|&more| more > 0) {
            named.push_str(&format!(" and {more} more"));
        }
        let held = match self.thing.semaphore() {
            _ if self.holders.is_empty() => "whoever held it has just let it go".to_owned(),
            Some(semaphore) => {
                let all = semaphore.permits();
                let held: usize = self.holders.iter().filter_map(|holder| holder.permits).sum();
                format!("{held} of {} held by {named}", output::number_of(all as u64, "permit"))
            }
            None => format!("held by {named}"),
        };
        let place = self.waiters.len() + 1;
        format!("{} busy: {held}; {} waiting, {you} #{place}", Quoted(target), self.waiters.len())
    }

    /// What is told in JSON.
    pub(crate) fn details(&self) -> Map<String, Value> {
        let value = |list: Result<Value, serde_json::Error>| list.unwrap_or_default();
        Map::from_iter([
            ("kind".to_owned(), self.thing.target.kind().into()),
            ("name".to_owned(), self.thing.target.name().into()),
            ("holders".to_owned(), value(serde_json::to_value(&self.holders))),
            ("waiters".to_owned(), value(serde_json::to_value(&self.waiters))),
        ])
    }

    /// The failure of who could not have it.
    pub(crate) fn not_acquired(&self, code: Option<u8>) -> Failure {
        Failure::Refused(Box::new(Refusal {
            code: code.unwrap_or(NOT_ACQUIRED),
            reason: "not_acquired",
            message: self.line("you would be"),
            details: self.details(),
        }))
    }
}

//! What `top` knows and shows: plain data, made by `collect.rs`, changed by `update.rs`, drawn by `view.rs`.

use super::lints::{History, Warning};
use super::runs::Worker;
use crate::room::Room;
use std::time::Duration;

/// What was seen of the namespace at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) namespace: String,
    /// When, on a clock that never goes back.
    pub(crate) at: Duration,
    pub(crate) room: Option<Room>,
    /// Of shared memory, the namespace's own tables included.
    pub(crate) bytes: u64,
    pub(crate) objects: Vec<Object>,
    pub(crate) processes: Vec<Process>,
    /// The workers of each `run`, and the jobs of each `map`.
    pub(crate) runs: Vec<Worker>,
    /// Each the threads of a circle, in words.
    pub(crate) deadlocks: Vec<Vec<String>>,
}

/// An object, as `ls` and `inspect` see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// With the name it tells which object this is.
    pub(crate) created_ns: u64,
    pub(crate) state: String,
    pub(crate) holders: Vec<Holding>,
    /// The longest first.
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) figures: Vec<(&'static str, u64)>,
    pub(crate) oldest_lease: Option<Duration>,
    pub(crate) bytes: u64,
    pub(crate) attached: bool,
    /// What `ls` remarks.
    pub(crate) note: String,
}

/// A process that holds an object, or a part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) how: String,
    pub(crate) dead: bool,
    pub(crate) held_for: Option<Duration>,
}

/// A thread that waits for an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiter {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) tid: u32,
    pub(crate) since: Duration,
    pub(crate) timed: bool,
}

/// A process of the namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it registered, in nanoseconds since the epoch: with the pid it tells which process this is.
    pub(crate) registered_ns: u64,
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) user: String,
    /// How long ago it registered.
    pub(crate) since: Duration,
    /// `stopped`, `zombie`; empty for one that does what processes do.
    pub(crate) doing: &'static str,
    pub(crate) holds: Vec<String>,
    pub(crate) waits_for: Vec<String>,
}

impl Object {
    pub(crate) fn figure(&self, name: &str) -> Option<u64> {
        self.figures.iter().find(|(figure, _)| *figure == name).map(|&(_, number)| number)
    }

    pub(crate) fn is_queue(&self) -> bool {
        self.figure("depth").is_some()
    }

    pub(crate) fn held_for(&self) -> Option<Duration> {
        self.holders.iter().filter_map(|holding| holding.held_for).max()
    }

    pub(crate) fn longest_wait(&self) -> Option<Duration> {
        self.waiters.first().map(|waiter| waiter.since)
    }

    /// The first holder, and how many more there are.
    pub(crate) fn holder(&self) -> String {
        let Some(first) = self.holders.first() else { return String::new() };
        let dead = if first.dead { " dead" } else { "" };
        match self.holders.len() - 1 {
            0 => format!("{} {}{dead}", first.pid, first.name),
            more => format!("{} {}{dead} +{more}", first.pid, first.name),
        }
    }
}

/// What is shown in the body of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pane {
    #[default]
    Objects,
    Runs,
    Queues,
    Processes,
    Warnings,
}

impl Pane {
    pub(crate) const ALL: [Self; 5] =
        [Self::Objects, Self::Runs, Self::Queues, Self::Processes, Self::Warnings];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Objects => "Objects",
            Self::Runs => "Runs",
            Self::Queues => "Queues",
            Self::Processes => "Processes",
            Self::Warnings => "Warnings",
        }
    }

    pub(crate) fn next(self) -> Self {
        match self {
            Self::Objects => Self::Runs,
            Self::Runs => Self::Queues,
            Self::Queues => Self::Processes,
            Self::Processes => Self::Warnings,
            Self::Warnings => Self::Objects,
        }
    }
}

/// By what objects are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Who waits longest first, then what is held longest.
    #[default]
    Wait,
    Held,
    Name,
    Kind,
    Size,
}

impl Sort {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Held => "held",
            Self::Name => "name",
            Self::Kind => "kind",
            Self::Size => "size",
        }
    }

    pub(crate) fn next(self) -> Self {
        match self {
            Self::Wait => Self::Held,
            Self::Held => Self::Name,
            Self::Name => Self::Kind,
            Self::Kind => Self::Size,
            Self::Size => Self::Wait,
        }
    }
}

/// What lies over the body of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Over {
    #[default]
    Nothing,
    Help,
    /// All of the selected thing.
    Detail,
    /// Letters go into the filter.
    Filter,
    /// Whether to send this signal to that process.
    Signal {
        pid: u32,
        registered_ns: u64,
        who: String,
        signal: usize,
    },
    /// What `gc` would remove.
    Garbage(Vec<String>),
}

/// The signals that can be sent, by name and number.
pub(crate) const SIGNALS: [(&str, i32); 6] =
    [("TERM", 15), ("INT", 2), ("HUP", 1), ("KILL", 9), ("STOP", 19), ("CONT", 18)];

/// All that the screen is drawn from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) snapshot: Snapshot,
    pub(crate) history: History,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) pane: Pane,
    pub(crate) sort: Sort,
    pub(crate) reversed: bool,
    pub(crate) filter: String,
    /// The key of the selected row: see [`Model::keys`].
    pub(crate) selected: String,
    pub(crate) over: Over,
    pub(crate) frozen: bool,
    /// What became of the last order.
    pub(crate) message: String,
    pub(crate) colour: bool,
}

impl Model {
    /// The objects of the pane that pass the filter, in the order in which they are shown.
    pub(crate) fn objects(&self) -> Vec<&Object> {
        let is_here = |object: &&Object| self.pane != Pane::Queues || object.is_queue();
        let passes = |object: &&Object| {
            let texts = [&*object.name, object.kind, &object.state];
            self.passes(&texts) || object.holders.iter().any(|holder| self.passes(&[&holder.name]))
        };
        let mut objects: Vec<_> = self.snapshot.objects.iter().filter(is_here).filter(passes).collect();
        objects.sort_by(|a, b| {
            let order = match self.sort {
                Sort::Wait => {
                    let by =
                        |object: &Object| (object.longest_wait(), object.held_for(), object.holders.len());
                    by(b).cmp(&by(a))
                }
                Sort::Held => b.held_for().cmp(&a.held_for()),
                Sort::Name => std::cmp::Ordering::Equal,
                Sort::Kind => a.kind.cmp(b.kind),
                Sort::Size => b.bytes.cmp(&a.bytes),
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        if self.reversed {
            objects.reverse();
        }
        objects
    }

    /// The processes that pass the filter, in the order in which they registered.
    pub(crate) fn processes(&self) -> Vec<&Process> {
        let passes =
            |process: &&Process| self.passes(&[&process.name, &process.command, &process.pid.to_string()]);
        let mut processes: Vec<_> = self.snapshot.processes.iter().filter(passes).collect();
        if self.reversed {
            processes.reverse();
        }
        processes
    }

    /// The workers and jobs that pass the filter, run by run.
    pub(crate) fn runs(&self) -> Vec<&Worker> {
        let passes = |worker: &&Worker| {
            let names = [worker.run_name.as_deref(), worker.name.as_deref()].map(Option::unwrap_or_default);
            self.passes(&[&worker.command, names[0], names[1], &worker.pid.to_string()])
        };
        let mut workers: Vec<_> = self.snapshot.runs.iter().filter(passes).collect();
        if self.reversed {
            workers.reverse();
        }
        workers
    }

    /// The warnings that pass the filter.
    pub(crate) fn shown_warnings(&self) -> Vec<&Warning> {
        self.warnings.iter().filter(|warning| self.passes(&[&warning.text])).collect()
    }

    fn passes(&self, texts: &[&str]) -> bool {
        self.filter.is_empty() || texts.iter().any(|text| text.contains(&self.filter))
    }

    /// What tells the rows of the pane apart, in their order.
    pub(crate) fn keys(&self) -> Vec<String> {
        match self.pane {
            Pane::Objects | Pane::Queues => {
                self.objects().into_iter().map(|object| object.name.clone()).collect()
            }
            Pane::Runs => self.runs().into_iter().map(|worker| worker.pid.to_string()).collect(),
            Pane::Processes => self.processes().into_iter().map(|process| process.pid.to_string()).collect(),
            Pane::Warnings => self.shown_warnings().into_iter().map(|warning| warning.text.clone()).collect(),
        }
    }

    /// The object that is selected, or that the selected warning is about.
    pub(crate) fn selected_object(&self) -> Option<&Object> {
        let name = match self.pane {
            Pane::Objects | Pane::Queues => Some(&self.selected),
            Pane::Runs | Pane::Processes => None,
            Pane::Warnings => {
                let warning = self.warnings.iter().find(|warning| warning.text == self.selected)?;
                warning.object.as_ref()
            }
        }?;
        self.snapshot.objects.iter().find(|object| object.name == *name)
    }

    pub(crate) fn selected_process(&self) -> Option<&Process> {
        let is_it = |process: &&Process| process.pid.to_string() == self.selected;
        self.snapshot.processes.iter().find(|process| self.pane == Pane::Processes && is_it(process))
    }

    pub(crate) fn selected_worker(&self) -> Option<&Worker> {
        let is_it = |worker: &&Worker| worker.pid.to_string() == self.selected;
        self.snapshot.runs.iter().find(|worker| self.pane == Pane::Runs && is_it(worker))
    }

    /// How often per second something happens to an object, by what is counted of it.
    pub(crate) fn rate(&self, object: &Object, growth: &str) -> Option<f64> {
        let rates = self.history.rates(&object.name);
        rates.iter().find(|(name, _)| *name == growth).map(|&(_, per_second)| per_second)
    }

    /// The same of all objects together; `None` where nothing happens.
    pub(crate) fn total_rate(&self, growth: &str) -> Option<f64> {
        let rates = self.snapshot.objects.iter().filter_map(|object| self.rate(object, growth));
        Some(rates.sum::<f64>()).filter(|total| *total > 0.0)
    }

    pub(crate) fn has_warning(&self, object: &str) -> bool {
        self.warnings.iter().any(|warning| warning.object.as_deref() == Some(object))
    }
}

//! `procession ctl`: steers a `map` or a `run` from another terminal.

use crate::duration::duration;
use crate::map::Jobs;
use crate::steer::{self, Status, Wish};
use crate::under::told;
use clap::builder::FalseyValueParser;
use procession_sys::{Deadline, signals};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::Serialize;
use std::time::Duration;

/// Steer a `map` or a `run` that has a name, from any terminal.
///
/// It returns when the order is carried out, and what it ended or started has been told so.
#[derive(Debug, clap::Args)]
#[command(after_help = CTL_HELP)]
pub(crate) struct CtlArgs {
    /// Its name, as --name says it.
    name: String,
    /// What it is to do.
    order: Order,
    /// For `restart` and `signal`: the workers, by rank, or by their names in a Procfile; by default all. Before them, for
    /// `signal`, the signal: USR1, SIGHUP, 34.
    #[arg(value_name = "SIGNAL|WORKER")]
    words: Vec<String>,
    /// For `set`: how many jobs run at once: N, N% of the CPUs, +N more than there are CPUs; 0 is as many as can be.
    #[arg(short, long, value_name = "N", env = "PROCESSION_CTL_JOBS", hide_env = true)]
    jobs: Option<Jobs>,
    /// For `stop`: also end what runs: by SIGTERM, and by SIGKILL after a while.
    #[arg(long, env = "PROCESSION_CTL_NOW", hide_env = true, value_parser = FalseyValueParser::new())]
    now: bool,
    /// If nobody runs by that name, wait so long for one that does: 500ms, 5s, 2m.
    #[arg(short, long, value_name = "TIME", default_value = "0", value_parser = duration, env = "PROCESSION_WAIT", hide_env = true)]
    wait: Duration,
    /// Print how things are as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// Say how far it is.
    Status,
    /// Change how many jobs a `map` runs at once; those that run go on.
    Set,
    /// Start no more jobs of a `map`; those that run go on.
    Pause,
    /// Start jobs again.
    Resume,
    /// Start nothing any more, and end when what runs has ended. A `run` ends its workers, by SIGTERM.
    Stop,
    /// End workers of a `run`, and start others in their place, with the same ranks.
    Restart,
    /// Send a signal to the jobs of a `map`, or to workers of a `run`, and what they have started.
    Signal,
}

const CTL_HELP: &str = "\
Examples:
  procession map --name enc -j 8 -- ./enc {} < list &
  procession ctl enc set -j 2 -w 5s

A `map --name NAME` or `run --name NAME` holds the lock NAME while it runs, so
that there is one at most, and `procession wait lock:NAME` waits for its end. It
takes orders from those who may write to its objects: the same user. A stopped
`map` has failed (123) if jobs were left; a stopped `run` has not.

Exit codes: 0 done; 2 wrong usage, or it cannot do that; 66 nobody runs by that
name, or it ended before it took the order.";

/// # Errors
/// Those of [`steer::order`]; [`Failure::Usage`] for an order without what belongs to it.
pub(crate) fn run(args: &CtlArgs) -> Result<(), Failure> {
    told(args.json, give(args))
}

fn give(args: &CtlArgs) -> Result<(), Failure> {
    let name = &*args.name;
    let (pid, status) = steer::order(name, args.wish()?, Deadline::after(args.wait))?;
    if args.json {
        return output::json(&Record { v: 1, kind: "ctl", name, pid, status });
    }
    if args.order == Order::Status { output::line(line(name, pid, &status)) } else { Ok(()) }
}

/// What --json prints.
#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    kind: &'static str,
    name: &'a str,
    pid: u32,
    #[serde(flatten)]
    status: Status,
}

impl CtlArgs {
    fn wish(&self) -> Result<Wish, Failure> {
        let order = self.order;
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if !self.words.is_empty() && !matches!(order, Order::Restart | Order::Signal) {
            return usage("only `restart` and `signal` have more words");
        }
        if self.now && order != Order::Stop {
            return usage("only `stop` has --now");
        }
        let wish = match (order, self.jobs) {
            (Order::Set, None) => return usage("say what to set: -j N"),
            (Order::Set, Some(jobs)) => Wish::Jobs(jobs.slots()),
            (_, Some(_)) => return usage("only `set` has -j"),
            (Order::Status, _) => Wish::Status,
            (Order::Pause, _) => Wish::Pause,
            (Order::Resume, _) => Wish::Resume,
            (Order::Stop, _) => Wish::Stop { now: self.now },
            (Order::Restart, _) => Wish::Restart { workers: self.words.clone() },
            (Order::Signal, _) => {
                let (signal, rest) = self.words.split_first().ok_or_else(|| {
                    Failure::Usage("say which signal: procession ctl NAME signal USR1".to_owned())
                })?;
                Wish::Signal { signal: number_of(signal)?, workers: rest.to_vec() }
            }
        };
        Ok(wish)
    }
}

/// The number of a signal that is said by its name, with or without SIG, or by its number.
fn number_of(word: &str) -> Result<i32, Failure> {
    let is_meant = |signal: &i32| {
        signal.to_string() == word
            || signals::name(*signal)
                .is_some_and(|name| name == word || name.strip_prefix("SIG") == Some(word))
    };
    let signal = signals::ALL.clone().find(is_meant);
    signal.ok_or_else(|| Failure::Usage(format!("{word:?} is no signal: write USR1, SIGUSR1, or a number")))
}

/// How things are, for people: `map "enc", process 4242: 2 jobs of at most 8 at once; 10 succeeded, 1 failed, of 40`.
fn line(name: &str, pid: u32, status: &Status) -> String {
    match status {
        Status::Run { number, workers } => {
            let count = output::number_of(workers.len() as u64, "worker");
            let each = workers.iter().map(|worker| {
                let name = worker.name.as_ref().map_or_else(String::new, |name| format!("{name}, "));
                format!("\n  {name}rank {}, pid {}", worker.rank, worker.pid)
            });
            format!("run {name:?}, process {pid}: {count} of {number}{}", each.collect::<String>())
        }
        Status::Map { jobs, running, succeeded, failed, total, paused, stopping, .. } => {
            let running = output::number_of(*running, "job");
            let most = jobs.map_or_else(String::new, |jobs| format!(" of at most {jobs}"));
            let of = total.map_or_else(String::new, |total| format!(", of {total}"));
            let paused = if *paused { "; paused" } else { "" };
            let stopping = if *stopping { "; stopping" } else { "" };
            format!(
                "map {name:?}, process {pid}: {running}{most} at once; {succeeded} succeeded, {failed} failed{of}{paused}{stopping}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number_of;

    #[test]
    fn signals_are_said_as_kill_takes_them() {
        for (word, signal) in [("USR1", 10), ("SIGUSR1", 10), ("10", 10), ("34", 34), ("KILL", 9)] {
            assert_eq!(number_of(word).unwrap(), signal, "{word}");
        }
        for word in ["", "0", "65", "USR", "usr1x", "-9"] {
            assert!(number_of(word).is_err(), "{word}");
        }
    }
}

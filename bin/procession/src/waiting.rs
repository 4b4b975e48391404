//! `procession wait`: until processes have ended, and objects are in the state that is asked for.

use crate::holding::{Target as Holdable, Thing, not_in_time};
use crate::in_the_way::InTheWay;
use crate::under::{WaitArgs, told};
use clap::builder::FalseyValueParser;
use procession::{
    Encoded, Event, JoinableQueue, Latch, OpenError, Queue, WaitAnyError, Waitable, wait_timeout,
};
use procession_sys::{Deadline, pidfd};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde_json::json;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::Duration;

/// How often those are looked at that nobody tells of: whether a lock is free, a queue empty.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// Wait until processes have ended, events are set, locks are free, queues are empty.
#[derive(Debug, clap::Args)]
#[command(after_help = WAIT_HELP)]
pub(crate) struct WaitingArgs {
    /// For what: pid:NUMBER, event:NAME, event:NAME:cleared, latch:NAME, lock:NAME, sem:NAME, sem:NAME=PERMITS,
    /// queue:NAME:items, queue:NAME:empty, queue:NAME:done.
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<Target>,
    /// Wait for one of them; otherwise for all.
    #[arg(long, env = "PROCESSION_ANY", hide_env = true, value_parser = FalseyValueParser::new())]
    any: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

const WAIT_HELP: &str = "\
Examples:
  procession wait pid:4242 event:db-up -w 30s
  procession wait --any queue:jobs:items event:stop

With --any, those are printed that have come. `lock` and `sem` wait until what
is asked for is free, and do not take it. `queue:NAME:done` waits until nothing
is left to be done, also of what others have in their hands.

Exit codes: 0 it is so; 2 wrong usage; 65 a name is another kind of object; 66
no such queue or latch; 75 not in time (-E changes this code).";

/// What is waited for.
#[derive(Clone, Debug)]
struct Target {
    text: String,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    End(u32),
    Set(String),
    Cleared(String),
    Open(String),
    Free(Holdable),
    Items(String),
    Empty(String),
    Done(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let what = text.split_once(':').and_then(|(kind, rest)| {
            let (name, state) = rest.rsplit_once(':').map_or((rest, ""), |(name, state)| (name, state));
            let name = name.to_owned();
            Some(match (kind, state) {
                ("pid", "") => What::End(rest.parse().ok().filter(|&pid| pid > 0)?),
                ("event", "") => What::Set(name),
                ("event", "cleared") => What::Cleared(name),
                ("latch", "") => What::Open(name),
                ("queue", "items") => What::Items(name),
                ("queue", "empty") => What::Empty(name),
                ("queue", "done") => What::Done(name),
                ("lock" | "sem", "" | "free") => What::Free(format!("{kind}:{name}").parse().ok()?),
                _ => return None,
            })
        });
        let what = what.ok_or_else(|| {
            "it is none of pid:NUMBER, event:NAME[:cleared], latch:NAME, lock:NAME, sem:NAME[=PERMITS], queue:NAME:items|empty|done".to_owned()
        })?;
        Ok(Self { text: text.to_owned(), what })
    }
}

/// What tells whether a target is as it is asked for.
enum Source {
    /// It has been, and is not waited for any more.
    Past,
    /// It tells of itself.
    Tells(Box<dyn Waitable>),
    /// It has to be looked at.
    Looked(Box<dyn Fn() -> bool>),
}

impl Source {
    /// # Errors
    /// When there is no such object, or it is another one.
    fn open(what: &What) -> Result<Self, Failure> {
        Ok(match what {
            What::End(pid) => match pidfd::open(*pid) {
                Ok(end) => Self::Tells(Box::<OwnedFd>::new(end)),
                // It has ended, and nobody has that number.
                Err(error) if error.raw_os_error() == Some(procession_sys::errno::ESRCH) => Self::Past,
                Err(error) => {
                    return Err(Failure::Error(format!("cannot wait for process {pid}: {error}").into()));
                }
            },
            What::Set(name) => Self::Tells(Box::new(Event::open_or_create(name)?)),
            What::Cleared(name) => match Event::open(name) {
                Ok(event) => Self::Looked(Box::new(move || !event.is_set())),
                Err(OpenError::NotFound { .. }) => Self::Past,
                Err(error) => return Err(error.into()),
            },
            What::Open(name) => Self::Tells(Box::new(Latch::open(name)?)),
            What::Free(target) => match Thing::find(target.clone())? {
                Some(thing) => Self::Looked(Box::new(move || !InTheWay::of(&thing).is_in_the_way())),
                None => Self::Past,
            },
            What::Items(name) => match any_queue(name)? {
                AnyQueue::Plain(queue) => Self::Tells(Box::new(queue)),
                AnyQueue::Joinable(queue) => Self::Tells(Box::new(queue)),
            },
            What::Empty(name) => match any_queue(name)? {
                AnyQueue::Plain(queue) => Self::Looked(Box::new(move || queue.is_empty())),
                AnyQueue::Joinable(queue) => Self::Looked(Box::new(move || queue.is_empty())),
            },
            What::Done(name) => match any_queue(name)? {
                AnyQueue::Plain(queue) => Self::Looked(Box::new(move || queue.is_empty())),
                AnyQueue::Joinable(queue) => Self::Looked(Box::new(move || queue.unfinished() == 0)),
            },
        })
    }

    fn looks_so(&self) -> bool {
        match self {
            Self::Past => true,
            Self::Tells(_) => false,
            Self::Looked(look) => look(),
        }
    }
}

enum AnyQueue {
    Plain(Queue<Encoded>),
    Joinable(JoinableQueue<Encoded>),
}

fn any_queue(name: &str) -> Result<AnyQueue, Failure> {
    match Queue::open(name) {
        Err(OpenError::Kind { .. }) => Ok(AnyQueue::Joinable(JoinableQueue::open(name)?)),
        queue => Ok(AnyQueue::Plain(queue?)),
    }
}

/// # Errors
/// [`Failure::Refused`] when it was not so in time.
pub(crate) fn run(args: &WaitingArgs) -> Result<(), Failure> {
    told(args.json, wait(args))
}

fn wait(args: &WaitingArgs) -> Result<(), Failure> {
    let mut sources =
        args.targets.iter().map(|target| Source::open(&target.what)).collect::<Result<Vec<_>, _>>()?;
    let mut has_come = vec![false; sources.len()];
    let deadline = args.wait.deadline();
    loop {
        for (source, has_come) in sources.iter_mut().zip(&mut has_come) {
            if source.looks_so() {
                *has_come = true;
                *source = Source::Past;
            }
        }
        let is_so = if args.any { has_come.contains(&true) } else { !has_come.contains(&false) };
        let is_over = deadline.has_passed();
        for index in tells(&sources, if is_so || is_over { Deadline::PASSED } else { deadline })? {
            has_come[index] = true;
            sources[index] = Source::Past;
        }
        let is_so = if args.any { has_come.contains(&true) } else { !has_come.contains(&false) };
        if is_so {
            return print(args, &has_come);
        }
        if is_over {
            let missing = args.targets.iter().zip(&has_come).filter(|(_, has_come)| !**has_come);
            let missing: Vec<&str> = missing.map(|(target, _)| target.text.as_str()).collect();
            return Err(not_in_time(
                args.wait.conflict_exit_code,
                format!("not in time: {}", missing.join(", ")),
            ));
        }
    }
}

/// Those that have told that they are as they are asked for, until the deadline, or until the others are to be looked
/// at.
fn tells(sources: &[Source], deadline: Deadline) -> Result<Vec<usize>, Failure> {
    let (places, objects): (Vec<usize>, Vec<&dyn Waitable>) = sources
        .iter()
        .enumerate()
        .filter_map(|(place, source)| match source {
            Source::Tells(object) => Some((place, object.as_ref())),
            _ => None,
        })
        .unzip();
    let looks = sources.iter().any(|source| matches!(source, Source::Looked(_)));
    let until = if looks { deadline.min(Deadline::after(LOOKS_EVERY)) } else { deadline };
    if objects.is_empty() {
        std::thread::sleep(until.remaining().unwrap_or(LOOKS_EVERY));
        return Ok(Vec::new());
    }
    let outcome = match until.remaining() {
        Some(time) => wait_timeout(&objects, time),
        None => procession::wait(&objects),
    };
    match outcome {
        Ok(ready) => Ok(ready.into_iter().filter_map(|index| places.get(index).copied()).collect()),
        Err(WaitAnyError::TimedOut) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn print(args: &WaitingArgs, has_come: &[bool]) -> Result<(), Failure> {
    let come = args.targets.iter().zip(has_come).filter(|(_, has_come)| **has_come);
    let come: Vec<&str> = come.map(|(target, _)| target.text.as_str()).collect();
    if args.json {
        return output::json(&json!({"v": 1, "kind": "wait", "come": come}));
    }
    if args.any { come.iter().try_for_each(output::line) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn targets_are_what_can_be_waited_for() {
        for text in [
            "pid:1",
            "event:up",
            "event:up:cleared",
            "latch:l",
            "lock:a",
            "lock:a:free",
            "sem:gpu=2",
            "queue:q:items",
            "queue:q:empty",
            "queue:q:done",
        ] {
            assert!(text.parse::<Target>().is_ok(), "{text}");
        }
        for text in [
            "up",
            "pid:",
            "pid:0",
            "pid:x",
            "event:up:set",
            "queue:q",
            "lock:a:held",
            "sem:gpu=0",
            "barrier:b",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}

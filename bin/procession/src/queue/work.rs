//! `procession queue work`: runs a command for each item, several at a time.
//!
//! A process has one ward, so each of several workers is a process of its own (`queue/crew.rs`). One worker alone is this
//! process itself.

use super::QueueName;
use super::crew::Crew;
use super::store::{Store, must_be_readable};
use super::worker::Worker;
use crate::duration::duration;
use crate::holding::refusal;
use crate::keeper::be_called_procession;
use crate::passed_on::{self, code_of, die_of};
use crate::program::{check, keep_closed};
use crate::report::Report;
use crate::under::told;
use clap::builder::FalseyValueParser;
use procession::shm::register;
use procession::{Codec, Encoded, JoinableQueue, Namespace};
use procession_sys::{clock, memfd};
use procession_terminal::exit::{DISAGREE, Failure, Refusal, SOME_FAILED};
use procession_terminal::output;
use serde::Serialize;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, stdin};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The subcommand that a worker is.
pub(super) const WORKER: &str = "__slot";

/// Run a command for each item of a queue, and acknowledge the item when the command has ended well.
#[derive(Debug, clap::Args)]
#[command(after_help = WORK_HELP)]
pub(super) struct WorkArgs {
    /// So many at a time.
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1000),
        env = "PROCESSION_QUEUE_JOBS",
        hide_env = true
    )]
    pub(super) jobs: u32,
    #[command(flatten)]
    pub(super) how: HowArgs,
    /// Write how many items were done to this file, or to the open descriptor N, as one line of JSON.
    #[arg(long, value_name = "FILE|fd:N", env = "PROCESSION_QUEUE_REPORT", hide_env = true)]
    report: Option<Report>,
    #[command(flatten)]
    pub(super) what: WhatArgs,
}

/// How items are worked on.
#[derive(Debug, clap::Args)]
pub(super) struct HowArgs {
    /// How long the command may take for an item; then it gets SIGTERM, and has failed. The queue's own time unless said.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "PROCESSION_QUEUE_LEASE", hide_env = true)]
    lease: Option<Duration>,
    /// How long it may take to end after that, before it gets SIGKILL.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        value_parser = duration,
        env = "PROCESSION_KILL_AFTER",
        hide_env = true
    )]
    kill_after: Duration,
    /// How often an item is tried again before it is a dead letter; as often as the queue allows unless said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..4095), env = "PROCESSION_QUEUE_RETRIES", hide_env = true)]
    retries: Option<u32>,
    /// End when everything is done, also what others have leased.
    #[arg(long, env = "PROCESSION_QUEUE_UNTIL_EMPTY", hide_env = true, value_parser = FalseyValueParser::new())]
    until_empty: bool,
    /// The command reads the item from stdin, and nothing is put into its words.
    #[arg(long, env = "PROCESSION_QUEUE_STDIN", hide_env = true, value_parser = FalseyValueParser::new())]
    stdin: bool,
    /// Of JSON items that are strings, use the text that they are.
    #[arg(short, long, env = "PROCESSION_QUEUE_RAW", hide_env = true, value_parser = FalseyValueParser::new())]
    raw: bool,
    /// Say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// What is worked on, and by what.
#[derive(Debug, clap::Args)]
pub(super) struct WhatArgs {
    #[command(flatten)]
    pub(super) queue: QueueName,
    /// The command, behind `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

/// One of several workers, as `queue work` starts it.
#[derive(Debug, clap::Args)]
pub(super) struct WorkerArgs {
    /// Which one.
    slot: u32,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    what: WhatArgs,
}

const WORK_HELP: &str = "\
Examples:
  procession queue work enc -j 4 --retries 3 -- ./encode {}
  procession queue work urls --until-empty -- curl -sSO

The item stands in place of every {}, also in the middle of a word; where there
is none, it is the last word, as with xargs. It is never read by a shell. With
--stdin the command reads it. Without, stdin is empty.

The item is done when the command exits with 0. Otherwise it is there again, at
once, for any worker; it is a dead letter (`queue dead`) when it was tried so
often. It is also there again when the command or this process is killed, and
not before the command has ended: an item is never in two commands' hands. What
the command leaves running does not count.

The command has PROCESSION_QUEUE, PROCESSION_ITEM (its number),
PROCESSION_TOKEN, PROCESSION_ATTEMPT (1, 2, …) and PROCESSION_SLOT (1 to N) in
its environment.

Signals are passed on to the commands. After HUP, INT, QUIT, TERM or ALRM no
more items are got; those whose commands end otherwise than with 0 are put back,
and this attempt does not count. Then this process ends by that signal.

Exit codes: 0 the queue is closed and everything is done, or it is empty with
--until-empty; 65 it has no leases, or allows fewer attempts than --retries, or
other programs keep values of their own in it; 66 no such queue; 123 some items
became dead letters; 125 procession failed; 126, 127 the command cannot be run,
was not found; 128+n ended by signal n.";

/// What is done for each item, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) command: &'a [OsString],
    pub(super) codec: Codec,
    /// How long the command may run.
    pub(super) limit: Option<Duration>,
    pub(super) kill_after: Duration,
    /// How often an item is tried.
    most_attempts: u32,
    pub(super) until_empty: bool,
    pub(super) on_stdin: bool,
    pub(super) raw: bool,
    /// What was said on the command line.
    pub(super) namespace: Option<&'a Namespace>,
}

impl HowArgs {
    /// The same as words of a command line.
    pub(super) fn words(&self) -> Vec<OsString> {
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        let with_values = [
            ("--lease", self.lease.map(seconds)),
            ("--kill-after", Some(seconds(self.kill_after))),
            ("--retries", self.retries.map(|retries| retries.to_string())),
        ];
        let flags = [
            ("--until-empty", self.until_empty),
            ("--stdin", self.stdin),
            ("--raw", self.raw),
            ("--json", self.json),
        ];
        let pairs = with_values.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
        let flags = flags.into_iter().filter(|(_, is_said)| *is_said).map(|(name, _)| name.to_owned());
        pairs.flatten().chain(flags).map(OsString::from).collect()
    }
}

impl<'a> Job<'a> {
    /// The job, and its queue.
    fn new(
        how: &HowArgs,
        what: &'a WhatArgs,
        namespace: Option<&'a Namespace>,
    ) -> Result<(Self, JoinableQueue<Encoded>), Failure> {
        let name = what.queue.name.as_str();
        let queue = Store::open_leased(name, "`work`")?;
        must_be_readable(name, queue.codec())?;
        let allowed = queue.max_attempts().unwrap_or(u32::MAX);
        let most_attempts = how.retries.map_or(allowed, |retries| retries + 1);
        if most_attempts > allowed {
            let message = format!(
                "queue {name:?} allows {}, and --retries {} wants {most_attempts}: make it with --max-attempts 0, which is \
                 no limit",
                output::number_of(allowed.into(), "attempt"),
                most_attempts - 1
            );
            return Err(refusal("disagree", DISAGREE, message));
        }
        let job = Self {
            name,
            command: &what.command,
            codec: queue.codec(),
            limit: how.lease.or(queue.lease_timeout()).filter(|time| !time.is_zero()),
            kill_after: how.kill_after,
            most_attempts,
            until_empty: how.until_empty,
            on_stdin: how.stdin,
            raw: how.raw,
            namespace,
        };
        Ok((job, queue))
    }

    pub(super) fn most_attempts(&self) -> u32 {
        self.most_attempts
    }
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Done,
    Retried,
    /// It is a dead letter.
    Failed,
    PutBack,
}

/// How many items became what.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    done: u64,
    retried: u64,
    failed: u64,
}

impl Counts {
    const LEN: usize = 24;

    fn add(&mut self, deed: Deed) {
        match deed {
            Deed::Done => self.done += 1,
            Deed::Retried => self.retried += 1,
            Deed::Failed => self.failed += 1,
            Deed::PutBack => {}
        }
    }

    /// As a worker writes them for who has started it, which reads them whenever the worker ended.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [self.done, self.retried, self.failed].map(u64::to_le_bytes).concat()
    }

    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; Self::LEN];
        file.read_exact_at(&mut bytes, 0)?;
        let number = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Self { done: number(0), retried: number(8), failed: number(16) })
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            retried: self.retried + other.retried,
            failed: self.failed + other.failed,
        }
    }
}

/// # Errors
/// Those of the help.
pub(super) fn run(args: &WorkArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    told(args.how.json, work(args, namespace))
}

fn work(args: &WorkArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    let (job, queue) = Job::new(&args.how, &args.what, namespace)?;
    // What stands in place of the command itself, only the items tell.
    if !job.command[0].as_encoded_bytes().windows(2).any(|part| part == b"{}") {
        check(job.command)?;
    }
    keep_closed();
    let mut counts = Counts::default();
    let outcome = if args.jobs == 1 {
        work_alone(&job, queue, 1, &mut |deed| counts.add(deed))
    } else {
        let mut crew = Crew::new(args, namespace)?;
        let outcome = crew.work();
        counts = crew.counts()?;
        outcome
    };
    let exit = match &outcome {
        Ok(None) if counts.failed > 0 => SOME_FAILED,
        Ok(asked_by) => asked_by.map_or(0, code_of),
        Err(failure) => failure.code(),
    };
    if let Some(report) = &args.report {
        let mut lines = report.lines()?;
        let ts = clock::wall_ns() as f64 / 1e9;
        lines.write(&Record { v: 1, ts, kind: "work", name: job.name, counts, exit });
        lines.end()?;
    }
    match outcome? {
        Some(signal) => Err(die_of(signal)),
        None if counts.failed > 0 => Err(some_failed(&job, counts)),
        None => Ok(()),
    }
}

/// What became of all items, in a report.
#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    ts: f64,
    kind: &'static str,
    name: &'a str,
    #[serde(flatten)]
    counts: Counts,
    exit: u8,
}

fn some_failed(job: &Job<'_>, counts: Counts) -> Failure {
    let (name, all) = (job.name, counts.done + counts.failed);
    let message = format!(
        "{} of {} failed: `procession queue dead {name}` shows them, `procession queue retry {name}` tries them again",
        output::grouped(counts.failed),
        output::number_of(all, "item")
    );
    let details = [("done", counts.done), ("retried", counts.retried), ("failed", counts.failed)];
    let details = details.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    Failure::Refused(Box::new(Refusal { code: SOME_FAILED, reason: "some_failed", message, details }))
}

/// Is a worker; the signal that has asked for the end.
fn work_alone(
    job: &Job<'_>,
    queue: JoinableQueue<Encoded>,
    slot: u32,
    note: &mut dyn FnMut(Deed),
) -> Result<Option<i32>, Failure> {
    let registration = register(&Namespace::current()?)?;
    let inbox = passed_on::inbox();
    Worker { job, queue, slot, inbox: &inbox, registration, note }.work()
}

/// Is one of several workers.
///
/// # Errors
/// Why it cannot go on.
pub(super) fn become_worker(args: &WorkerArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    told(args.how.json, work_for_crew(args, namespace))
}

fn work_for_crew(args: &WorkerArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    be_called_procession();
    let (job, queue) = Job::new(&args.how, &args.what, namespace)?;
    let file = File::from(stdin().as_fd().try_clone_to_owned()?);
    let mut counts = Counts::read(&file)?;
    let mut note = |deed| {
        counts.add(deed);
        // If it fails, too few are counted.
        drop(memfd::write_at(&file, &counts.to_bytes(), 0));
    };
    match work_alone(&job, queue, args.slot, &mut note)? {
        Some(signal) => Err(die_of(signal)),
        None => Ok(()),
    }
}

//! `procession map`: a command that is run for each of many inputs, several at once.
//!
//! `plan.rs` is what the command line asks for: `template.rs` replacement strings, `inputs.rs` inputs, `halt.rs` and
//! `retry.rs` what becomes of failures, `room.rs` when the machine has enough to do. `engine.rs` is the one thread that does it, with `ending.rs` for jobs that have
//! ended, `stopping.rs` for signals and `steered.rs` for orders from other terminals; `job.rs` is one job. What jobs say goes through `spool.rs` to `output.rs`, to
//! `results.rs`, or into a `record.rs`; what was done goes to `joblog.rs`, `tally.rs` and `progress.rs`.
//!
//! A job is killed by the kernel when this process is killed, a moment later: so what is not in the log can be run
//! again at once. What the job itself has started is not: its own process group is told of signals, but SIGKILL of this
//! process tells nobody.

mod ending;
mod engine;
mod halt;
mod inputs;
mod job;
mod joblog;
mod output;
mod plan;
mod progress;
mod quote;
mod record;
mod results;
mod retry;
mod room;
mod spool;
mod steered;
mod stopping;
mod tally;
mod template;

use crate::duration::duration;
use crate::holding::{Target, refusal};
use crate::passed_on::die_of;
use crate::steer::Steering;
use crate::under::told;
use clap::builder::FalseyValueParser;
use engine::{Engine, Kept};
use halt::Halt;
use inputs::delimiter;
use job::When;
use joblog::{Joblog, Resume};
use plan::{Mode, Plan};
use procession::Namespace;
use procession_sys::clock::now_ns;
use procession_terminal::exit::{Failure, SOME_FAILED};
use progress::{Progress, Show};
use record::Summary;
use results::Results;
use retry::{Codes, Retry, factor};
use room::{Bytes, Load, Room};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Run a command for each line of stdin, several at once: `map -j 4 -- CMD {}`.
#[derive(Debug, clap::Args)]
#[command(after_help = MAP_HELP)]
pub(crate) struct MapArgs {
    /// How many jobs run at once: N, N% of the CPUs, +N more than there are CPUs; 0 is as many as can be.
    #[arg(
        short,
        long,
        short_alias = 'P',
        value_name = "N",
        default_value = "100%",
        env = "PROCESSION_MAP_JOBS",
        hide_env = true
    )]
    jobs: Jobs,
    /// Print what jobs say in the order of the inputs.
    #[arg(short, long, env = "PROCESSION_MAP_KEEP_ORDER", hide_env = true, value_parser = FalseyValueParser::new())]
    keep_order: bool,
    /// How many inputs a job gets, at most.
    #[arg(short = 'n', long, value_name = "MAX", default_value = "1", value_parser = count, env = "PROCESSION_MAP_MAX_ARGS", hide_env = true)]
    max_args: usize,
    /// Inputs are separated by NUL bytes, as `find -print0` writes them.
    #[arg(short = '0', long, env = "PROCESSION_MAP_NULL", hide_env = true, value_parser = FalseyValueParser::new())]
    null: bool,
    /// Inputs are separated by this byte.
    #[arg(short, long, value_name = "C", default_value = r"\n", value_parser = delimiter, env = "PROCESSION_MAP_DELIMITER", hide_env = true)]
    delimiter: u8,
    /// Read the inputs from this file, and leave stdin to the jobs.
    #[arg(short, long, value_name = "FILE", env = "PROCESSION_MAP_ARG_FILE", hide_env = true)]
    arg_file: Option<PathBuf>,
    /// Of several lists of inputs, have the first of each be one job, and so on; shorter lists begin again.
    #[arg(long, env = "PROCESSION_MAP_LINK", hide_env = true, value_parser = FalseyValueParser::new())]
    link: bool,
    /// What stands for the input in the command, instead of {}.
    #[arg(short = 'I', long, value_name = "STRING", env = "PROCESSION_MAP_REPLACE", hide_env = true)]
    replace: Option<OsString>,
    /// Have sh run the command, which gets inputs as parameters and never as code.
    #[arg(long, env = "PROCESSION_MAP_SHELL", hide_env = true, value_parser = FalseyValueParser::new())]
    shell: bool,
    /// How long a job may run; then it gets SIGTERM, and counts as failed with 124.
    #[arg(short, long, value_name = "TIME", value_parser = duration, env = "PROCESSION_TIMEOUT", hide_env = true)]
    timeout: Option<Duration>,
    /// How long a job may take to end after a SIGTERM, before it gets SIGKILL.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, env = "PROCESSION_KILL_AFTER", hide_env = true)]
    kill_after: Duration,
    #[command(flatten)]
    failures: FailureArgs,
    #[command(flatten)]
    kept: KeptArgs,
    #[command(flatten)]
    said: SaidArgs,
    /// Run each job while it holds K permits of this semaphore, by default 1.
    #[arg(long, value_name = "NAME[=K]", value_parser = permits, env = "PROCESSION_MAP_SEM", hide_env = true)]
    sem: Option<Target>,
    #[command(flatten)]
    room: RoomArgs,
    /// A name, by which `procession ctl` steers it from another terminal, and which no other has meanwhile.
    #[arg(long, value_name = "NAME", env = "PROCESSION_MAP_NAME", hide_env = true)]
    name: Option<String>,
    /// Run the jobs in random order.
    #[arg(long, env = "PROCESSION_MAP_SHUF", hide_env = true, value_parser = FalseyValueParser::new())]
    shuf: bool,
    /// Print the commands, and run none.
    #[arg(long, env = "PROCESSION_MAP_DRY_RUN", hide_env = true, value_parser = FalseyValueParser::new())]
    dry_run: bool,
    /// The command and its arguments, behind `--`; and behind `:::`, inputs.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// When no more jobs are started for a while.
#[derive(Debug, clap::Args)]
struct RoomArgs {
    /// Start no job while less memory is free: 512M, 2G.
    #[arg(long, value_name = "BYTES", env = "PROCESSION_MAP_MEMFREE", hide_env = true)]
    memfree: Option<Bytes>,
    /// Start no job while the load of the last minute is not below this: a number, or N% of the CPUs.
    #[arg(long, value_name = "LOAD", env = "PROCESSION_MAP_LOAD", hide_env = true)]
    load: Option<Load>,
}

/// What is done about failures.
#[derive(Debug, clap::Args)]
struct FailureArgs {
    /// Run a job that failed again, at most so often.
    #[arg(long, value_name = "N", default_value = "0", env = "PROCESSION_MAP_RETRIES", hide_env = true)]
    retries: u32,
    /// How long to wait before that; up to a quarter is added.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration, env = "PROCESSION_MAP_RETRY_DELAY", hide_env = true)]
    retry_delay: Duration,
    /// By what the delay is multiplied each time.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor, env = "PROCESSION_MAP_BACKOFF", hide_env = true)]
    backoff: f64,
    /// Run a job again only after these exit codes: 1,75,100-120; 124 is a timeout, 128+n signal n.
    #[arg(long, value_name = "CODES", env = "PROCESSION_MAP_RETRY_ON", hide_env = true)]
    retry_on: Option<Codes>,
    /// Start no more jobs (soon), or also end those that run (now), when so many have failed, succeeded or ended:
    /// now,fail=1 or soon,fail=20% or now,success=1 or soon,done=5.
    #[arg(long, value_name = "WHEN", default_value = "never", env = "PROCESSION_MAP_HALT", hide_env = true)]
    halt: Halt,
    /// The exit code when some jobs failed.
    #[arg(
        long,
        value_enum,
        value_name = "RULE",
        default_value_t,
        env = "PROCESSION_MAP_EXIT",
        hide_env = true
    )]
    exit: ExitRule,
}

/// What is kept on disk.
#[derive(Debug, clap::Args)]
struct KeptArgs {
    /// Write a line for each job that has ended to this file, as GNU parallel does; +FILE adds to it.
    #[arg(long, value_name = "FILE", env = "PROCESSION_MAP_JOBLOG", hide_env = true)]
    joblog: Option<PathBuf>,
    /// Leave out jobs that have ended by the job log.
    #[arg(long, requires = "joblog", env = "PROCESSION_MAP_RESUME", hide_env = true, value_parser = FalseyValueParser::new())]
    resume: bool,
    /// Leave out jobs that have succeeded by the job log.
    #[arg(long, requires = "joblog", env = "PROCESSION_MAP_RESUME_FAILED", hide_env = true, value_parser = FalseyValueParser::new())]
    resume_failed: bool,
    /// Also write what each job says to files below this directory: DIR/1/INPUT/stdout.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "ungroup",
        env = "PROCESSION_MAP_RESULTS",
        hide_env = true
    )]
    results: Option<PathBuf>,
}

/// What becomes of what jobs say.
#[derive(Debug, clap::Args)]
struct SaidArgs {
    /// Print what a job says when it has ended (the default).
    #[arg(long, conflicts_with_all = ["line_buffer", "ungroup"], env = "PROCESSION_MAP_GROUP", hide_env = true, value_parser = FalseyValueParser::new())]
    group: bool,
    /// Print each line that a job says at once, never two mixed.
    #[arg(long, alias = "lb", conflicts_with_all = ["ungroup", "keep_order", "json"], env = "PROCESSION_MAP_LINE_BUFFER", hide_env = true, value_parser = FalseyValueParser::new())]
    line_buffer: bool,
    /// Let jobs print by themselves.
    #[arg(short, long, conflicts_with_all = ["keep_order", "json"], env = "PROCESSION_MAP_UNGROUP", hide_env = true, value_parser = FalseyValueParser::new())]
    ungroup: bool,
    /// Put the input and a tab in front of each line.
    #[arg(long, conflicts_with_all = ["ungroup", "json"], env = "PROCESSION_MAP_TAG", hide_env = true, value_parser = FalseyValueParser::new())]
    tag: bool,
    /// Put this text and a tab in front of each line; {} and its kin stand for the input.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["ungroup", "json"], env = "PROCESSION_MAP_TAGSTRING", hide_env = true)]
    tagstring: Option<OsString>,
    /// Show how far the jobs are, on stderr.
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value_t,
        env = "PROCESSION_MAP_PROGRESS",
        hide_env = true
    )]
    progress: Show,
    /// Print a record for each job, as one line of JSON, instead of what it says.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// The exit code when some jobs failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExitRule {
    /// 123
    #[default]
    Any,
    /// That of the job that failed first.
    First,
    /// The highest of the jobs'.
    Max,
    /// How many failed; 101 is more than 100.
    Count,
}

/// How many jobs run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jobs(u32);

impl Jobs {
    pub(crate) fn slots(self) -> u32 {
        self.0
    }
}

impl std::str::FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cpus =
            std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1));
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| "it is N, N% of the CPUs, +N more than there are, or 0".to_owned())
        };
        Ok(Self(match (text.strip_prefix('+'), text.strip_suffix('%')) {
            (Some(more), _) => cpus.saturating_add(number(more)?),
            (_, Some(percent)) => {
                let jobs = u64::from(cpus) * u64::from(number(percent)?) / 100;
                u32::try_from(jobs.max(1)).unwrap_or(u32::MAX)
            }
            _ => match number(text)? {
                0 => u32::MAX,
                jobs => jobs,
            },
        }))
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "it is a number from 1 on".to_owned())
}

fn permits(text: &str) -> Result<Target, String> {
    format!("sem:{text}").parse()
}

const MAP_HELP: &str = "\
Examples:
  procession map -0 -j 4 -- flac --silent {} < list-of-files
  procession map -k --joblog log --resume -- ./fit {1} {2} ::: a b c ::: 1 2

Every line is one input, whatever is in it; no shell reads it. In the command
stand {} the input, {.} without its extension, {/} without its directory, {//}
the directory, {/.} without both, {#} the number of the job, {%} its slot, {1}
{2.} … one of several inputs. Without any, the inputs are the last arguments.
Behind ::: stand inputs, behind :::: files of them; of several such lists, each
input is combined with each. One behind :::+ or ::::+ is linked to the list
before it: the first belongs to the first, and the shorter list ends both.

Jobs have PROCESSION_SLOT, PROCESSION_SEQ, PROCESSION_ATTEMPT and PROCESSION_RUN
in their environment. Each leads a process group, and is killed when this
process is killed. Ctrl-C lists the jobs, sends them SIGINT and starts no more;
the second time it sends SIGTERM, the third time SIGKILL. SIGTERM and SIGHUP
end them, SIGUSR1 lists them, SIGTSTP stops them, and the time for which they
may run; other signals are passed on.

The job log has GNU parallel's columns, and a hash of the command and the inputs
behind them, by which --resume knows a job: inputs may be added, taken away, or
come in another order. A job that was killed with this process, or ended by
Ctrl-C or --halt, is not in the log, and runs again.

Exit codes: 0 all jobs succeeded, or --halt …,success=N was reached; 123 some
failed (--exit); 65, 66 the semaphore disagrees, is not there; 125 procession
failed; 126, 127 the command cannot be run, was not found; 128+n ended by signal
n, after all jobs have ended.";

impl MapArgs {
    fn mode(&self) -> Mode {
        match &self.said {
            SaidArgs { json: true, .. } => Mode::Records,
            SaidArgs { ungroup: true, .. } => Mode::Shared,
            SaidArgs { line_buffer: true, .. } => Mode::Captured(When::ByLine),
            _ => Mode::Captured(When::AtEnd),
        }
    }

    fn retry(&self) -> Retry {
        let FailureArgs { retries, retry_delay, backoff, retry_on, .. } = &self.failures;
        Retry { times: *retries, delay: *retry_delay, backoff: *backoff, on: retry_on.clone() }
    }

    fn tag_text(&self) -> Option<OsString> {
        self.said.tagstring.clone().or_else(|| self.said.tag.then(|| "{}".into()))
    }

    fn resume(&self) -> Resume {
        match (self.kept.resume, self.kept.resume_failed) {
            (_, true) => Resume::Succeeded,
            (true, false) => Resume::Ended,
            (false, false) => Resume::No,
        }
    }
}

/// # Errors
/// [`Failure::Refused`] when some jobs failed; [`Failure::Command`] after a signal; [`Failure::NotRunnable`].
pub(crate) fn run_command(args: MapArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    told(args.said.json, run(&args, namespace))
}

fn run(args: &MapArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    let (words, lists) = inputs::split(&args.command);
    if words.is_empty() {
        return Err(Failure::Usage("no command: to run each input as one, say {}".to_owned()));
    }
    let (mut inputs, width, is_stdin) = plan::inputs_of(args, lists)?;
    if args.shuf {
        inputs.shuffle();
    }
    let plan = Plan::new(args, words, width, is_stdin, namespace)?;
    let kept = &args.kept;
    let log = kept.joblog.as_ref().filter(|path| {
        // Where nothing is done there is nothing to be logged, only what was done before to be read.
        !args.dry_run || args.resume() != Resume::No && joblog::file_of(path).exists()
    });
    let log = log.map(|path| Joblog::open(path, args.resume())).transpose()?;
    let results = kept.results.as_ref().filter(|_| !args.dry_run).map(|directory| Results::new(directory));
    let progress = Progress::new(if args.dry_run { Show::None } else { args.said.progress });
    let began = now_ns();
    let room = Room::new(args.room.memfree, args.room.load);
    let mut engine = Engine::new(&plan, inputs, Kept { log, results }, room, progress)?;
    engine.steering = args.name.as_deref().filter(|_| !args.dry_run).map(Steering::claim).transpose()?;
    engine.run()?;
    let exit = engine.exit_code();
    if args.said.json {
        engine.summarize(began, exit)?;
    }
    match engine.asked_by {
        Some(signal) => Err(die_of(signal)),
        None if exit == 0 => Ok(()),
        None => Err(some_failed(&engine, exit)),
    }
}

impl Engine<'_> {
    fn exit_code(&self) -> u8 {
        let has_succeeded = self.tally.halted && self.plan.halt.is_success();
        match self.asked_by {
            Some(signal) => crate::passed_on::code_of(signal),
            None if has_succeeded => 0,
            None if self.left_some && self.tally.failed == 0 => SOME_FAILED,
            None => self.tally.code(self.plan.exit),
        }
    }

    fn summarize(&self, began: u64, exit: u8) -> Result<(), Failure> {
        let tally = &self.tally;
        procession_terminal::output::json(&Summary {
            v: 1,
            ts: record::now(),
            kind: "summary",
            succeeded: tally.succeeded,
            failed: tally.failed,
            skipped: tally.skipped,
            stopped: tally.stopped,
            complete: !self.stopping,
            seconds: now_ns().saturating_sub(began) as f64 / 1e9,
            exit,
        })
    }
}

fn some_failed(engine: &Engine<'_>, exit: u8) -> Failure {
    let tally = &engine.tally;
    let all = tally.succeeded + tally.failed;
    let mut message = format!("{} of {all} jobs failed", tally.failed);
    if engine.left_some {
        message += "; others were not run, because of `procession ctl`";
    }
    if let Some(words) = &tally.first_words {
        message += &format!("; first {}", procession_terminal::output::printable(words));
    }
    if tally.halted {
        message += "; no more were started (--halt)";
    }
    let reason = if exit == SOME_FAILED { "jobs_failed" } else { "job_failed" };
    refusal(reason, exit, message)
}

#[cfg(test)]
mod tests {
    use super::{Jobs, count, permits};

    #[test]
    fn numbers_of_jobs_are_read_as_parallel_reads_them() {
        let cpus = std::thread::available_parallelism().unwrap().get() as u32;
        let jobs = |text: &str| text.parse::<Jobs>().map(Jobs::slots);
        assert_eq!(jobs("3"), Ok(3));
        assert_eq!(jobs("+2"), Ok(cpus + 2));
        assert_eq!(jobs("200%"), Ok(2 * cpus));
        assert_eq!(jobs("1%"), Ok(1));
        assert_eq!(jobs("0"), Ok(u32::MAX));
        for wrong in ["", "-1", "x", "+", "%", "1.5"] {
            assert!(jobs(wrong).is_err(), "{wrong}");
        }
        assert!(count("0").is_err() && count("7") == Ok(7));
        assert!(permits("gpu=2").is_ok() && permits("gpu=0").is_err());
    }
}

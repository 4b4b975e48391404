//! What a job became: for the exit code, for the log, and as a record in JSON.

use super::job::{Job, Running};
use crate::passed_on::code_of;
use procession_sys::clock::{now_ns, wall_ns};
use procession_sys::pidfd::Ended;
use procession_terminal::exit::TIMED_OUT;
use serde::Serialize;

/// So much of a stream is in a record.
pub(super) const MOST_OUTPUT: usize = 1 << 20;

/// How a job ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// As a shell says it; 124 if its time was over.
    pub(super) code: u8,
    /// Its own exit code, and the signal that ended it; 0 for none.
    pub(super) exit: i32,
    pub(super) signal: i32,
    pub(super) ran_ns: u64,
    pub(super) timed_out: bool,
    /// Whether this process had it ended before it was done.
    pub(super) stopped: bool,
}

impl Outcome {
    pub(super) fn of(running: &Running, ended: Ended) -> Self {
        let (code, exit, signal) = match ended {
            Ended::Exited(exit) => (u8::try_from(exit).unwrap_or(u8::MAX), exit, 0),
            Ended::Signaled(signal) => (code_of(signal), 0, signal),
        };
        let timed_out = running.timed_out;
        // What ends by itself in spite of it is done.
        let stopped = running.stopped && code != 0;
        let (code, exit) = if timed_out { (TIMED_OUT, i32::from(TIMED_OUT)) } else { (code, exit) };
        Self { code, exit, signal, ran_ns: now_ns().saturating_sub(running.began_at), timed_out, stopped }
    }

    /// Of a job whose program could not be executed.
    pub(super) fn not_run(code: u8) -> Self {
        Self { code, exit: i32::from(code), signal: 0, ran_ns: 0, timed_out: false, stopped: false }
    }

    pub(super) fn is_success(self) -> bool {
        self.code == 0
    }

    /// As people read it.
    pub(super) fn words(self) -> String {
        match self {
            Self { timed_out: true, .. } => "it ran for too long".to_owned(),
            Self { signal: 0, exit, .. } => format!("exit code {exit}"),
            Self { signal, .. } => format!("ended by {}", procession_sys::signals::words(signal)),
        }
    }
}

/// A job in JSON.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    v: u32,
    ts: f64,
    kind: &'static str,
    seq: u64,
    slot: u32,
    attempts: u32,
    inputs: Vec<String>,
    command: Vec<String>,
    began: f64,
    seconds: f64,
    /// Its own exit code, or the signal that ended it.
    code: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    stopped: bool,
    /// What a shell would say.
    exit: u8,
    hash: String,
    stdout: &'a str,
    stderr: &'a str,
    /// Whether there was more of stdout or stderr than is here.
    truncated: bool,
}

/// A job that would be run, in JSON.
#[derive(Serialize)]
pub(super) struct Planned {
    v: u32,
    ts: f64,
    kind: &'static str,
    seq: u64,
    inputs: Vec<String>,
    command: Vec<String>,
    hash: String,
}

impl Planned {
    pub(super) fn of(job: &Job, command: &[Vec<u8>]) -> Self {
        let (inputs, command) = (strings(&job.items), strings(command));
        Self { v: 1, ts: now(), kind: "planned", seq: job.seq, inputs, command, hash: job.hash.to_string() }
    }
}

/// What jobs have said, for a record.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) truncated: bool,
}

/// In seconds since the epoch.
pub(super) fn now() -> f64 {
    wall_ns() as f64 / 1e9
}

fn strings(words: &[Vec<u8>]) -> Vec<String> {
    words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The record of a job that has ended.
pub(super) fn of_job<'a>(running: &Running, outcome: Outcome, texts: &'a Texts) -> Record<'a> {
    let is_signaled = outcome.signal != 0;
    Record {
        v: 1,
        ts: now(),
        kind: "job",
        seq: running.job.seq,
        slot: running.slot,
        attempts: running.job.attempt,
        inputs: strings(&running.job.items),
        command: strings(&running.command),
        began: running.began as f64 / 1e9,
        seconds: outcome.ran_ns as f64 / 1e9,
        code: (!is_signaled).then_some(outcome.exit),
        signal: is_signaled.then_some(outcome.signal),
        timed_out: outcome.timed_out,
        stopped: outcome.stopped,
        exit: outcome.code,
        hash: running.job.hash.to_string(),
        stdout: &texts.stdout,
        stderr: &texts.stderr,
        truncated: texts.truncated,
    }
}

/// The last record.
#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) v: u32,
    pub(super) ts: f64,
    pub(super) kind: &'static str,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Done before, by the log.
    pub(super) skipped: u64,
    /// Ended by this process before they were done.
    pub(super) stopped: u64,
    /// Whether there were jobs that were not started.
    pub(super) complete: bool,
    pub(super) seconds: f64,
    pub(super) exit: u8,
}

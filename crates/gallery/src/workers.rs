//! What demos with several processes have in common: when one of them is killed, the demo says which, and
//! ends.

use procession::{Process, WaitError};
use procession_terminal::exit::{Failure, with_causes};
use procession_terminal::output;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// Why a worker could not finish, in words. Any error becomes one by `?`, and in words it can cross to the
/// parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stopped(String);

impl Stopped {
    pub(crate) fn because(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl<E: Error + 'static> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self(with_causes(&error))
    }
}

impl From<Stopped> for Failure {
    fn from(Stopped(why): Stopped) -> Self {
        Self::Wrong(why)
    }
}

/// What a worker returns.
pub(crate) type Done<T> = Result<T, Stopped>;

/// How long a worker is waited for before the next is looked at.
const SLICE: Duration = Duration::from_millis(5);
/// When one worker has failed: how long the others may take to fail of it, so that their reasons are told as
/// well.
const AFTERMATH: Duration = Duration::from_secs(2);
/// What has not happened for so long does not happen any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line on stdout, from a worker. If nobody reads, the parent will notice.
pub(crate) fn say(text: impl Display) {
    drop(output::line(text));
}

/// Says who they are: for those who want to watch them, or to kill one.
pub(crate) fn introduce<T>(workers: &[Process<T>]) -> Result<(), Failure> {
    let names: Vec<String> = workers.iter().map(who).collect();
    output::line(format_args!("here are {}", names.join(", ")))
}

/// Waits until all have returned, and returns what they did, in their order.
///
/// # Errors
/// As soon as one was killed or could not finish: which, and why. The others are left running.
pub(crate) fn join_all<T>(workers: Vec<Process<Done<T>>>) -> Result<Vec<T>, Failure>
where
    T: DeserializeOwned,
{
    let mut running: Vec<_> = workers.into_iter().enumerate().collect();
    let mut results = Vec::new();
    let mut killed = Vec::new();
    let mut stopped = Vec::new();
    let mut deadline = None;
    while !running.is_empty() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        // A round over all of them, for whoever ends first is what the others may be waiting for.
        for (number, worker) in std::mem::take(&mut running) {
            match worker.wait_timeout(SLICE) {
                Err(WaitError::TimedOut { .. }) => {
                    running.push((number, worker));
                    continue;
                }
                ended => ended?,
            };
            let who = who(&worker);
            match worker.join() {
                Ok(Ok(result)) => results.push((number, result)),
                Ok(Err(Stopped(why))) => stopped.push(format!("{who} stopped: {why}")),
                Err(error) => killed.push(with_causes(&error)),
            }
        }
        if !(killed.is_empty() && stopped.is_empty()) {
            deadline.get_or_insert_with(|| Instant::now() + AFTERMATH);
        }
    }
    if deadline.is_some() {
        killed.append(&mut stopped);
        return Err(Failure::Wrong(killed.join("; ")));
    }
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Calls `wait` with a short timeout, again and again, until it says that what the workers bring about has
/// happened.
///
/// # Errors
/// When one of them was killed meanwhile, or it does not happen: which, and what.
pub(crate) fn until<T>(
    workers: &[Process<Done<T>>],
    what: &str,
    wait: impl Fn(Duration) -> bool,
) -> Result<(), Failure> {
    let begin = Instant::now();
    while !wait(SLICE) {
        nobody_was_killed(workers)?;
        if begin.elapsed() > PATIENCE {
            return Err(Failure::Wrong(format!("waited in vain for {what}")));
        }
    }
    Ok(())
}

/// # Errors
/// Which of the workers was killed, and by which signal.
pub(crate) fn nobody_was_killed<T>(workers: &[Process<Done<T>>]) -> Result<(), Failure> {
    for worker in workers {
        if let Some(status) = worker.exit_status().filter(|status| status.signal().is_some()) {
            return Err(Failure::Wrong(format!("{} was {status}", worker.label())));
        }
    }
    Ok(())
}

/// Its name and its pid.
pub(crate) fn who<T>(worker: &Process<T>) -> String {
    format!("{} (pid {})", worker.name(), worker.pid())
}

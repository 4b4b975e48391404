//! A process that takes part in a cluster, told what to do line by line, as the actor is.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it answers on standard output, and what fails fails a test"
)]

use procession::cluster::{Cluster, ClusterError, ClusterOptions, LockGuard, Permit, ReadGuard, WriteGuard};
use std::io::BufRead;
use std::time::Duration;

/// Something that is held.
enum Held {
    Lock(LockGuard),
    Read(ReadGuard),
    Write(WriteGuard),
    Permit(Permit),
}

impl Held {
    fn is_lost(&self) -> bool {
        match self {
            Self::Lock(guard) => guard.is_lost(),
            Self::Read(guard) => guard.is_lost(),
            Self::Write(guard) => guard.is_lost(),
            Self::Permit(permit) => permit.is_lost(),
        }
    }

    fn release(self) -> Result<(), ClusterError> {
        match self {
            Self::Lock(guard) => guard.release(),
            Self::Read(guard) => guard.release(),
            Self::Write(guard) => guard.release(),
            Self::Permit(permit) => permit.release(),
        }
    }
}

/// How many words there are.
fn count_words(text: String) -> usize {
    text.split(' ').count()
}

/// Dies, until so many workers have.
fn die(url: String, schema: String, times: i64) -> i64 {
    let deaths = ClusterOptions::new().schema(&schema).connect(&url).unwrap().counter("deaths");
    let dead = deaths.add(1).unwrap();
    if dead < times {
        std::process::abort();
    }
    dead
}

fn main() {
    procession::init();
    let (mut url, mut schema) = (String::new(), String::new());
    let mut options = ClusterOptions::new();
    let mut cluster: Option<Cluster> = None;
    let mut held: Vec<Held> = Vec::new();
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = match words[..] {
            ["lease", ms] => {
                options = options.lease(Duration::from_millis(ms.parse().unwrap()));
                Ok(String::new())
            }
            ["schema", name] => {
                name.clone_into(&mut schema);
                options = options.schema(name);
                Ok(String::new())
            }
            ["deadline", ms] => {
                options = options.deadline(Duration::from_millis(ms.parse().unwrap()));
                Ok(String::new())
            }
            ["connect", ..] => {
                line.strip_prefix("connect ").unwrap().clone_into(&mut url);
                options.connect(&url).map(|connected| {
                    cluster = Some(connected);
                    String::new()
                })
            }
            ["words", ..] => {
                let text = line.strip_prefix("words ").unwrap().to_owned();
                cluster
                    .as_ref()
                    .unwrap()
                    .pool("count")
                    .map(count_words, [text])
                    .map(|counts| counts[0].to_string())
            }
            ["kill-workers", times] => {
                let items = [(url.clone(), schema.clone(), times.parse().unwrap())];
                cluster.as_ref().unwrap().pool("count").map(die, items).map(|dead| dead[0].to_string())
            }
            ["close"] => cluster.as_ref().unwrap().pool("count").close().map(|()| String::new()),
            ["release"] => held.pop().unwrap().release().map(|()| String::new()),
            ["lost"] => Ok(held.last().unwrap().is_lost().to_string()),
            _ => take(cluster.as_ref().unwrap(), &words, &mut held),
        };
        match outcome {
            Ok(said) => println!("ok {said}"),
            Err(error) => println!("error {} {error}", case(&error)),
        }
    }
}

fn take(cluster: &Cluster, words: &[&str], held: &mut Vec<Held>) -> Result<String, ClusterError> {
    let (taken, token) = match *words {
        ["lock", name] => lock(cluster.lock(name).acquire()?),
        ["try-lock", name] => lock(cluster.lock(name).try_acquire()?),
        ["lock", name, ms] => {
            lock(cluster.lock(name).acquire_timeout(Duration::from_millis(ms.parse().unwrap()))?)
        }
        ["read", name] => {
            let guard = cluster.rwlock(name).read()?;
            let token = guard.token().to_string();
            (Held::Read(guard), token)
        }
        ["try-read", name] => (Held::Read(cluster.rwlock(name).try_read()?), String::new()),
        ["write", name] => {
            let guard = cluster.rwlock(name).write()?;
            let token = guard.token().to_string();
            (Held::Write(guard), token)
        }
        ["try-write", name] => (Held::Write(cluster.rwlock(name).try_write()?), String::new()),
        ["permit", name, of] => {
            (Held::Permit(cluster.semaphore(name, of.parse().unwrap()).acquire()?), String::new())
        }
        ["try-permit", name, of] => {
            (Held::Permit(cluster.semaphore(name, of.parse().unwrap()).try_acquire()?), String::new())
        }
        _ => panic!("no command: {words:?}"),
    };
    held.push(taken);
    Ok(token)
}

fn lock(guard: LockGuard) -> (Held, String) {
    let token = guard.token().to_string();
    (Held::Lock(guard), token)
}

fn case(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::WouldBlock { .. } => "WouldBlock",
        ClusterError::TimedOut { .. } => "TimedOut",
        ClusterError::Deadlock { .. } => "Deadlock",
        ClusterError::Unavailable { .. } => "Unavailable",
        ClusterError::Lost { .. } => "Lost",
        ClusterError::Mismatch { .. } => "Mismatch",
        ClusterError::Refused { .. } => "Refused",
        ClusterError::TooMany { .. } => "TooMany",
        ClusterError::InvalidName { .. } => "InvalidName",
        ClusterError::InvalidUrl { .. } => "InvalidUrl",
        _ => "another",
    }
}

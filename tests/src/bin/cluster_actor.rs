//! A process that takes part in a cluster, told what to do line by line, as the actor is.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it answers on standard output, and what fails fails a test"
)]

use procession::cluster::{AnyGuard, Cluster, ClusterError, ClusterOptions, Lease};
use std::io::BufRead;
use std::time::Duration;

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
    let mut held: Vec<AnyGuard> = Vec::new();
    let mut leases: Vec<Lease<u64>> = Vec::new();
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
            ["put" | "put-aside" | "get" | "done" | "lost-item", ..] => {
                work(cluster.as_ref().unwrap(), &words, &mut leases)
            }
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

fn take(cluster: &Cluster, words: &[&str], held: &mut Vec<AnyGuard>) -> Result<String, ClusterError> {
    let ms = |text: &str| Duration::from_millis(text.parse().unwrap());
    let permits = |text: &str| text.parse().unwrap();
    let taken: AnyGuard = match *words {
        ["lock", name] => cluster.lock(name).acquire()?.into(),
        ["try-lock", name] => cluster.lock(name).try_acquire()?.into(),
        ["lock", name, time] => cluster.lock(name).acquire_timeout(ms(time))?.into(),
        ["read", name] => cluster.rwlock(name).read()?.into(),
        ["try-read", name] => cluster.rwlock(name).try_read()?.into(),
        ["write", name] => cluster.rwlock(name).write()?.into(),
        ["try-write", name] => cluster.rwlock(name).try_write()?.into(),
        ["permit", name, of] => cluster.semaphore(name, permits(of)).acquire()?.into(),
        ["try-permit", name, of] => cluster.semaphore(name, permits(of)).try_acquire()?.into(),
        _ => panic!("no command: {words:?}"),
    };
    let token = taken.token().map(|token| token.to_string()).unwrap_or_default();
    held.push(taken);
    Ok(token)
}

fn work(cluster: &Cluster, words: &[&str], leases: &mut Vec<Lease<u64>>) -> Result<String, ClusterError> {
    let jobs = || cluster.joinable_queue::<u64>("jobs");
    match *words {
        ["put", item] => jobs().put(&item.parse().unwrap()).map(|()| String::new()),
        ["put-aside", item] => {
            let (jobs, item) = (jobs(), item.parse().unwrap());
            std::thread::spawn(move || jobs.put(&item));
            Ok(String::new())
        }
        ["get"] => {
            let lease = jobs().get()?;
            let said = format!("{} {}", *lease, lease.attempt());
            leases.push(lease);
            Ok(said)
        }
        ["lost-item"] => Ok(leases.last().unwrap().is_lost().to_string()),
        ["done"] => leases.pop().unwrap().task_done().map(|()| String::new()),
        _ => panic!("no command: {words:?}"),
    }
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

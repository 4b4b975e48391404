//! The workers of each `procession run`, and the jobs of each `map`, as `/proc` shows them: they say in their environment
//! whose they are. So they are seen also when what started them is stopped, and nobody is asked.

use crate::list::Seen;
use crate::people::{PARENT, START, TICKS, command_line, in_one_line};
use crate::steer::steered_by;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Other places in `/proc/PID/stat`, behind the name.
const STATE: usize = 0;
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
/// A process that is younger may not have executed its program yet, and so not have its environment.
const YOUNG: f64 = 2.0;

/// A worker, or a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Worker {
    /// `run`, or `map`.
    pub(crate) of: &'static str,
    /// The process that started it, and the name by which that is steered.
    pub(crate) run: u32,
    pub(crate) run_name: Option<String>,
    /// A worker's name by its Procfile.
    pub(crate) name: Option<String>,
    /// The rank of a worker; of a job, its number.
    pub(crate) rank: u64,
    pub(crate) pid: u32,
    /// As in `proc_pid_stat(5)`: `R`, `S`, `D`, `T`, `Z`.
    pub(crate) state: char,
    /// How often it was started again.
    pub(crate) restarts: u32,
    pub(crate) rss_bytes: u64,
    /// Of one core, since the look before; `None` at the first.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) command: String,
}

/// What its environment says, which does not change.
#[derive(Clone, Debug)]
struct Known {
    worker: Worker,
    /// How much of a core it had used, in ticks, and when.
    used: (u64, Instant),
}

/// What is known of processes, by pid and by when each began.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    known: BTreeMap<(u32, u64), Option<Known>>,
}

impl Runs {
    /// Those of this namespace, run by run.
    pub(crate) fn look(&mut self, namespace: &str, seen: &[Seen]) -> Vec<Worker> {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let mut before = std::mem::take(&mut self.known);
        let mut workers = Vec::new();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            let Some(stat) = Stat::of(pid) else { continue };
            let age = uptime - stat.start as f64 / TICKS;
            let key = (pid, stat.start);
            let mut known = match before.remove(&key) {
                Some(known) if known.is_some() || age > YOUNG => known,
                _ => {
                    let worker = said_by(pid, stat.parent, namespace);
                    worker.map(|worker| Known { worker, used: (stat.used, Instant::now()) })
                }
            };
            if let Some(known) = &mut known {
                known.renew(pid, &stat, age);
                workers.push(known.worker.clone());
            }
            self.known.insert(key, known);
        }
        for worker in &mut workers {
            worker.run_name = name_of(worker.run, seen);
        }
        workers.sort_by_key(|worker| (worker.run, worker.rank, worker.pid));
        workers
    }
}

impl Known {
    fn renew(&mut self, pid: u32, stat: &Stat, age: f64) {
        let (used, at) = self.used;
        let seconds = at.elapsed().as_secs_f64();
        let worker = &mut self.worker;
        if seconds > 0.01 {
            let ticks = stat.used.saturating_sub(used) as f64;
            worker.cpu_percent = Some(ticks / TICKS / seconds * 100.0);
            self.used = (stat.used, Instant::now());
        }
        (worker.state, worker.seconds) = (stat.state, age.max(0.0));
        worker.rss_bytes = rss(pid).unwrap_or(0);
        worker.command = in_one_line(&command_line(pid));
    }
}

impl Worker {
    pub(crate) fn since(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default()
    }
}

struct Stat {
    state: char,
    parent: u32,
    used: u64,
    start: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, and ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Self {
            state: fields.get(STATE)?.chars().next()?,
            parent: u32::try_from(number(PARENT)?).ok()?,
            used: number(USER_TIME)? + number(SYSTEM_TIME)?,
            start: number(START)?,
        })
    }
}

fn rss(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Which worker or job a process is, by its environment; `None` if it is none of this namespace, or another user's.
fn said_by(pid: u32, parent: u32, namespace: &str) -> Option<Worker> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let variables: Vec<&str> =
        bytes.split(|&byte| byte == 0).filter_map(|one| std::str::from_utf8(one).ok()).collect();
    let value = |name: &str| variables.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
    if value("PROCESSION_NAMESPACE").unwrap_or("default") != namespace {
        return None;
    }
    let run = value("PROCESSION_RUN")?;
    let (of, run) = run.strip_prefix("map-").map_or(("run", run), |run| ("map", run));
    // What a worker has started has its environment, and another parent.
    let run = run.parse().ok().filter(|&run: &u32| run == parent)?;
    let number = |name: &str| value(name).and_then(|number| number.parse::<u64>().ok());
    let (rank, restarts) = match of {
        "run" => (number("PROCESSION_RANK")?, number("PROCESSION_RESTARTS")),
        _ => {
            (number("PROCESSION_SEQ")?, number("PROCESSION_ATTEMPT").map(|attempt| attempt.saturating_sub(1)))
        }
    };
    let restarts = restarts.and_then(|restarts| u32::try_from(restarts).ok()).unwrap_or(0);
    let name = value("PS").filter(|_| of == "run").map(str::to_owned);
    Some(Worker { of, run, name, rank, pid, restarts, ..Worker::default() })
}

/// The name by which a run takes orders: that of a lock that it holds, where there is a queue for them.
fn name_of(run: u32, seen: &[Seen]) -> Option<String> {
    let is_held = |seen: &&Seen| seen.state.holders.iter().any(|held| held.holder.pid == run);
    let names = seen.iter().filter(is_held).map(|seen| &seen.entry.name);
    let takes_orders =
        |name: &&String| seen.iter().any(|other| steered_by(&other.entry.name) == Some(name.as_str()));
    names.clone().find(takes_orders).cloned()
}

#[cfg(test)]
mod tests {
    use super::Runs;

    #[test]
    fn a_process_that_is_no_worker_is_none() {
        // Whoever runs the tests may be one; nobody is in this namespace.
        let mut runs = Runs::default();
        assert_eq!(runs.look("a-namespace-of-nobody", &[]), []);
        assert!(runs.known.keys().any(|&(pid, _)| pid == std::process::id()));
    }
}

//! `procession doctor`: whether this machine, and this process on it, have what the library needs.

use crate::list::size;
use crate::people;
use crate::room::SHM;
use clap::builder::FalseyValueParser;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};
use procession::Namespace;
use procession::shm::{gc, register};
use procession_sys::pidfd;
use procession_sys::settings::{Resource, limits_of};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align, grouped, number_of};
use serde::Serialize;
use std::fs;

/// What the library is built for, and from where on nothing is done in a slower way.
const OLDEST_KERNEL: (u32, u32) = (4, 14);
const FULL_KERNEL: (u32, u32) = (5, 16);
/// A container has this much, unless it was asked for another size.
const LITTLE_MEMORY: u64 = 64 << 20;
const FEW_INODES: u64 = 1000;
const FEW_FILES: u64 = 256;
/// From which part of a limit on it is to be said, in hundredths.
const NEARLY_FULL: u64 = 95;

/// Say whether this machine has what is needed, and what to do where it has not.
///
/// It looks at the kernel, /dev/shm, /proc, limits and pid namespaces, and at what dead processes have left in the
/// namespace.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession doctor\n  procession doctor --json | jq '.[] | select(.level == \"bad\")'\n\n\
        Exit codes: 0 nothing is bad, though something may be noteworthy; 1 something is\nbad"
)]
pub(crate) struct DoctorArgs {
    /// Print one JSON array.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Good,
    /// It works, with a limit that may surprise.
    Note,
    /// Something cannot work.
    Bad,
}

/// What was found out about one thing.
#[derive(Debug, Serialize)]
struct Finding {
    v: u32,
    level: Level,
    what: &'static str,
    finding: String,
    /// What to do about it.
    remedy: Option<String>,
}

impl Finding {
    fn good(what: &'static str, finding: impl Into<String>) -> Self {
        Self { v: 1, level: Level::Good, what, finding: finding.into(), remedy: None }
    }

    fn note(what: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Note, remedy: Some(remedy.into()), ..Self::good(what, finding) }
    }

    fn bad(what: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Bad, remedy: Some(remedy.into()), ..Self::good(what, finding) }
    }
}

/// # Errors
/// [`Failure::Incomplete`] when something is bad.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    let findings: Vec<Finding> = [
        kernel(),
        pidfds(),
        shared_memory(),
        cgroup(),
        proc(),
        open_files(),
        file_size(),
        // Before this process registers, which would remove them.
        leftovers(&namespace),
        processes(&namespace),
    ]
    .into_iter()
    .flatten()
    .collect();
    if args.json {
        output::json(&findings)?;
    } else {
        let heading = [("LEVEL", Align::Left), ("WHAT", Align::Left), ("FINDING", Align::Left)];
        let row = |finding: &Finding| {
            let level = match finding.level {
                Level::Good => "ok",
                Level::Note => "note",
                Level::Bad => "BAD",
            };
            let remedy = finding.remedy.as_ref().map_or_else(String::new, |remedy| format!(": {remedy}"));
            vec![
                level.to_owned(),
                finding.what.to_owned(),
                output::printable(&format!("{}{remedy}", finding.finding)),
            ]
        };
        output::table(&heading, &findings.iter().map(row).collect::<Vec<_>>())?;
    }
    let is_bad = findings.iter().any(|finding| finding.level == Level::Bad);
    if is_bad { Err(Failure::Incomplete) } else { Ok(()) }
}

fn kernel() -> Option<Finding> {
    const WHAT: &str = "kernel";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    let found = format!("Linux {release}");
    Some(if version < OLDEST_KERNEL {
        Finding::bad(WHAT, found, "4.14 or later is needed, where a forked child finds pages wiped")
    } else if version < FULL_KERNEL {
        Finding::note(WHAT, found, "before 5.16, a wait for several objects looks at them again and again")
    } else {
        Finding::good(WHAT, found)
    })
}

fn pidfds() -> Option<Finding> {
    const WHAT: &str = "pidfd";
    Some(match pidfd::open(std::process::id()) {
        Ok(_) => Finding::good(WHAT, "processes can be watched by descriptor"),
        Err(error) => Finding::note(
            WHAT,
            format!("processes cannot be watched by descriptor ({error})"),
            "deaths are known after up to a tenth of a second; allow pidfd_open in the container's seccomp profile, or \
             use Linux 5.3 or later",
        ),
    })
}

fn shared_memory() -> Option<Finding> {
    const WHAT: &str = "/dev/shm";
    let (kind, numbers) = match (statfs(SHM), statvfs(SHM)) {
        (Ok(kind), Ok(numbers)) => (kind.filesystem_type(), numbers),
        (Err(error), _) | (_, Err(error)) => {
            let remedy = "mount a tmpfs: mount -t tmpfs -o mode=1777 tmpfs /dev/shm";
            return Some(Finding::bad(WHAT, format!("cannot be looked at ({error})"), remedy));
        }
    };
    let unit = numbers.fragment_size();
    let (all, free) = (numbers.blocks() * unit, numbers.blocks_available() * unit);
    let found = format!("{} free of {}", size(free), size(all));
    Some(if numbers.flags().contains(FsFlags::ST_RDONLY) {
        Finding::bad(WHAT, "is mounted read-only", "mount -o remount,rw /dev/shm")
    } else if access(SHM, AccessFlags::W_OK).is_err() {
        Finding::bad(WHAT, "nothing can be created in it by this user", "chmod 1777 /dev/shm")
    } else if kind != TMPFS_MAGIC {
        let FsType(number) = kind;
        Finding::note(
            WHAT,
            format!("is no tmpfs (type {number:#x}): {found}"),
            "locks of files may not work there",
        )
    } else if is_nearly_full(all - free, all) {
        Finding::note(WHAT, found, "procession gc --all; or mount -o remount,size=4g /dev/shm")
    } else if numbers.files() > 0 && numbers.files_available() < FEW_INODES {
        let left = grouped(numbers.files_available());
        Finding::note(WHAT, format!("room for {left} more files"), "mount -o remount,nr_inodes=1m /dev/shm")
    } else if all <= LITTLE_MEMORY {
        Finding::note(
            WHAT,
            found,
            "little for queues of large messages; containers: docker run --shm-size=1g",
        )
    } else {
        Finding::good(WHAT, found)
    })
}

/// Shared memory counts for the control group of whoever touches it first.
fn cgroup() -> Option<Finding> {
    const WHAT: &str = "memory limit";
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup{path}/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let (most, used) = (read("memory.max")?, read("memory.current")?);
    let found = format!("{} of {} used by the control group", size(used), size(most));
    Some(if is_nearly_full(used, most) {
        Finding::note(
            WHAT,
            found,
            "shared memory counts, too: raise memory.max, or remove what is not needed",
        )
    } else {
        Finding::good(WHAT, found)
    })
}

fn proc() -> Option<Finding> {
    const WHAT: &str = "/proc";
    if fs::metadata("/proc/self/stat").is_err() {
        let remedy = "mount -t proc proc /proc: without it no process is started";
        return Some(Finding::bad(WHAT, "is not mounted", remedy));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hides =
        |line: &str| line.contains(" - proc ") && (line.contains("hidepid=") && !line.contains("hidepid=0"));
    Some(if mounts.lines().any(hides) {
        Finding::note(
            WHAT,
            "hides the processes of other users",
            "their commands are not shown; mount it with hidepid=0",
        )
    } else {
        Finding::good(WHAT, "is mounted")
    })
}

fn open_files() -> Option<Finding> {
    const WHAT: &str = "open files";
    let (soft, hard) = limits_of(Resource::OpenFiles).ok()?;
    let found = format!("{} for each process", grouped(soft));
    Some(if soft < FEW_FILES {
        let remedy = format!("a pool takes some for each worker: ulimit -n {}", hard.min(4096));
        Finding::note(WHAT, found, remedy)
    } else {
        Finding::good(WHAT, found)
    })
}

fn file_size() -> Option<Finding> {
    let (soft, _) = limits_of(Resource::FileSize).ok()?;
    // Without a limit there is nothing to say.
    let is_limited = soft < i64::MAX.unsigned_abs();
    is_limited.then(|| {
        let found = format!("{} at most", size(soft));
        Finding::note("file size", found, "a queue, a map and a registry are files, too: ulimit -f unlimited")
    })
}

fn processes(namespace: &Namespace) -> Option<Finding> {
    const WHAT: &str = "processes";
    if !namespace.has_registry() {
        return None;
    }
    let registration = match register(namespace) {
        Ok(registration) => registration,
        Err(error) => return Some(Finding::bad(WHAT, error.to_string(), "see `procession gc --all`")),
    };
    let others = registration.participants().into_iter().filter(|process| process.pid != std::process::id());
    let (seen, unseen): (Vec<_>, Vec<_>) = others.partition(|process| people::uses(process.pid, namespace));
    Some(if unseen.is_empty() {
        let found = match seen.len() {
            1 => "1 other uses".to_owned(),
            count => format!("{count} others use"),
        };
        Finding::good(WHAT, format!("{found} namespace {}", namespace.name()))
    } else {
        Finding::note(
            WHAT,
            format!("{} are in another pid namespace, or another user's", unseen.len()),
            "their pids mean others here, and their deaths are known after up to a tenth of a second: docker run --pid",
        )
    })
}

fn leftovers(namespace: &Namespace) -> Option<Finding> {
    const WHAT: &str = "leftovers";
    let left = gc::collect(Some(namespace), gc::Options::default().dry_run(true)).ok()?;
    Some(if left.is_empty() {
        Finding::good(WHAT, "nothing of dead processes")
    } else {
        let bytes = left.iter().map(|entry| entry.bytes).sum();
        let found = format!("{} of dead processes, {}", number_of(left.len() as u64, "object"), size(bytes));
        Finding::note(WHAT, found, "procession gc")
    })
}

fn is_nearly_full(used: u64, all: u64) -> bool {
    used > all / 100 * NEARLY_FULL
}

#[cfg(test)]
mod tests {
    use super::is_nearly_full;

    #[test]
    fn what_is_nearly_full() {
        assert!(is_nearly_full(96, 100) && !is_nearly_full(95, 100) && !is_nearly_full(0, 0));
    }
}

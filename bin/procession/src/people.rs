//! Processes as people know them: their command line, their user, how old they are, who started them.
//!
//! All of it is read from `/proc`, and only to be shown: what cannot be read is left out.

use procession::Namespace;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How many ticks of `/proc/PID/stat` a second has, on every Linux that we build for.
pub(crate) const TICKS: f64 = 100.0;
/// How many characters of a command line are shown.
const SHOWN: usize = 60;
/// How many generations of ancestors are looked at.
const GENERATIONS: usize = 1000;
/// The places in `/proc/PID/stat`, behind the name, of the parent and of when the process began.
pub(crate) const PARENT: usize = 1;
pub(crate) const START: usize = 19;

fn file(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn stat(pid: u32, field: usize) -> Option<u64> {
    let stat = fs::read_to_string(file(pid, "stat")).ok()?;
    // The name may hold anything, and ends with the last parenthesis.
    stat.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

/// The words of its command line; none of a process that is gone, or that the kernel started.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(file(pid, "cmdline")).unwrap_or_default();
    let words = bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let mut words: Vec<String> = words.collect();
    // It ends with a zero.
    if words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    words
}

/// Words as one line that fits a message.
pub(crate) fn in_one_line(words: &[String]) -> String {
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// The name of the user it runs as, or that user's number.
pub(crate) fn user(pid: u32) -> Option<String> {
    Some(user_name(fs::metadata(file(pid, "")).ok()?.uid()))
}

/// The name that `/etc/passwd` gives a user, or the number. The C library would ask services in the network, too, and
/// cannot where this program has the library in it.
pub(crate) fn user_name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_it = |line: &&str| line.split(':').nth(2) == Some(&uid.to_string());
    let name = users.lines().find(is_it).and_then(|line| line.split(':').next());
    name.map_or_else(|| format!("uid {uid}"), str::to_owned)
}

/// How long ago it began.
pub(crate) fn age(pid: u32) -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let began = stat(pid, START)? as f64 / TICKS;
    Duration::try_from_secs_f64((uptime - began).max(0.0)).ok()
}

/// What it does, as one letter of `proc_pid_stat(5)`: `T` is stopped, `Z` a zombie.
#[cfg(feature = "top")]
pub(crate) fn run_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(file(pid, "stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// The process that a process with one thread has started and that is not ended.
pub(crate) fn child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(file(pid, &format!("task/{pid}/children"))).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Those who started this process: its parent, the parent's parent, and so on.
pub(crate) fn ancestors() -> Vec<u32> {
    let parent = |&pid: &u32| stat(pid, PARENT).and_then(|pid| u32::try_from(pid).ok());
    let line = std::iter::successors(parent(&std::process::id()), parent);
    line.take(GENERATIONS).take_while(|&pid| pid > 0).collect()
}

/// Whether the process has mapped the table of processes of this process's namespace, and so is one of those that the
/// table knows by that pid: in another pid namespace the pid may be another's.
pub(crate) fn uses(pid: u32, namespace: &Namespace) -> bool {
    let registry = namespace.file_name(".registry");
    let maps = fs::read_to_string(file(pid, "maps")).unwrap_or_default();
    maps.lines().any(|line| line.split_once('/').is_some_and(|(_, path)| path.contains(&registry)))
}

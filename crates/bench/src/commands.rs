//! Whole programs: the command `procession`, and those that people use for the same.
//!
//! Each round starts programs and waits for them, so what is measured is what a script meets: the start of a process,
//! its work, and its end.

use crate::case::Unit::{MessagesPerSecond, Millis, PercentOfACore};
use crate::case::{Case, Plan, Setup, Side, bounded, constant};
use crate::clock;
use crate::error::{BenchError, Context, Result};
use crate::lock::ProcessLock;
use crate::ours::Session;
use crate::ours::lock::Lock;
use crate::ours::objects::Field;
use crate::sample::Summary::{Max, Median};
use crate::sample::per_second;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::memfd::{MFdFlags, memfd_create};
use procession::Namespace;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::{NamedTempFile, TempDir};

pub(crate) static ALL: &[Case] = &[
    locked("flock", |_| flock(), 1.0),
    locked("GNU sem --fg", |_| sem(), 40.0),
    bounded("command/lock-hand-over-ms", Max, |plan| hand_over(plan), "bound of 5 ms", |_| Ok(constant(5.0))),
    mapped("xargs -P2 -n1", |_| each(1, theirs("xargs", &["-P2", "-n1", "true"])?, &numbers(1000)), 0.9),
    mapped("GNU parallel", |_| each(1, theirs("parallel", &["-j2", "true"])?, &numbers(1000)), 4.0),
    Case {
        unit: MessagesPerSecond,
        ..bounded("command/queue-put-1e5", Median, |plan| put(plan), "bound of 1 M/s", |_| Ok(constant(1e6)))
    },
    bounded("command/ls-1000", Median, |_| list(), "bound of 50 ms", |_| Ok(constant(50.0))),
    Case {
        unit: PercentOfACore,
        ..bounded("command/top-1000", Median, |plan| top(plan), "bound of 2 %", |_| Ok(constant(2.0)))
    },
];

/// A program that does nothing, under a lock that is there, as the file is for `flock`.
const fn locked(rival_name: &'static str, rival: Setup, at_least: f64) -> Case {
    let ours: Setup = |plan| {
        let lock = Lock::create(plan.session, "lock-true")?;
        let command = procession(plan.session, &["lock", &lock.address(), "--", "true"])?;
        Ok(keeping(lock, each(TIMES_LOCKED, command, "")?))
    };
    Case { name: "command/lock-true", unit: Millis, summary: Median, ours, rival_name, rival, at_least }
}

/// A thousand programs that do nothing.
const fn mapped(rival_name: &'static str, rival: Setup, at_least: f64) -> Case {
    let ours: Setup =
        |plan| each(1, procession(plan.session, &["map", "-j2", "--", "true"])?, &numbers(1000));
    Case { name: "command/map-1000-true", unit: Millis, summary: Median, ours, rival_name, rival, at_least }
}

/// How often a program that takes a millisecond or two is run in a round.
const TIMES_LOCKED: usize = 20;

/// The command, as `make build` leaves it, in the namespace of the session.
fn procession(session: &Session, arguments: &[&str]) -> Result<Command> {
    procession_in(session.namespace(), arguments)
}

fn procession_in(namespace: &Namespace, arguments: &[&str]) -> Result<Command> {
    let mut path = std::env::current_exe().context("this program's own file")?;
    path.set_file_name("procession");
    if !path.exists() {
        return Err(BenchError::Unavailable(format!("{} is not built: make build", path.display())));
    }
    let mut command = Command::new(path);
    command.args(arguments).env("PROCESSION_NAMESPACE", namespace.name());
    Ok(command)
}

/// A program of others, if it is installed.
fn theirs(program: &str, arguments: &[&str]) -> Result<Command> {
    match Command::new(program).arg("--version").stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(BenchError::Unavailable(format!("{program} is not installed")))
        }
        Err(error) => Err(BenchError::Failed(format!("{program}: {error}"))),
        Ok(_) => {
            let mut command = Command::new(program);
            command.args(arguments);
            Ok(command)
        }
    }
}

/// So many lines, a number on each.
fn numbers(count: u32) -> String {
    (0..count).map(|number| format!("{number}\n")).collect()
}

/// A program that is run so many times in a round, with `input` on its stdin; how long each takes, ms.
fn each<'a>(times: usize, command: Command, input: &str) -> Result<Side<'a>> {
    let mut run = Run::new(command, input)?;
    // Programs are read from the disk.
    run.once()?;
    Ok(Box::new(move || (0..times).map(|_| Ok(millis(run.once()?))).collect()))
}

/// The side, with something that is to be there as long as it is, and that goes after it.
fn keeping<'a>(kept: impl Sized + 'a, side: Side<'a>) -> Side<'a> {
    let mut both = (side, kept);
    Box::new(move || {
        // All of it is taken into the closure, and dropped in this order.
        let both = &mut both;
        (both.0)()
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A program that is run again and again, and that must succeed.
struct Run {
    command: Command,
    /// In memory, so that nobody has to write while the program runs.
    input: File,
}

impl Run {
    fn new(command: Command, input: &str) -> Result<Self> {
        let mut file = File::from(memfd_create(c"input", MFdFlags::MFD_CLOEXEC).context("memfd_create")?);
        file.write_all(input.as_bytes()).context("what a program reads")?;
        Ok(Run { command, input: file })
    }

    fn once(&mut self) -> Result<Duration> {
        self.input.rewind().context("what a program reads")?;
        let stdin = self.input.try_clone().context("what a program reads")?;
        self.command.stdin(stdin);
        let begun = Instant::now();
        let output = self.command.output().context(self.command.get_program().display())?;
        let took = begun.elapsed();
        if output.status.success() {
            return Ok(took);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(BenchError::Failed(format!("{:?}: {} {said}", self.command, output.status)))
    }
}

/// How long `flock` takes, with a file that is there, ms.
fn flock<'a>() -> Result<Side<'a>> {
    let file = NamedTempFile::new().context("a file to lock")?;
    let path = file.path().to_string_lossy().into_owned();
    Ok(keeping(file, each(TIMES_LOCKED, theirs("flock", &[&path, "true"])?, "")?))
}

/// How long `sem` of GNU parallel takes, ms.
fn sem<'a>() -> Result<Side<'a>> {
    let home = TempDir::new().context("a directory for the semaphores of GNU parallel")?;
    let mut command = theirs("sem", &["--fg", "--id", "bench", "true"])?;
    command.env("HOME", home.path()).env("PARALLEL_HOME", home.path());
    // Perl's: some 100 ms each.
    Ok(keeping(home, each(2, command, "")?))
}

/// From the kill of a wrapper that has a lock to the first byte that the next one's command writes, ms.
fn hand_over<'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    const HANDED_OVER: usize = 10;
    let lock = Lock::create(plan.session, "hand-over")?;
    let once = move || {
        let name = lock.address();
        let start = |command: &[&str]| {
            let arguments = [&["lock", &name, "--on-owner-died", "ignore", "--"], command].concat();
            let started = procession(plan.session, &arguments)?.stdout(Stdio::piped()).spawn();
            started.map(Ended).context("a wrapper that locks")
        };
        let mut holder = start(&["sh", "-c", "echo; exec sleep 60"])?;
        holder.said()?;
        let mut next = start(&["echo"])?;
        // The other's wait is seen once it has lasted for some milliseconds.
        while procession::blocked_in(plan.session.namespace()).context("who waits")?.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let begun = Instant::now();
        holder.0.kill().context("killing a wrapper")?;
        next.said()?;
        Ok(millis(begun.elapsed()))
    };
    Ok(Box::new(move || (0..HANDED_OVER).map(|_| once()).collect()))
}

/// A child that is killed if it has not ended by itself.
struct Ended(Child);

impl Ended {
    /// Waits for one byte of its stdout.
    fn said(&mut self) -> Result<()> {
        let Some(stdout) = &mut self.0.stdout else {
            return Err(BenchError::Failed("a program without a pipe".to_owned()));
        };
        stdout.read_exact(&mut [0]).context("what a program says")
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to kill.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Items that are put from stdin into a queue with leases, a second; it is emptied in between.
fn put<'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    const ITEMS: u32 = 100_000;
    let name = plan.session.fresh_name("put");
    let run = |arguments: &[&str], input: &str| Run::new(procession(plan.session, arguments)?, input);
    run(&["queue", "create", &name, "--max-bytes", "32M"], "")?.once()?;
    let mut fill = run(&["queue", "put", &name], &numbers(ITEMS))?;
    let mut empty = run(&["queue", "drain", &name], "")?;
    let left = Left { plan, name };
    let round = move || {
        let took = fill.once()?;
        empty.once()?;
        Ok(vec![per_second(took, ITEMS.into())])
    };
    Ok(keeping(left, Box::new(round)))
}

/// An object that a command has made, and that is to go when the row is measured.
struct Left<'a> {
    plan: &'a Plan<'a>,
    name: String,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        // What is left is found at the end of the session, which says so.
        drop(procession(self.plan.session, &["rm", &self.name]).map(|mut rm| rm.output()));
    }
}

/// How long `ls` takes where there are a thousand objects, ms.
fn list<'a>() -> Result<Side<'a>> {
    let field = Field::sown(OBJECTS)?;
    let side = each(1, procession_in(&field.namespace, &["ls"])?, "")?;
    Ok(keeping(field, side))
}

const OBJECTS: u64 = 1000;

/// What `top` costs on a terminal where there are a thousand objects, per cent of a core.
fn top<'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    let field = Field::sown(OBJECTS)?;
    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).context("a pseudo-terminal")?;
    let mut command = procession_in(&field.namespace, &["top"])?;
    let stdio = || slave.try_clone().context("a pseudo-terminal");
    command.env("TERM", "xterm").stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
    let top = Ended(command.spawn().context("top")?);
    // Somebody has to read what it draws. The thread ends when nobody has the terminal open any more.
    let mut screen = File::from(master);
    std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()));
    std::thread::sleep(SETTLED);
    let watched = plan.round_time * 20;
    let round = move || {
        let (before, begun) = (clock::cpu_time(top.0.id())?, Instant::now());
        std::thread::sleep(watched);
        let used = clock::cpu_time(top.0.id())?.saturating_sub(before);
        Ok(vec![100.0 * used.as_secs_f64() / begun.elapsed().as_secs_f64()])
    };
    Ok(keeping((field, slave), Box::new(round)))
}

/// How long `top` has run when it is looked at: it knows all files by then.
const SETTLED: Duration = Duration::from_secs(3);

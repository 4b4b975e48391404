//! Another process, told what to do line by line.

use crate::until;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procession::Namespace;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

/// What each live actor was told last, for the watchdog.
static TOLD: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());

/// A child process that runs `src/bin/actor`. Dropping it kills it.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    /// The actor itself, which is not `child` where `unshare` started it.
    pid: u32,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// A program of this package.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    // The test program lies in target/<profile>/deps, the programs one directory up.
    let this = std::env::current_exe().unwrap();
    this.parent().and_then(|deps| deps.parent()).unwrap().join(name)
}

/// The signal that ended a process.
///
/// # Panics
/// When it ended otherwise.
#[must_use]
pub fn signal_of(status: ExitStatus) -> i32 {
    status.signal().unwrap_or_else(|| panic!("it was not killed: {status:?}"))
}

impl Actor {
    /// Starts one in `namespace`. It registers with its first command that needs it.
    #[must_use]
    pub fn start(namespace: &Namespace) -> Self {
        Self::start_as(Command::new(program("actor")), namespace)
    }

    /// Starts one by a command that ends up running the actor.
    #[must_use]
    pub fn start_as(mut command: Command, namespace: &Namespace) -> Self {
        command.env("PROCESSION_NAMESPACE", namespace.name());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let pid = child.id();
        let mut actor = Self { child, pid, input, output };
        assert_eq!(actor.answer(), "ready");
        actor
    }

    /// Starts one in a pid namespace of its own.
    #[must_use]
    pub fn start_in_pid_namespace(namespace: &Namespace) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(program("actor"));
        let mut actor = Self::start_as(command, namespace);
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", actor.pid)).unwrap();
        actor.pid = children.trim().parse().unwrap();
        actor
    }

    /// Its pid, in the pid namespace of the test.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a command, and does not wait for the answer.
    pub fn tell(&mut self, command: &str) {
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(self.pid, command.to_owned());
        let mut input = self.input.as_ref().unwrap();
        // An actor that is dead is found out by its missing answer.
        drop(input.write_all(format!("{command}\n").as_bytes()));
    }

    /// Waits for the answer to the command before.
    #[must_use]
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("actor {} ended instead of answering: {:?}", self.pid, self.child.wait());
        }
        line.trim_end().to_owned()
    }

    /// Sends a command and waits for its answer.
    #[must_use]
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// Sends a command that must succeed; what the answer says besides.
    pub fn does(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        answer.strip_prefix("ok").unwrap_or_else(|| panic!("{command}: {answer}")).trim().to_owned()
    }

    /// The answer to the command before must be success; what it says besides.
    pub fn did(&mut self) -> String {
        let answer = self.answer();
        answer.strip_prefix("ok").unwrap_or_else(|| panic!("{answer}")).trim().to_owned()
    }

    /// Sends a command that must fail; `expected` begins the answer. All of the answer.
    pub fn fails(&mut self, command: &str, expected: &str) -> String {
        self.tell(command);
        self.failed(expected)
    }

    /// The answer to the command before must be a failure that begins with `expected`.
    pub fn failed(&mut self, expected: &str) -> String {
        let answer = self.answer();
        let failure = answer.strip_prefix("error ").unwrap_or_else(|| panic!("not {expected}: {answer}"));
        assert!(failure.starts_with(expected), "not {expected}: {failure}");
        failure.to_owned()
    }

    /// Whether an answer has arrived.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        let descriptor = PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN);
        !self.output.buffer().is_empty() || poll(&mut [descriptor], PollTimeout::ZERO).unwrap() > 0
    }

    /// Returns once it sleeps on a futex: it waits for another process.
    pub fn falls_asleep(&self) {
        let calls = [libc::SYS_futex, libc::SYS_futex_waitv];
        until("an actor sleeps on a futex", || calls.iter().any(|&call| self.is_in_call(call)));
    }

    /// Returns once it sleeps on a futex, or is dead: armed to die when its sleep ends, it may be quick.
    pub fn falls_asleep_or_dies(&self) {
        until("an actor sleeps on a futex", || {
            self.is_in_call(libc::SYS_futex) || matches!(self.state(), Some('Z') | None)
        });
    }

    /// Returns once it sleeps for a time, between two attempts at something.
    pub fn pauses(&self) {
        until("an actor pauses", || self.is_in_call(libc::SYS_clock_nanosleep));
    }

    fn is_in_call(&self, number: libc::c_long) -> bool {
        let call = fs::read_to_string(format!("/proc/{}/syscall", self.pid)).unwrap_or_default();
        call.split(' ').next() == Some(&number.to_string())
    }

    /// Returns once so many of its threads sleep on a futex.
    pub fn falls_asleep_in_threads(&self, count: usize) {
        let asleep = || {
            let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return false };
            let call = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("syscall"));
            let calls = threads.flatten().flat_map(call);
            let number = libc::SYS_futex.to_string();
            calls.filter(|call| call.split(' ').next() == Some(&number)).count() >= count
        };
        until("the threads of an actor sleep on a futex", asleep);
    }

    /// Whether it has the thread that looks out for the deaths of those for whom it waits.
    #[must_use]
    pub fn has_watcher(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return false };
        let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).ok();
        threads.flatten().filter_map(name).any(|name| name.trim_end() == "procession-dead")
    }

    /// Sends a command that makes it wait for another process, and returns once it does.
    pub fn waits(&mut self, command: &str) {
        self.tell(command);
        self.falls_asleep();
        assert!(!self.has_answered(), "{command} was answered: {}", self.answer());
    }

    /// Stops it (SIGSTOP), and returns once it stands still.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        self.is_stopped();
    }

    /// Returns once it has been stopped, by whomever.
    pub fn is_stopped(&self) {
        until("an actor is stopped", || self.state() == Some('T'));
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it (SIGKILL), and returns when it is gone.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        let _: ExitStatus = self.wait();
    }

    /// Kills it, and returns without waiting for its end.
    pub fn begin_to_die(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Waits for it to have been killed by SIGKILL, by itself at a crash point.
    ///
    /// # Panics
    /// When it answers or ends otherwise: then it never passed the crash point.
    pub fn dies(mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.is_empty(), "it did not die, but said: {line}");
        let status = self.wait();
        assert_eq!(signal_of(status), libc::SIGKILL);
    }

    /// The answer to the command before; `None` when it was killed by SIGKILL instead.
    #[must_use]
    pub fn answers_or_dies(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        if line.is_empty() {
            assert_eq!(signal_of(self.wait()), libc::SIGKILL);
            return None;
        }
        Some(line.trim_end().to_owned())
    }

    /// Arms it (see `procession_sys::crash`), sends the command at which it must die, and waits for that.
    pub fn dies_at(mut self, label: &str, command: &str) {
        self.does(&format!("arm {label} 1 kill"));
        self.tell(command);
        self.dies();
    }

    /// Arms it, sends the command at which it must stop, and waits for that.
    pub fn stops_at(&mut self, label: &str, command: &str) {
        self.does(&format!("arm {label} 1 stop"));
        self.tell(command);
        self.is_stopped();
    }

    /// Lets it return from `main`, and waits for its end.
    pub fn finish(mut self) {
        drop(self.input.take());
        let status = self.wait();
        assert!(status.success(), "{status:?}");
    }

    /// Tells it to call `exit`, with everything that it has in hand, and waits for its end.
    pub fn exits(mut self) {
        self.tell("exit 0");
        let status = self.wait();
        assert!(status.success(), "{status:?}");
    }

    /// Waits for its end; the descriptors to it stay open in `self` for children that it left behind.
    pub fn wait(&mut self) -> ExitStatus {
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid);
        self.child.wait().unwrap()
    }

    /// Its state as `/proc` shows it; `None` when it is gone.
    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        stat.rsplit(')').next()?.trim_start().chars().next()
    }

    fn signal(&self, signal: Signal) {
        // It may have ended: whoever cares finds out by waiting.
        let _: nix::Result<()> = kill(Pid::from_raw(self.pid.cast_signed()), signal);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGKILL);
            let _: ExitStatus = self.wait();
        }
    }
}

/// Every live actor: its pid, its state, the system call it is in, and what it was told last.
pub(crate) fn describe_all() -> String {
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let describe = |(pid, command): (&u32, &String)| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state: String = stat.rsplit(')').next().unwrap_or_default().chars().take(2).collect();
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        format!("  {pid}{state}, told {command:?}, in {}", call.trim_end())
    };
    told.iter().map(describe).collect::<Vec<_>>().join("\n")
}

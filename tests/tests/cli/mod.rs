//! Runs the command as its users do, and never for ever.

use procession::Namespace;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WATCHDOG;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The command, with nothing of ours in its environment.
pub(crate) fn procession<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procession-tested"));
    command.env_remove("PROCESSION_NAMESPACE").args(arguments).stdin(Stdio::null());
    command
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Whether it is said on either stream that the process of this pid was killed by SIGKILL.
    pub(crate) fn names_as_killed(&self, pid: u32) -> bool {
        let label = format!(" (pid {pid}, ");
        [&self.stdout, &self.stderr].into_iter().flat_map(|text| text.split(&label).skip(1)).any(|rest| {
            let end = rest.split_once(')').map_or("", |(_function, end)| end.lines().next().unwrap_or(""));
            // Or as a supervisor says it, which knows when.
            end.starts_with(" was killed by SIGKILL")
                || end.starts_with(" ended after ") && end.ends_with(": killed by SIGKILL")
        })
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Runs the command to its end.
pub(crate) fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Said {
    Running::start(&mut procession(arguments)).end()
}

/// A command that runs; killed if the test forgets it.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    stdout: String,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self::of(child)
    }

    /// With a pipe to type into.
    pub(crate) fn start_with_stdin(command: &mut Command) -> (Self, ChildStdin) {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        (Self::of(child), stdin)
    }

    fn of(mut child: Child) -> Self {
        let mut stderr = child.stderr.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let stderr = thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self { child, lines, stdout: String::new(), stderr: Some(stderr) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on stdout that begins so.
    pub(crate) fn line(&mut self, beginning: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(WATCHDOG);
            let line = line.unwrap_or_else(|_| panic!("no {beginning:?} after {:?}", self.stdout));
            self.stdout += &format!("{line}\n");
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        send(self.pid(), signal);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn end(mut self) -> Said {
        let status = until("the command to end", || self.child.try_wait().unwrap());
        while let Ok(line) = self.lines.recv_timeout(WATCHDOG) {
            self.stdout += &format!("{line}\n");
        }
        let stderr = self.stderr.take().unwrap().join().unwrap();
        Said { status, stdout: std::mem::take(&mut self.stdout), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn send(pid: u32, signal: nix::sys::signal::Signal) {
    // It may have ended.
    let _: nix::Result<()> = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal);
}

/// The fields of `/proc/<pid>/stat` from the state on, unless the process is gone or a zombie.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<String> = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
    (!matches!(fields.first()?.as_str(), "Z" | "X")).then_some(fields)
}

/// Whether the process runs.
pub(crate) fn runs(pid: u32) -> bool {
    stat(pid).is_some()
}

/// The processes that `parent` started and that run.
pub(crate) fn children_of(parent: u32) -> BTreeSet<u32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat(pid).is_some_and(|fields| fields[1] == parent.to_string())).collect()
}

/// The private namespace that one of these processes made.
pub(crate) fn namespace_of(pids: &BTreeSet<u32>) -> Option<Namespace> {
    let made = |entry: &procession::shm::Entry| {
        let header = entry.header.as_ref().ok();
        entry.namespace.is_private() && header.is_some_and(|header| pids.contains(&header.creator))
    };
    procession::shm::list_all().unwrap().into_iter().find(made).map(|entry| entry.namespace)
}

/// Waits until nothing of the namespace is left.
pub(crate) fn is_empty(namespace: &Namespace) -> bool {
    namespace.list().unwrap().is_empty()
}

/// A namespace for one test, which leaves nothing.
pub(crate) struct Place(pub(crate) Namespace);

impl Place {
    pub(crate) fn new(test: &str) -> Self {
        Self(Namespace::new(&format!("tests-cli-{test}-{}", std::process::id())).unwrap())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Running::start(&mut self.command(arguments)).end()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        procession([&["-N", self.0.name()], arguments].concat())
    }

    /// A script of `bash` in which `$P` is the command, and this the namespace.
    pub(crate) fn script(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).env("P", env!("CARGO_BIN_EXE_procession-tested"));
        command.env("PROCESSION_NAMESPACE", self.0.name()).stdin(Stdio::null());
        command
    }

    pub(crate) fn shell(&self, script: &str) -> Said {
        Running::start(&mut self.script(script)).end()
    }

    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let said = self.run(&["ls", "--json"]);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
        serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap().as_array().unwrap().clone()
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        std::path::PathBuf::from("/dev/shm").join(self.0.file_name(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for entry in self.0.list().unwrap() {
            // The last process of the namespace may be leaving just now.
            drop(fs::remove_file(self.file(&entry.name)));
        }
    }
}

//! The children of this process: started, not yet seen to have ended.
//!
//! A [`Process`](crate::Process) is a handle; dropping it neither ends nor awaits the child. The table keeps
//! every child until its status was taken, so that it is no zombie for longer than until the next look, and
//! so that the exit of this process knows whom to wait for.

use crate::current::myself;
use crate::error::{KernelError, ProcessError, SpawnError};
use crate::label::ProcessLabel;
use crate::report::{Report, Stage};
use crate::status::ExitStatus;
use crate::stdio::PipeEnds;
use crate::trace;
use procession_shm::Carried;
use procession_sys::errno::{ECHILD, EINVAL, ESRCH};
use procession_sys::pidfd::{self, EndFd, EndWait, Who};
use procession_sys::signals::SIGKILL;
use procession_sys::{PerProcess, fork, interrupt};
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a wait sleeps before it looks again at what the kernel does not announce.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const RAREST_LOOK: Duration = Duration::from_millis(100);

/// How long a process that was killed may take to be gone, which a large one needs.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(10);

/// A child process, shared by its handle and the table.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) label: ProcessLabel,
    pub(crate) daemon: bool,
    pub(crate) detached: bool,
    pub(crate) end: EndFd,
    pub(crate) report: Report,
    /// Set once, by whoever reaps the child.
    status: OnceLock<ExitStatus>,
    /// Held while the status is being taken: the kernel gives it once.
    reaping: Mutex<()>,
    /// The handles named in the arguments, until the child has its own.
    carried: Mutex<Option<Carried>>,
    /// Our ends of its standard streams, until they are taken.
    pub(crate) pipes: Mutex<PipeEnds>,
    /// The process whose child it is: to a fork of that one it is a sibling.
    parent: u64,
}

/// A lock whose holder cannot leave the data half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The properties of a child that are decided before it is started.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// The path of the function that it is to run.
    pub(crate) function: &'static str,
    pub(crate) daemon: bool,
    pub(crate) detached: bool,
    pub(crate) report: Report,
    pub(crate) carried: Carried,
    pub(crate) pipes: PipeEnds,
}

/// A process that was started a moment ago: its pid, and a pidfd of it if one came with it.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) pid: u32,
    pub(crate) pidfd: Option<OwnedFd>,
}

impl Child {
    /// The process that was started a moment ago. On an error it is killed.
    pub(crate) fn new(born: Born, plan: Plan) -> Result<Self, KernelError> {
        let Plan { name, function, daemon, detached, report, carried, pipes } = plan;
        let pid = born.pid;
        let label = ProcessLabel::new(&name, pid, function);
        let end = born.pidfd.map_or_else(|| EndFd::of_child(pid), EndFd::inherited);
        let end = end.map_err(|error| {
            pidfd::discard(pid);
            KernelError::new("pidfd_open", &label, error)
        })?;
        let carried = Mutex::new((!carried.is_empty()).then_some(carried));
        let (status, reaping, parent) = (OnceLock::new(), Mutex::new(()), fork::cookie());
        Ok(Self {
            label,
            daemon,
            detached,
            end,
            report,
            status,
            reaping,
            carried,
            pipes: Mutex::new(pipes),
            parent,
        })
    }

    /// The status, if it was taken already.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status.get().copied()
    }

    /// The locks inside may be held for ever in a forked child, to which the child is none of its own anyway.
    fn must_be_ours(&self, operation: &'static str) -> Result<(), KernelError> {
        if self.parent == fork::cookie() { Ok(()) } else { Err(KernelError::forked(operation, &self.label)) }
    }

    /// The status if the child has ended; a forked child of its parent learns that it has, but never how.
    pub(crate) fn look(&self) -> Option<ExitStatus> {
        if self.must_be_ours("poll").is_ok() {
            return self.wait(Some(Duration::ZERO)).unwrap_or_default();
        }
        let has_ended = || self.end.wait(Some(Duration::ZERO)).is_ok_and(|waited| waited == EndWait::Ended);
        self.status().or_else(|| has_ended().then_some(ExitStatus::LOST))
    }

    /// Waits until the child has ended; `None` after `timeout`.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<Option<ExitStatus>, KernelError> {
        self.must_be_ours("waiting")?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut look = FIRST_LOOK;
        loop {
            if let Some(status) = self.status() {
                return Ok(Some(status));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = left.map_or(look, |left| left.min(look));
            let patience = if self.release_carried() { interrupt::slice_of(left) } else { Some(slice) };
            let waited = self.end.wait(patience).map_err(|error| self.error("poll", error))?;
            if waited != EndWait::TimedOut {
                if let Some(status) = self.reap()? {
                    return Ok(Some(status));
                }
                // Dead, but a debugger is first in line for its status; or it runs, and its descriptor was
                // closed.
                std::thread::sleep(slice);
            }
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            if interrupt::is_wanted() {
                return Err(self.error("waiting", ErrorKind::Interrupted.into()));
            }
            look = RAREST_LOOK.min(look * 2);
        }
    }

    /// Closes our ends of its standard streams that nobody has taken. In a copy of this process somebody may hold the
    /// lock for ever.
    pub(crate) fn close_pipes(&self) {
        drop(self.pipes.try_lock().map(|mut pipes| std::mem::take(&mut *pipes)));
    }

    /// Waits until the child has ended, whoever gets its status.
    pub(crate) fn await_end(&self) {
        let _deferred = interrupt::defer();
        // It may read to the end of its input, or write more than a pipe holds, and nobody is left to do the rest.
        self.close_pipes();
        // A debugger may keep the zombie; without the descriptor only the status tells that it has ended.
        if !matches!(self.end.wait(None), Ok(EndWait::Ended)) || self.reap().is_err() {
            drop(self.wait(None));
        }
    }

    /// Takes the status of a child that has ended; `None` while it cannot be had yet.
    fn reap(&self) -> Result<Option<ExitStatus>, KernelError> {
        let reaping = lock(&self.reaping);
        if let Some(status) = self.status() {
            return Ok(Some(status));
        }
        let who = self.end.pidfd().map_or(Who::Pid(self.label.pid()), Who::Fd);
        let status = match pidfd::reap(who) {
            // Linux 5.3 has pidfds, and no wait by them.
            Err(error) if error.raw_os_error() == Some(EINVAL) => pidfd::reap(Who::Pid(self.label.pid())),
            outcome => outcome,
        };
        let status = match status {
            Ok(None) => return Ok(None),
            Ok(Some(ended)) => ExitStatus::known(ended),
            Err(error) if error.raw_os_error() == Some(ECHILD) => ExitStatus::LOST,
            Err(error) => return Err(self.error("waitid", error)),
        };
        let status = *self.status.get_or_init(|| status);
        drop(reaping);
        // What the table has of it are descriptors, too.
        table().running.retain(|child| !std::ptr::eq(Arc::as_ptr(child), self));
        trace::ended(&self.label, status);
        self.release_carried();
        Ok(Some(status))
    }

    /// What the child, called `process` in errors, returned, or why it did not; it has ended with this status.
    pub(crate) fn outcome<R: DeserializeOwned>(
        &self,
        process: &ProcessLabel,
        status: ExitStatus,
    ) -> Result<R, ProcessError> {
        self.report.read(process).unwrap_or_else(|| Err(self.ended_without_report(process.clone(), status)))
    }

    fn ended_without_report(&self, process: ProcessLabel, status: ExitStatus) -> ProcessError {
        if self.report.stage() == Stage::New && status.code().is_some() {
            return ProcessError::NeverStarted { process, status };
        }
        match (status.code(), status.signal()) {
            (Some(code), _) => ProcessError::Exited { process, code },
            (_, Some(signal)) => ProcessError::Killed { process, signal },
            _ => ProcessError::StatusLost { process },
        }
    }

    /// Lets go of the handles in the arguments once the child has its own, or none needs them any more;
    /// whether nothing is held.
    fn release_carried(&self) -> bool {
        let mut carried = lock(&self.carried);
        if carried.is_none() {
            return true;
        }
        if self.status().is_none() && self.report.stage() < Stage::Decoded {
            return false;
        }
        // The handles' own code runs after the lock is open.
        let released = carried.take();
        drop(carried);
        drop(released);
        true
    }

    /// Sends a signal; to a child that has ended it does nothing.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), KernelError> {
        self.must_be_ours("sending a signal")?;
        if self.status().is_some() {
            return Ok(());
        }
        let sent = match self.end.pidfd() {
            Some(pidfd) => pidfd::send_signal(pidfd, signal),
            None => {
                // As long as nobody takes its status, its pid is its own.
                let _reaping = lock(&self.reaping);
                if self.status().is_some() { Ok(()) } else { pidfd::signal_child(self.label.pid(), signal) }
            }
        };
        match sent {
            Err(error) if error.raw_os_error() != Some(ESRCH) => Err(self.error("sending a signal", error)),
            _ => Ok(()),
        }
    }

    fn error(&self, operation: &'static str, source: io::Error) -> KernelError {
        KernelError::new(operation, &self.label, source)
    }
}

#[derive(Debug, Default)]
struct Table {
    /// How many children were ever started: the last number in the next default name.
    started: u32,
    /// How many children are being started now, and not yet in `running`.
    starting: u32,
    /// Whether this process is exiting.
    closed: bool,
    running: Vec<Arc<Child>>,
}

/// The children of one process, and the news that one was started. A forked child has none, and does not wait
/// for the threads of its parent that were in the middle of something here.
#[derive(Debug, Default)]
struct Family {
    table: Mutex<Table>,
    started: Condvar,
}

static FAMILY: PerProcess<Family> = PerProcess::new(Family::default);

fn table() -> MutexGuard<'static, Table> {
    lock(&FAMILY.get().table)
}

/// The next number in a default name, with the numbers of the ancestors before it.
pub(crate) fn next_lineage() -> Vec<u32> {
    let mut table = table();
    table.started += 1;
    [myself().lineage.as_slice(), &[table.started]].concat()
}

/// Adds a child that was just started.
///
/// # Errors
/// [`SpawnError::Exiting`] if this process began to exit meanwhile: the child is killed.
pub(crate) fn adopt(child: Child) -> Result<Arc<Child>, SpawnError> {
    let child = Arc::new(child);
    let mut table = table();
    if !table.closed {
        table.running.push(child.clone());
        return Ok(child);
    }
    drop(table);
    child.signal(SIGKILL)?;
    let _deferred = interrupt::defer();
    child.wait(None)?;
    Err(SpawnError::Exiting)
}

/// The right to start a child; while it lives, [`await_starts`] waits.
#[derive(Debug)]
pub(crate) struct Starting(&'static Family);

/// Announces that a child is about to be started.
///
/// # Errors
/// [`SpawnError::Exiting`].
pub(crate) fn starting() -> Result<Starting, SpawnError> {
    let family = FAMILY.get();
    let mut table = lock(&family.table);
    if table.closed {
        return Err(SpawnError::Exiting);
    }
    table.starting += 1;
    Ok(Starting(family))
}

impl Drop for Starting {
    fn drop(&mut self) {
        // A fork made meanwhile has a family of its own.
        if std::ptr::eq(self.0, FAMILY.get()) {
            lock(&self.0.table).starting -= 1;
            self.0.started.notify_all();
        }
    }
}

/// Waits until every child that was being started is either in the table or dead; at most so long, for the
/// kernel may hold a start up for ever (a program on a dead network file system).
pub(crate) fn await_starts(at_most: Duration) {
    let family = FAMILY.get();
    let is_underway = |table: &mut Table| table.starting > 0;
    drop(family.started.wait_timeout_while(lock(&family.table), at_most, is_underway));
}

/// Closes the table, so that no child is added any more; returns those that still run.
pub(crate) fn close() -> Vec<Arc<Child>> {
    table().closed = true;
    running()
}

/// Takes the status of every child that has ended, and returns those that have not.
pub(crate) fn running() -> Vec<Arc<Child>> {
    let children = {
        let mut table = table();
        table.running.retain(|child| child.status().is_none());
        table.running.clone()
    };
    if children.is_empty() {
        return children;
    }
    for child in &children {
        // Of a child that cannot be asked about now, it is asked the next time.
        drop(child.reap());
        child.release_carried();
    }
    let mut table = table();
    table.running.retain(|child| child.status().is_none());
    table.running.clone()
}

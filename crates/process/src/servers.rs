//! The forkservers of this process.

use crate::children::{self, Child, LAST_WAIT};
use crate::context::Preload;
use crate::requests::{self, BORN, SPARE};
use crate::starter::Starter;
use procession_sys::pidfd::{self, Who};
use procession_sys::signals::SIGKILL;
use procession_sys::{Deadline, KeptFd, PerProcess, clock, fd_socket, forking, interrupt};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many forkservers there are at most: what a process takes over from the one that starts it is a server's
/// for good, so each new directory, limit or user of this process takes a new one. The one that was not used
/// for longest goes, once nobody asks it for a process.
const MOST: usize = 4;

/// The name of a server, and of its copies until they have their own.
pub(crate) const NAME: &str = "forkserver";

/// How long the spares of a server that has ended may take to say that they are there.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a copy may take to be gone of which nobody knows whether it was killed.
const BURIAL: Duration = Duration::from_millis(50);

/// What a forkserver is for: processes that take over the same from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    /// What the processes take over from thread and process.
    pub(crate) inheritance: String,
    pub(crate) preload: Option<Preload>,
    /// The namespace in which the preload function runs.
    pub(crate) namespace: Option<String>,
}

/// A forkserver of this process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) purpose: Purpose,
    /// The server itself.
    pub(crate) child: Child,
    /// Whose child it is, and so are its copies.
    pub(crate) starter: Arc<Starter>,
    /// The environment that it was given.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The connection to it.
    pub(crate) socket: KeptFd,
    /// Who holds the lock has the only request that is under way. Inside: whether the server has said that it
    /// is ready.
    pub(crate) turn: Mutex<bool>,
    /// The pids of its spares, as far as it has told.
    pub(crate) spares: Mutex<Vec<u32>>,
}

/// The last one was used last. A forked child of this process has none of them: it could not wait for the
/// processes that they start.
static SERVERS: PerProcess<Mutex<Vec<Arc<Server>>>> = PerProcess::new(Mutex::default);

fn servers() -> MutexGuard<'static, Vec<Arc<Server>>> {
    SERVERS.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server for this purpose; `start` starts one where there is none. Two threads that ask at once get one.
///
/// # Errors
/// Those of `start`.
pub(crate) fn find<E>(
    purpose: &Purpose,
    start: impl FnOnce() -> Result<Server, E>,
) -> Result<Arc<Server>, E> {
    let mut servers = servers();
    let known = servers.iter().position(|server| server.purpose == *purpose);
    let server = match known {
        Some(index) => servers.remove(index),
        None => Arc::new(start()?),
    };
    servers.push(Arc::clone(&server));
    let mut idle = Vec::new();
    while servers.len() > MOST
        && let Some(oldest) = servers.iter().position(is_at_rest)
    {
        idle.push(servers.remove(oldest));
    }
    drop(servers);
    idle.iter().for_each(|server| server.end(Duration::ZERO));
    Ok(server)
}

/// Whether nobody is about to ask the server for a process. The caller holds the list, from which everybody has it.
fn is_at_rest(server: &Arc<Server>) -> bool {
    Arc::strong_count(server) == 1
}

/// Forgets a server that is of no use any more.
pub(crate) fn forget(server: &Arc<Server>) {
    servers().retain(|known| !Arc::ptr_eq(known, server));
}

/// Takes the status of servers that have ended, and those of their spares: perhaps no process is asked for any more. One
/// that is asked at this moment is the business of whoever asks.
pub(crate) fn bury_ended() {
    let has_ended = |server: &mut Arc<Server>| is_at_rest(server) && server.child.look().is_some();
    let ended: Vec<_> = servers().extract_if(.., has_ended).collect();
    ended.iter().for_each(|server| server.end_spares());
}

/// Takes the status of a copy that has died with its server, before it could say its pid: it would stay a zombie
/// until this process ends. It is a child of the starter's thread, called as the server is, and nobody knows it.
pub(crate) fn bury_copies(starter: &Starter) {
    let Some(thread) = starter.thread_id() else { return };
    let mut known = Vec::new();
    for server in servers().iter() {
        known.push(server.child.label.pid());
        known.extend(server.spares().iter());
    }
    let is_lost = |pid: &u32| !known.contains(pid) && !is_a_process(*pid);
    let lost = forking::children_of_thread(thread).into_iter().filter(is_lost);
    // One that lives is the copy of another server, and will have a name of its own in a moment.
    lost.filter(|&pid| forking::is_called(pid, NAME))
        .for_each(|pid| bury(pid, BURIAL, || forking::is_called(pid, NAME)));
}

/// Takes the status of a child that ends in a moment, at most after `patience`, while it `may_end`.
fn bury(pid: u32, patience: Duration, may_end: impl Fn() -> bool) {
    let deadline = Deadline::after(patience);
    while matches!(pidfd::reap(Who::Pid(pid)), Ok(None)) && may_end() && !deadline.has_passed() {
        clock::nap(BURIAL / 50);
    }
}

/// Ends a spare, if it has not ended, and takes its status.
fn end_spare(pid: u32) {
    if !is_a_process(pid) {
        drop(pidfd::signal_child(pid, SIGKILL));
        bury(pid, LAST_WAIT, || true);
    }
}

/// Whether that is a process which somebody has started: the program may have taken the status of a spare, and its number
/// has come again.
fn is_a_process(pid: u32) -> bool {
    children::running().iter().any(|child| child.label.pid() == pid)
}

/// Ends all of them; those that have not ended after `grace` are killed.
pub(crate) fn end_all(grace: Duration) {
    let all = std::mem::take(&mut *servers());
    all.iter().for_each(|server| server.hang_up());
    all.iter().for_each(|server| server.end(grace));
}

impl Server {
    /// Lets the server end, which it does once it has done what it was asked for.
    fn hang_up(&self) {
        if let Some(socket) = self.socket.get() {
            fd_socket::hang_up(socket);
        }
    }

    /// Ends it and its spares, and takes their status.
    pub(crate) fn end(&self, grace: Duration) {
        self.stop(grace);
        self.end_spares();
    }

    /// Ends it, and takes its status.
    pub(crate) fn stop(&self, grace: Duration) {
        let _deferred = interrupt::defer();
        self.hang_up();
        if !matches!(self.child.wait(Some(grace)), Ok(Some(_))) {
            drop(self.child.signal(SIGKILL));
            drop(self.child.wait(Some(LAST_WAIT)));
        }
    }

    /// Ends the spares of a server that has ended, and takes their status: they end by themselves, unless they are stopped.
    /// The caller has looked whether one of them has become the process that it asked for.
    pub(crate) fn end_spares(&self) {
        let _deferred = interrupt::defer();
        // What it has said last may be unread, and a spare that it has made last may be about to say its pid: it lets go
        // of the connection then.
        let deadline = Deadline::after(LAST_WORDS);
        while let Some(socket) = self.socket.get()
            && matches!(pidfd::wait(socket, deadline.remaining()), Ok(true))
            && let Some((word, number, _)) = requests::hear(socket)
        {
            match word {
                SPARE => self.note_spare(number),
                BORN => self.forget_spare(number),
                _ => {}
            }
        }
        std::mem::take(&mut *self.spares()).into_iter().for_each(end_spare);
    }

    fn spares(&self) -> MutexGuard<'_, Vec<u32>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server has made a spare.
    pub(crate) fn note_spare(&self, pid: u32) {
        self.spares().push(pid);
    }

    /// That is no spare any more: it is a process, or nothing.
    pub(crate) fn forget_spare(&self, pid: u32) {
        self.spares().retain(|&known| known != pid);
    }

    /// A spare has ended, of no use to anybody.
    pub(crate) fn bury_spare(&self, pid: u32) {
        self.forget_spare(pid);
        end_spare(pid);
    }
}

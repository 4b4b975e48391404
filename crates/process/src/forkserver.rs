//! This process's side of its forkservers: how one is started, and how it is asked for a process.
//!
//! What a kill at each step leaves behind is in the header of [`server`](crate::server), which is the other
//! side.

use crate::children::{Born, Child, LAST_WAIT};
use crate::context::Preload;
use crate::current::myself;
use crate::entry::EntryRef;
use crate::error::{KernelError, ProcessError, SpawnError};
use crate::launch::{Launch, Papers, Way, environment};
use crate::method::StartMethod;
use crate::requests::{self, BORN, FAILED, Heard, LOST, READY, SPARE};
use crate::server::{Order, serve};
use crate::servers::{self, NAME, Purpose, Server};
use crate::settings::Settings;
use crate::starter::starter;
use crate::status::ExitStatus;
use crate::stdio::{Stdio, Streams};
use crate::surroundings::{Given, Surroundings};
use crate::task::TaskEntry;
use procession_channel::codec;
use procession_shm::{Carried, Namespace};
use procession_sys::fd_socket;
use procession_sys::inheritance::inheritance_of_process;
use procession_sys::signals::SIGKILL;
use procession_sys::{KeptFd, interrupt, pidfd};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many servers are tried for one process: one that was killed is followed by another.
const TRIES: usize = 3;

/// How often a server that has not answered yet is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Starts the process as a copy of a forkserver.
///
/// # Errors
/// `Forkserver`, those of [`Launch::papers`], and what the kernel says.
pub(crate) fn start(
    launch: Launch,
    preload: Option<Preload>,
    wanted: String,
    has_own_namespace: bool,
) -> Result<Child, SpawnError> {
    launch.check()?;
    let namespace = preload.and_then(|_| Namespace::current().ok()).map(|one| one.name().to_owned());
    if has_own_namespace && preload.is_some() {
        return Err(SpawnError::Method {
            method: StartMethod::Forkserver,
            reason: "PROCESSION_NAMESPACE is set for the process, and the preload function runs in this process's namespace; \
                     leave one of them out, or use spawn",
        });
    }
    let inheritance = wanted.clone() + &inheritance_of_process();
    let purpose = Purpose { inheritance, preload, namespace };
    let _deferred = interrupt::defer();
    let mut tries = TRIES;
    loop {
        let server = servers::find(&purpose, || begin(&purpose, &wanted))?;
        tries -= 1;
        match ask(&server, &launch)? {
            Answer::Born(born, papers) => return launch.born(born, papers),
            Answer::Ended(_) if tries > 0 => {}
            Answer::Ended(error) => return Err(SpawnError::Forkserver { source: Box::new(error) }),
        }
    }
}

/// What became of a request.
enum Answer {
    Born(Born, Papers),
    /// The server has ended, and there is no process.
    Ended(ProcessError),
}

/// Starts a server.
fn begin(purpose: &Purpose, wanted: &str) -> Result<Server, SpawnError> {
    let kernel = |operation| move |error| SpawnError::from(KernelError::before_start(operation, NAME, error));
    let starter = starter(wanted).map_err(kernel("pidfd_open"))?;
    if starter.thread_id().is_none() {
        return Err(SpawnError::Method {
            method: StartMethod::Forkserver,
            reason: "the children of this thread go to another pid namespace, or it can have no further threads; use spawn",
        });
    }
    let (ours, theirs) = fd_socket::pair().map_err(kernel("socketpair"))?;
    let order: Order = purpose.preload.map(|preload| preload.entry()).transpose()?;
    let function = purpose.preload.map_or("procession::init", |preload| preload.function);
    let mut arguments = Vec::new();
    codec::encode(&order, &mut arguments).map_err(|source| SpawnError::Encode { function, source })?;
    let streams = Streams { stdin: Some(Stdio::null()), stdout: None, stderr: None };
    let (streams, pipes) = streams.open().map_err(kernel("opening the standard streams"))?;
    let environment = environment(&[], false);
    let launch = Launch {
        function,
        entry: EntryRef::new::<TaskEntry, (), ()>(serve as TaskEntry)?,
        arguments,
        is_server: true,
        name: NAME.to_owned(),
        lineage: myself().lineage.clone(),
        daemon: true,
        detached: false,
        namespace: purpose.namespace.clone(),
        environment: environment.clone(),
        directory: None,
        process_group: None,
        settings: Settings::default(),
        streams,
        pipes,
        inherit: vec![Arc::new(theirs)],
        carried: Carried::default(),
        places: Vec::new(),
    };
    let child = launch.execute(&starter)?;
    let socket = KeptFd::keep(ours).map_err(kernel("socketpair"))?;
    let purpose = purpose.clone();
    let (turn, spares) = (Mutex::new(false), Mutex::default());
    Ok(Server { purpose, child, starter, environment, socket, turn, spares })
}

/// Asks the server for a process.
///
/// # Errors
/// Those of [`Launch::papers`]; what the kernel said, here or to the server; `Forkserver`, if it never came up.
fn ask(server: &Arc<Server>, launch: &Launch) -> Result<Answer, SpawnError> {
    let (mut streams, files) = launch.streams.given().map_err(|error| launch.kernel("dup", error))?;
    // As those of the server are.
    streams.iter_mut().filter(|given| **given == Given::Null).for_each(|given| *given = Given::Kept);
    let is_other = server.environment != launch.environment;
    let environment = is_other.then(|| launch.environment.clone());
    let surroundings =
        Surroundings::new(streams, environment, launch.directory.clone(), launch.process_group);
    let way = Way { dies_with_thread: true, stdout: None, surroundings: Some((surroundings, files)) };
    let papers = launch.papers(&server.starter, &way)?;
    let fds = launch.descriptors(&papers, &server.starter, &way)?;
    let mut turn = server.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let sent = server
        .socket
        .get()
        .ok_or(io::ErrorKind::NotFound.into())
        .and_then(|socket| requests::ask(socket, &fds));
    drop(fds);
    if let Err(error) = sent
        && !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotFound)
    {
        return Err(launch.kernel("sendmsg", error).into());
    }
    loop {
        let Some((word, number, fds)) = hear(server, *turn) else { break };
        match word {
            READY => *turn = true,
            SPARE => server.note_spare(number),
            LOST => server.bury_spare(number),
            BORN => {
                server.forget_spare(number);
                // Without a number for the pidfd there is a process all the same.
                let pidfd = fds.unwrap_or_default().into_iter().next();
                return Ok(Answer::Born(Born { pid: number, pidfd }, papers));
            }
            FAILED => {
                let error = io::Error::from_raw_os_error(number.cast_signed());
                return Err(launch.kernel("clone", error).into());
            }
            _ => break,
        }
    }
    let was_ready = *turn;
    drop(turn);
    // Whoever had a copy of the other end has let go of it, or is stopped: if there is a process, it has said so.
    servers::forget(server);
    server.stop(LAST_WAIT);
    // A copy that was stopped before that is not to begin when it goes on: another one will.
    let pid = papers.report.withdraw();
    pid.inspect(|&pid| server.forget_spare(pid));
    server.end_spares();
    if let Some(pid) = pid {
        return Ok(Answer::Born(Born { pid, pidfd: None }, papers));
    }
    servers::bury_copies(&server.starter);
    let error = why_it_ended(server);
    if was_ready || matches!(error, ProcessError::Killed { .. }) {
        Ok(Answer::Ended(error))
    } else {
        Err(SpawnError::Forkserver { source: Box::new(error) })
    }
}

/// What the server says next; `None` at the end of the connection, and of one that does not answer although it
/// was ready: that one is killed.
fn hear(server: &Server, is_ready: bool) -> Option<Heard> {
    let mut patience = LAST_WAIT;
    loop {
        let socket = server.socket.get()?;
        let is_there = pidfd::wait(socket, Some(LOOK)).unwrap_or(true);
        if is_there {
            return requests::hear(socket);
        }
        // Somebody else may have a copy of its end, and then there is no end of the connection.
        if server.child.look().is_some() {
            patience = patience.min(LOOK * 10);
        }
        // A preload function takes what it takes.
        if is_ready || server.child.status().is_some() {
            patience = patience.saturating_sub(LOOK);
        }
        if patience.is_zero() {
            drop(server.child.signal(SIGKILL));
            return None;
        }
    }
}

/// How the server ended.
fn why_it_ended(server: &Server) -> ProcessError {
    let status = server.child.status().unwrap_or(ExitStatus::LOST);
    let process = server.child.label.clone();
    server.child.outcome::<()>(&process, status).err().unwrap_or(ProcessError::Exited { process, code: 0 })
}

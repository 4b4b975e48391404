//! The forkserver's side: a copy of this program that waits to be copied.
//!
//! It is started as every child is, and `serve` is the function that it runs. It has one thread, reads one
//! request after the other from its socket, and copies itself for each, or did so beforehand ([`spare`](crate::spare)):
//! the copy is a child of the server's parent. What is said on the socket is in [`requests`].
//!
//! | the server does | killed here | the copy |
//! |---|---|---|
//! | it runs the preload function, and says that it is ready | the parent reads the end of the connection, and why in the report | |
//! | it takes a request | the report of the process that was asked for names no pid: the parent asks another server | |
//! | it copies itself | the copy writes its pid into its report, and only then lets go of the socket: once the parent reads the end of the connection, it knows whether there is a copy | dies here: as a killed child; with the server: it was never there, and the parent asks another server. Stopped here, and the server killed: the parent has sealed its report, and it ends when it goes on |
//! | it sends the pid and the pidfd | the parent has them | goes on |
//!
//! The parent dies: the kernel kills the server, and each copy, as children of the thread of the parent that
//! starts processes; a server that has changed its user reads the end of the connection.
//! A copy dies: that is between it and the parent; the server knows nothing of its copies.

use crate::child::{WATCHER_STACK_BYTES, close_files_of_copied, run_copy, take_inherited};
use crate::context::{PreloadEntry, PreloadFailure};
use crate::entry::{EntryRef, SameBuild};
use crate::error::in_full;
use crate::own_threads;
use crate::phase::Phase;
use crate::report::{Outcome, Report};
use crate::requests::{self, BORN, FAILED, LOST, READY, SPARE};
use crate::servers::NAME;
use crate::spare::Spares;
use crate::surroundings::note_signals;
use crate::task::Task;
use procession_channel::codec;
use procession_sys::forking::{self, Forked, close_in_copy, flush_c_streams, fork_sibling, ignore_signals};
use procession_sys::image::Image;
use procession_sys::signals::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU};
use procession_sys::start::{self, Stream};
use procession_sys::{crash_point, fork, pidfd, rehearse_lean, set_thread_name};
use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What a terminal, or whoever ends a job, sends to a whole process group. The server ends with its parent, who
/// decides what such a signal means.
const IGNORED: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU];
/// How long the thread that looks out for deaths may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a forkserver is told: the function that it runs first.
pub(crate) type Order = Option<EntryRef<PreloadEntry>>;

/// The function that a forkserver runs.
pub(crate) fn serve(task: Task) -> Outcome {
    let order = match codec::decode::<Order>(task.arguments()) {
        Ok(order) => order,
        Err(error) => return Outcome::Arguments(in_full(&error)),
    };
    drop(task);
    let Some(socket) = take_inherited(0) else {
        return Outcome::Refused("it was given no socket".to_owned());
    };
    if let Err(outcome) = preload(order) {
        return outcome;
    }
    // What every copy would have to find out.
    drop(Image::current().identity());
    if let Err(reason) = get_ready() {
        return Outcome::Refused(reason);
    }
    crash_point("forkserver.preloaded");
    if requests::say(&socket, READY, 0, &[]).is_ok() {
        crash_point("forkserver.ready");
        answer(socket);
    }
    Outcome::Returned(Vec::new())
}

fn preload(order: Order) -> Result<(), Outcome> {
    let Some(entry) = order else { return Ok(()) };
    let same_build = SameBuild::as_compared()
        .ok_or_else(|| Outcome::Refused("it does not know whose build it is".to_owned()))?;
    let hash = entry.hash;
    match entry.find(same_build).map_err(Outcome::Refused)?(hash) {
        Ok(()) => Ok(()),
        Err(PreloadFailure::Failed(error)) => Err(Outcome::Failed(error)),
        Err(PreloadFailure::OtherTypes) => {
            Err(Outcome::Refused("the function there has other types".to_owned()))
        }
    }
}

/// Makes this process fit to be copied.
fn get_ready() -> Result<(), String> {
    // What it frees as it ends, a copy by a raw `clone` may find half-freed.
    procession_sync::dismiss_watcher(PATIENCE);
    let at_rest = own_threads::at_rest().unwrap_or_default();
    let others =
        forking::other_threads().map_err(|error| format!("its threads are not to be seen: {error}"))?;
    let is_other = |thread: &u32| !at_rest.contains(thread);
    let names: Vec<String> = others.into_iter().filter(is_other).filter_map(forking::thread_name).collect();
    if !names.is_empty() {
        return Err(format!(
            "it has other threads ({}), of which a copy may find things half-done: the preload function may leave no \
             thread behind, and what runs before procession::init() may not either",
            names.join(", ")
        ));
    }
    // Each copy will have a watcher, and without it every copy would pay for its first thread.
    drop(rehearse_lean(WATCHER_STACK_BYTES));
    // A copy would write once more what is held back, and the server is to keep nobody's pipe open.
    drop(io::stdout().flush());
    flush_c_streams();
    for number in 0..=2 {
        start::set_stream(number, Some(Stream::Null)).map_err(|error| format!("/dev/null: {error}"))?;
    }
    if procession_shm::is_registered() {
        // What the copies have of its objects is not to be swept away when it ends.
        fork::note_copy();
    }
    ignore_signals(&IGNORED);
    note_signals();
    // A copy is called as the thread is that copies itself, and this may be none of a test harness's.
    if let Ok(name) = CString::new(NAME) {
        set_thread_name(&name);
    }
    start::die_with_the_starter();
    Phase::Bootstrapping.begin();
    Ok(())
}

/// Answers requests until the parent hangs up, or is gone.
fn answer(socket: OwnedFd) {
    let report = Report::own();
    let mut spares = Spares::default();
    while let Some(request) = requests::next(&socket) {
        let answered = match request {
            // There were no numbers for what came with it.
            Err(error) => fail(&socket, &error),
            Ok(files) => {
                crash_point("forkserver.asked");
                let lost = |pid| drop(requests::say(&socket, LOST, pid, &[]));
                match spares.hand_over(&files, socket.as_fd(), lost) {
                    Some((pid, pidfd)) => {
                        crash_point("forkserver.handed");
                        requests::say(&socket, BORN, pid, &[pidfd.as_fd()])
                    }
                    None => copy(&socket, files, &spares, report),
                }
            }
        };
        crash_point("forkserver.answered");
        if answered.is_err() {
            break;
        }
        let is_waited_for = || pidfd::wait(&socket, Some(Duration::ZERO)).unwrap_or(true);
        let introduce = || {
            drop(requests::say(&socket, SPARE, std::process::id(), &[]));
            let_go(&socket, report);
        };
        while !is_waited_for() && spares.add(introduce) {}
    }
    spares.end();
}

/// Copies this process for a request, and says what came of it.
fn copy(
    socket: &OwnedFd,
    files: Vec<OwnedFd>,
    spares: &Spares,
    report: Option<&'static Report>,
) -> io::Result<()> {
    match fork_sibling() {
        Ok(Forked::Child) => {
            spares.close_in_copy();
            run_copy(files, || let_go(socket, report))
        }
        Ok(Forked::Parent(pid, pidfd)) => {
            crash_point("forkserver.copied");
            let fds: Vec<_> = pidfd.iter().map(AsFd::as_fd).collect();
            requests::say(socket, BORN, pid, &fds)
        }
        Err(error) => fail(socket, &error),
    }
}

/// Closes what a copy has of this server's connection to its parent, and of its files.
fn let_go(socket: &OwnedFd, report: Option<&'static Report>) {
    close_in_copy(socket);
    close_files_of_copied(report);
}

fn fail(socket: &OwnedFd, error: &io::Error) -> io::Result<()> {
    requests::say(socket, FAILED, error.raw_os_error().unwrap_or_default().unsigned_abs(), &[])
}

//! The life of a child: from `init()` to its exit.
//!
//! # If a process dies
//! The child at any moment: its report is not complete, and the parent sees its exit status instead. The
//! parent: the kernel kills the child, and so does its watcher, unless it is detached. The thread that asked
//! for the child: nothing.

use crate::current::{Identity, ParentProcess, become_child, myself};
use crate::entry::{rebuild, type_hash};
use crate::error::in_full;
use crate::exit;
use crate::function::Function;
use crate::method::set_start_method;
use crate::own_threads;
use crate::panic;
use crate::phase::{Phase, become_child_thread};
use crate::remote::Failure;
use crate::report::{Outcome, Report, Stage};
use crate::task::{Task, TaskHeader};
use procession_channel::codec;
use procession_shm::Namespace;
use procession_sys::forking::close_in_copy;
use procession_sys::pidfd::{EndFd, EndWait};
use procession_sys::{Latest, crash_point, exit_now, interrupt, set_thread_name, start, start_lean};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::vec::IntoIter;

/// The watcher only sleeps in one system call.
pub(crate) const WATCHER_STACK_BYTES: usize = 64 << 10;

/// How often the watcher looks for itself when it has no descriptor.
const RAREST_LOOK: Duration = Duration::from_millis(100);

static INHERITED: Latest<Mutex<Vec<Option<OwnedFd>>>> = Latest::none();

/// Lives the child's life in a copy of a process of this program, which may have been a child itself, and exits.
/// `let_go` is called once the parent can know of this process: it gives up what the copy has and is not to
/// have.
pub(crate) fn run_copy(inherited: Vec<OwnedFd>, let_go: impl FnOnce()) -> ! {
    prepare_copy();
    begin(inherited, let_go)
}

/// Does what a copy does before it has its task.
pub(crate) fn prepare_copy() {
    become_child_thread();
    Phase::Bootstrapping.begin();
    interrupt::forget_hooks();
    exit::register();
}

/// Closes what a copy of a child, which has a report of its own by now, has of that child's `report` and of the
/// parent's end.
pub(crate) fn close_files_of_copied(report: Option<&'static Report>) {
    if let Some(report) = report
        && let Ok(file) = report.file()
    {
        close_in_copy(file);
    }
    if let Some(end) = myself().parent.as_ref().and_then(|parent| parent.end.get()) {
        close_in_copy(end);
    }
}

/// Lives the child's life and exits.
pub(crate) fn run(inherited: Vec<OwnedFd>) -> ! {
    begin(inherited, || ())
}

/// Lives the life of a child, prepared if it is a copy, and exits. `let_go` as for [`run_copy`].
pub(crate) fn begin(inherited: Vec<OwnedFd>, let_go: impl FnOnce()) -> ! {
    let mut inherited = inherited.into_iter();
    let (Some(task), Some(report)) = (inherited.next(), inherited.next()) else {
        // Only a file that is no task of ours leads here: there is nobody to report to.
        std::process::exit(1)
    };
    let Ok(report) = Report::from_file(File::from(report)) else { std::process::exit(1) };
    let report = report.begin();
    crash_point("process.born");
    if !report.mark(Stage::Started) && report.is_withdrawn() {
        exit_now(0);
    }
    crash_point("process.told");
    let_go();
    panic::watch();
    let outcome = match catch_unwind(AssertUnwindSafe(|| perform(File::from(task), inherited))) {
        Ok(outcome) => outcome,
        Err(payload) => Outcome::Panicked(panic::describe(payload)),
    };
    let code = i32::from(!matches!(outcome, Outcome::Returned(_)));
    Phase::Ready.begin();
    // When even the reason cannot be stored, the parent sees the exit code.
    let committed = report.commit(outcome);
    std::process::exit(if committed.is_ok() { code } else { 1 })
}

fn perform(file: File, inherited: IntoIter<OwnedFd>) -> Outcome {
    let task = Task::read(&file);
    drop(file);
    let task = match task {
        Ok(task) => task,
        Err(error) => return Outcome::Refused(in_full(&error)),
    };
    if let Err(error) = settle_in(&task.header, inherited) {
        return Outcome::Refused(format!("it could not be set up: {}", in_full(&error)));
    }
    match task.function() {
        Ok(function) => function(task),
        Err(reason) => Outcome::Refused(reason),
    }
}

fn settle_in(header: &TaskHeader, mut inherited: IntoIter<OwnedFd>) -> io::Result<()> {
    if header.dies_with_thread {
        start::die_with_the_starter();
    }
    set_start_method(header.start_method);
    let end = if header.parent_fd {
        EndFd::inherited(inherited.next().ok_or(io::ErrorKind::InvalidData)?)?
    } else {
        EndFd::to_be_announced()?
    };
    if header.restore_stdout {
        start::restore_stdout(inherited.next().ok_or(io::ErrorKind::InvalidData)?)?;
    }
    let places: Vec<OwnedFd> = inherited.by_ref().take(header.places.len()).collect();
    if let Some(surroundings) = &header.surroundings {
        surroundings.apply(&mut inherited)?;
    }
    INHERITED.set(Mutex::new(inherited.map(Some).collect()));
    let myself = become_child(Identity {
        name: header.name.clone(),
        lineage: header.lineage.clone(),
        daemon: header.daemon,
        parent: Some(ParentProcess { pid: header.parent_pid, name: header.parent_name.clone(), end }),
    });
    start::set_title(&myself.name);
    procession_shm::set_process_name(&myself.name);
    if let Some(namespace) = header.namespace.as_deref().and_then(|name| Namespace::new(name).ok()) {
        // Nothing before this has used one.
        let _: bool = namespace.enter();
    }
    for ((namespace, owner), lifeline) in header.places.iter().zip(places) {
        procession_shm::take_over(namespace, *owner, lifeline).map_err(io::Error::other)?;
    }
    // Before there is another thread, which would stay as it is.
    header.settings.apply(header.dies_with_thread)?;
    match &myself.parent {
        // It has one thread, and looks at its parent itself.
        _ if header.is_server => Ok(()),
        Some(parent) if !header.detached || !header.parent_fd => {
            watch(parent, header.starter, header.detached)
        }
        _ => Ok(()),
    }
}

/// What the watcher is to do.
#[derive(Debug)]
struct Watch {
    parent: &'static ParentProcess,
    /// The parent's thread whose end counts as the parent's.
    starter: Option<u32>,
    detached: bool,
}

static WATCH: Latest<Watch> = Latest::none();

/// Has this process killed when the parent has ended, or executed another program. The kernel does that, too,
/// but not for a process that has changed its user, nor if the parent was gone before it was asked for.
fn watch(parent: &'static ParentProcess, starter: Option<u32>, detached: bool) -> io::Result<()> {
    WATCH.set(Watch { parent, starter, detached });
    own_threads::expect_watcher();
    start_lean(WATCHER_STACK_BYTES, || {
        set_thread_name(c"procession-watch");
        let Some(Watch { parent, starter, detached }) = WATCH.get() else { return };
        await_end(parent, *starter);
        if *detached {
            parent.end.announce();
        } else {
            start::kill_self();
        }
    })
}

fn await_end(parent: &ParentProcess, starter: Option<u32>) {
    // Of a parent in another pid namespace nothing is seen but what a pidfd says.
    let is_outside = parent_id() == 0;
    let is_there = || {
        is_outside
            || parent_id() == parent.pid && starter.is_none_or(|thread| start::has_thread(parent.pid, thread))
    };
    own_threads::rest();
    // It may be another program already.
    if parent.end.pidfd().is_some() && is_there() && matches!(parent.end.wait(None), Ok(EndWait::Ended)) {
        return;
    }
    // The function closed every descriptor it found, or the kernel has no pidfds.
    while is_there() {
        std::thread::sleep(RAREST_LOOK);
    }
}

/// The entry to which a task's [`EntryRef`](crate::entry::EntryRef) leads: the user's function with its
/// arguments and its result.
pub(crate) fn entry<F, A, M>(task: Task) -> Outcome
where
    F: Function<A, M, Output: Serialize>,
    A: DeserializeOwned,
{
    call::<F, A, M>(task).map_or_else(|refused| refused, |result| returned(&result))
}

/// The [`entry`] of a function that may return an error.
pub(crate) fn fallible_entry<F, A, M, T, E, N>(task: Task) -> Outcome
where
    F: Function<A, M, Output = Result<T, E>>,
    A: DeserializeOwned,
    T: Serialize,
    E: Failure<N>,
{
    match call::<F, A, M>(task) {
        Ok(Ok(result)) => returned(&result),
        Ok(Err(error)) => Outcome::Failed(error.into_remote()),
        Err(refused) => refused,
    }
}

fn call<F, A, M>(task: Task) -> Result<F::Output, Outcome>
where
    F: Function<A, M>,
    A: DeserializeOwned,
{
    if task.header.entry.hash != type_hash::<F, A, F::Output>() {
        return Err(Outcome::Refused("the function there has other types".to_owned()));
    }
    let arguments =
        codec::decode::<A>(task.arguments()).map_err(|error| Outcome::Arguments(in_full(&error)))?;
    drop(task);
    if let Some(report) = Report::own() {
        let _: bool = report.mark(Stage::Decoded);
    }
    Phase::Ready.begin();
    Ok(rebuild::<F>().call(arguments))
}

fn returned(result: &impl Serialize) -> Outcome {
    let mut bytes = Vec::new();
    match codec::encode(result, &mut bytes) {
        Ok(()) => Outcome::Returned(bytes),
        Err(error) => Outcome::Encode(in_full(&error)),
    }
}

/// The descriptor that the parent passed by the `index`th [`inherit`](crate::ProcessOptions::inherit),
/// counted from 0; `None` if there was none, or it was taken before. It is close-on-exec.
#[must_use]
pub fn take_inherited(index: usize) -> Option<OwnedFd> {
    INHERITED.get()?.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index)?.take()
}

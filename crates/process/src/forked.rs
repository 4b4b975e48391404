//! Children that are copies of this very process.
//!
//! Before it is copied, it is made sure that the copy finds nothing half-done: no other thread may be there but
//! those of ours that rest ([`own_threads`](crate::own_threads)), the caller holds nothing, and what the
//! standard streams hold back is written. The copy then lives as every child does
//! ([`run_copy`]), with two differences. It has what its parent had in its memory and among its
//! descriptors. And it ends without the exit handlers that were its parent's.
//!
//! # If a process dies
//! The child, at any moment: as every child. The parent, while it forks: there is a child or there is none; if
//! there is one, it finds that its parent is gone before it calls the function.

use crate::child::run_copy;
use crate::children::{self, Born, Child};
use crate::error::SpawnError;
use crate::exit::settle_copy;
use crate::launch::{Launch, Way};
use crate::method::StartMethod;
use crate::own_threads;
use crate::phase::child_thread;
use crate::starter::{Starter, while_all_rest};
use crate::surroundings::Surroundings;
use procession_sys::forking::{self, Forked, end_without_older_handlers, flush_c_streams};
use procession_sys::thread_id;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread of ours may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_micros(50);

/// Starts the process as a copy of this one.
///
/// # Errors
/// `ForkWithThreads`, `ForkWithHolds`, those of [`Launch::papers`], and what the kernel says.
pub(crate) fn start(
    mut launch: Launch,
    starter: &Starter,
    is_changed: bool,
    has_own_namespace: bool,
) -> Result<Child, SpawnError> {
    launch.check()?;
    let refused = |reason| SpawnError::Method { method: StartMethod::Fork, reason };
    if has_own_namespace {
        return Err(refused(
            "PROCESSION_NAMESPACE is set for the process, which would be a copy of one that is in a namespace already; \
             use spawn or forkserver",
        ));
    }
    if thread::panicking() {
        return Err(refused("this thread panics, and so would a copy; use spawn or forkserver"));
    }
    let holds = procession_sync::held_by_this_thread();
    if holds > 0 {
        return Err(SpawnError::ForkWithHolds { holds });
    }
    let (streams, files) = launch.streams.given().map_err(|error| launch.kernel("dup", error))?;
    let environment = is_changed.then(|| std::mem::take(&mut launch.environment));
    let surroundings =
        Surroundings::new(streams, environment, launch.directory.clone(), launch.process_group);
    // The calling thread is the one that the kernel connects the child's life with: only of one that ends with
    // its process that is right.
    let dies_with_thread =
        thread_id() == std::process::id() || child_thread() == Some(thread::current().id());
    let way = Way { dies_with_thread, stdout: None, surroundings: Some((surroundings, files)) };
    let papers = launch.papers(starter, &way)?;
    // The program may close the numbers in the copy, and means its own files.
    let inherit: Result<Vec<OwnedFd>, _> =
        launch.descriptors(&papers, starter, &way)?.into_iter().map(|fd| fd.try_clone_to_owned()).collect();
    let inherit = inherit.map_err(|error| launch.kernel("dup", error))?;
    let running = children::running();
    // A copy would write once more what is held back.
    drop(std::io::stdout().flush());
    flush_c_streams();
    let mut pipes = Some(std::mem::take(&mut launch.pipes));
    let pid = while_all_rest(|starters| {
        only_resting_threads(starters)?;
        match forking::fork().map_err(|error| launch.kernel("fork", error))? {
            Forked::Parent(pid, _) => Ok::<u32, SpawnError>(pid),
            Forked::Child => {
                drop(pipes.take());
                end_without_older_handlers(settle_copy);
                // Their ends would stay open as long as the copy.
                run_copy(inherit, || running.iter().for_each(|child| child.close_pipes()))
            }
        }
    })?;
    launch.pipes = pipes.unwrap_or_default();
    launch.born(Born { pid, pidfd: None }, papers)
}

/// Waits until the threads of ours rest, and finds out whether there are others.
fn only_resting_threads(starters: &[u32]) -> Result<(), SpawnError> {
    let begun = Instant::now();
    loop {
        // The one that looks out for deaths holds nothing at any time that a copy would miss.
        let at_rest = own_threads::at_rest().zip(procession_sync::watcher_threads());
        let is_over = begun.elapsed() > PATIENCE;
        if at_rest.is_none() && !is_over {
            thread::sleep(LOOK);
            continue;
        }
        let (at_rest, watchers) = at_rest.unwrap_or_default();
        let others = forking::other_threads().unwrap_or_default();
        let is_other =
            |thread: &u32| ![starters, &at_rest, &watchers].iter().any(|known| known.contains(thread));
        let mut names: Vec<String> =
            others.into_iter().filter(is_other).filter_map(forking::thread_name).collect();
        if names.is_empty() {
            return Ok(());
        }
        names.sort();
        return Err(SpawnError::ForkWithThreads { threads: names });
    }
}

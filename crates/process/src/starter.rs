//! Threads that start children, and are kept for ever.
//!
//! A child asks the kernel to kill it when the *thread* that started it ends (`PR_SET_PDEATHSIG`): that
//! reaches a child that is stopped, or has executed another program, and a thread also ends when its process
//! executes another program in place. So children are started by a thread that does nothing else and never
//! ends by itself.
//!
//! A new process takes over much from the one thread that starts it: CPUs, priority, namespaces, filters. It
//! is to be as if the caller had started it, so there is a thread for each different inheritance, made by a
//! caller who has it.
//!
//! # If a process dies
//! The parent: its threads end, and the kernel kills the children. A forked child of the parent has no such
//! threads, and makes its own; the children are its parent's.

use procession_sys::inheritance::{inheritance, this_thread};
use procession_sys::pidfd::EndFd;
use procession_sys::start::{self, Start};
use procession_sys::{PerProcess, thread_id};
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

const STACK_BYTES: usize = 128 << 10;

/// A starter of children: a thread of its own, or the caller where there can be none.
#[derive(Debug)]
pub(crate) struct Starter {
    thread: Option<Thread>,
    /// The descriptor that children watch: readable once the starter, or this process, has ended. `None`
    /// where the kernel has no pidfds.
    pub(crate) end: Option<EndFd>,
}

#[derive(Debug)]
struct Thread {
    id: u32,
    /// The thread's directory below `/proc`.
    directory: String,
    /// What children take over from it, as it was when it was asked last: what changes that changes it for all
    /// threads of the process, so it is asked again when another thread has something else.
    inheritance: Mutex<String>,
    desk: Arc<Desk>,
}

/// Where the thread gets its work. It holds the lock while it does any, and only while it sleeps the lock is
/// free: whoever has the lock knows that the thread is in the middle of nothing.
#[derive(Debug, Default)]
struct Desk {
    requests: Mutex<VecDeque<Request>>,
    news: Condvar,
}

#[derive(Debug)]
struct Request {
    start: Start,
    answer: SyncSender<io::Result<u32>>,
}

static STARTERS: PerProcess<Mutex<Vec<Arc<Starter>>>> = PerProcess::new(Mutex::default);

/// All that a child takes over from the thread that starts it, as the calling thread has it.
pub(crate) fn wanted() -> String {
    inheritance(&this_thread())
}

/// A starter from which children come out as if the calling thread, which has what is `wanted`, had started
/// them.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub(crate) fn starter(wanted: &str) -> io::Result<Arc<Starter>> {
    let mut starters = lock(STARTERS.get());
    // The program may have closed what they are watched by.
    starters.retain(|starter| starter.end.as_ref().is_none_or(|end| end.get().is_some()));
    let fits = |starter: &&Arc<Starter>, is_sure: bool| {
        starter.thread.as_ref().is_some_and(|thread| {
            let mut last = lock(&thread.inheritance);
            if is_sure {
                *last = inheritance(&thread.directory);
            }
            *last == wanted
        })
    };
    let found =
        starters.iter().find(|one| fits(one, false)).or_else(|| starters.iter().find(|one| fits(one, true)));
    if let Some(starter) = found {
        return Ok(Arc::clone(starter));
    }
    // A caller whose children go to another pid namespace can have no new threads, for one.
    let thread = Thread::new().ok();
    let end = EndFd::of_this_process(thread.as_ref().map(|thread| thread.id))?;
    let starter = Arc::new(Starter { thread, end });
    if starter.thread.is_some() {
        starters.push(Arc::clone(&starter));
    }
    Ok(starter)
}

/// Runs `work`, told which threads start processes here, while all of them rest.
pub(crate) fn while_all_rest<R>(work: impl FnOnce(&[u32]) -> R) -> R {
    let starters = lock(STARTERS.get());
    let threads: Vec<&Thread> = starters.iter().filter_map(|starter| starter.thread.as_ref()).collect();
    let desks: Vec<_> = threads.iter().map(|thread| lock(&thread.desk.requests)).collect();
    let ids: Vec<u32> = threads.iter().map(|thread| thread.id).collect();
    let result = work(&ids);
    drop(desks);
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Starter {
    /// The thread that the kernel connects the child's life with, if there is one.
    pub(crate) fn thread_id(&self) -> Option<u32> {
        self.thread.as_ref().map(|thread| thread.id)
    }

    /// Starts a child and returns its pid.
    ///
    /// # Errors
    /// As [`same_program`](start::same_program).
    pub(crate) fn start(&self, start: Start) -> io::Result<u32> {
        let Some(thread) = &self.thread else { return start::same_program(&start) };
        let (answer, answered) = sync_channel(1);
        lock(&thread.desk.requests).push_back(Request { start, answer });
        thread.desk.news.notify_one();
        answered.recv().map_err(|_| io::Error::other("the thread that starts processes is gone"))?
    }
}

impl Thread {
    fn new() -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let (name, named) = sync_channel(1);
        let builder = std::thread::Builder::new().name("procession-start".to_owned()).stack_size(STACK_BYTES);
        builder.spawn({
            let desk = Arc::clone(&desk);
            move || {
                start::block_signals();
                let requests = lock(&desk.requests);
                // Nobody hears it only if the caller is gone, and then nobody asks for a start.
                drop(name.send((thread_id(), this_thread())));
                serve(&desk, requests)
            }
        })?;
        let (id, directory) = named.recv().map_err(io::Error::other)?;
        let inheritance = Mutex::new(inheritance(&directory));
        Ok(Self { id, directory, inheritance, desk })
    }
}

fn serve(desk: &Desk, mut requests: MutexGuard<'_, VecDeque<Request>>) -> ! {
    loop {
        while let Some(Request { start, answer }) = requests.pop_front() {
            drop(answer.send(start::same_program(&start)));
        }
        requests = desk.news.wait(requests).unwrap_or_else(PoisonError::into_inner);
    }
}

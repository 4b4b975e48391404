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

use procession_sys::pidfd::EndFd;
use procession_sys::start::{self, Start};
use procession_sys::{PerProcess, thread_id};
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

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
    requests: Sender<Request>,
}

#[derive(Debug)]
struct Request {
    start: Start,
    answer: SyncSender<io::Result<u32>>,
}

static STARTERS: PerProcess<Mutex<Vec<Arc<Starter>>>> = PerProcess::new(Mutex::default);

/// A starter from which children come out as if the calling thread had started them.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub(crate) fn starter() -> io::Result<Arc<Starter>> {
    let wanted = start::inheritance(&start::this_thread());
    let mut starters = STARTERS.get().lock().unwrap_or_else(PoisonError::into_inner);
    // The program may have closed what they are watched by.
    starters.retain(|starter| starter.end.as_ref().is_none_or(|end| end.get().is_some()));
    let fits = |starter: &&Arc<Starter>| {
        starter.thread.as_ref().is_some_and(|thread| start::inheritance(&thread.directory) == wanted)
    };
    if let Some(starter) = starters.iter().find(fits) {
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
        let gone = || io::Error::other("the thread that starts processes is gone");
        thread.requests.send(Request { start, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Thread {
    fn new() -> io::Result<Self> {
        let (requests, hears) = channel();
        let (name, named) = sync_channel(1);
        let builder = std::thread::Builder::new().name("procession-start".to_owned()).stack_size(STACK_BYTES);
        builder.spawn(move || {
            start::block_signals();
            // Nobody hears it only if the caller is gone, and then nobody asks for a start.
            drop(name.send((thread_id(), start::this_thread())));
            serve(&hears);
        })?;
        let (id, directory) = named.recv().map_err(io::Error::other)?;
        Ok(Self { id, directory, requests })
    }
}

fn serve(requests: &Receiver<Request>) {
    for Request { start, answer } in requests {
        drop(answer.send(start::same_program(&start)));
    }
}

//! The thread in which a pool's callbacks run: code of the user's, which may wait as long as it likes, and
//! keeps nothing waiting but other callbacks.

use super::foreman::Foreman;
use super::job::JobResult;
use super::progress::{Observer, Progress};
use super::watchers::Callback;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

/// What the thread is to call.
pub(crate) enum Call {
    Callback(Callback, Arc<JobResult>),
    Observer(Observer, Progress),
}

impl Call {
    fn run(self) {
        match self {
            Self::Callback(callback, outcome) => call_here(callback, &outcome),
            Self::Observer(observer, progress) => {
                drop(catch_unwind(AssertUnwindSafe(|| observer.tell(progress))));
            }
        }
    }
}

/// Calls the callback in the calling thread. A panic in it ends it alone.
pub(crate) fn call_here(callback: Callback, outcome: &JobResult) {
    // What std says of the panic is all that there is to be said.
    drop(catch_unwind(AssertUnwindSafe(|| callback(outcome))));
}

/// The thread, once it was needed.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    line: Mutex<Line>,
    /// How many calls are not over.
    open: AtomicUsize,
    thread: OnceLock<ThreadId>,
}

#[derive(Debug, Default)]
enum Line {
    #[default]
    New,
    Open(Sender<Call>),
    /// The pool has ended.
    Closed,
}

impl Callbacks {
    /// Has something called: by the thread, or here if there is none any more, or none can be started.
    pub(crate) fn call(&self, foreman: &Arc<Foreman>, call: Call) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let call = {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*line, Line::New)
                && let Some(sender) = start(Arc::clone(foreman))
            {
                *line = Line::Open(sender);
            }
            match &*line {
                Line::Open(sender) => sender.send(call).err().map(|unsent| unsent.0),
                Line::New | Line::Closed => Some(call),
            }
        };
        if let Some(call) = call {
            call.run();
            self.end_one();
        }
    }

    /// How many calls are not over; none for one of the calls itself, which cannot wait for its own end.
    pub(crate) fn open(&self) -> usize {
        let is_mine = self.thread.get().is_some_and(|&id| id == thread::current().id());
        if is_mine { 0 } else { self.open.load(Ordering::Relaxed) }
    }

    /// Lets the thread end when it has called everything.
    pub(crate) fn close(&self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Line::Closed;
    }

    fn end_one(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start(foreman: Arc<Foreman>) -> Option<Sender<Call>> {
    let (sender, calls) = channel::<Call>();
    let thread = thread::Builder::new().name("procession-calls".to_owned());
    let started = thread.spawn(move || {
        foreman.callbacks().thread.get_or_init(|| thread::current().id());
        for call in calls {
            call.run();
            foreman.callbacks().end_one();
            foreman.announce_call();
        }
    });
    started.is_ok().then_some(sender)
}

//! The thread that has all connections of the process, and how other threads have it do something.

use crate::error::ClusterError;
use procession_sys::{PerProcess, interrupt, signals};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};

/// The thread. A forked child has none until it needs one; the handle of its parent's is never dropped, which would write to
/// the descriptors that both share.
static THREAD: PerProcess<Mutex<Option<Handle>>> = PerProcess::new(Mutex::default);

/// How often a thread that waits asks its hook.
const ASK: Duration = Duration::from_millis(100);

fn handle() -> std::io::Result<Handle> {
    let mut thread = super::lock(THREAD.get());
    if let Some(handle) = &*thread {
        return Ok(handle.clone());
    }
    let (send, receive) = mpsc::channel();
    // Signals are for the threads of the program.
    let blocked = signals::set_blocked(signals::ALL.collect());
    let started = std::thread::Builder::new().name("cluster".to_owned()).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(send.send(Err(error))),
        };
        drop(send.send(Ok(runtime.handle().clone())));
        runtime.block_on(std::future::pending::<()>());
    });
    signals::set_blocked(blocked);
    started?;
    let handle = receive.recv().map_err(std::io::Error::other)??;
    *thread = Some(handle.clone());
    Ok(handle)
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// The thread cannot be had.
    NoThread(String),
    /// The caller's hook wants the wait to end.
    Interrupted,
}

impl NoAnswer {
    /// As an error of the library, where no wait was under way.
    pub(crate) fn into_error(self, place: &str) -> ClusterError {
        let reason = match self {
            Self::NoThread(why) => format!("the thread for its connections cannot be had: {why}"),
            Self::Interrupted => "the wait for its answer was interrupted".to_owned(),
        };
        ClusterError::Unavailable { place: place.to_owned(), reason }
    }
}

/// Has the thread do something that needs no answer.
pub(crate) fn begin(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(handle) = handle() {
        drop(handle.spawn(work));
    }
}

/// Has the thread do something, and waits for the outcome; as long as it takes, so `work` is to have a deadline. With
/// `ends_on_signal`, the hook of this thread is asked meanwhile, and what was begun is then left to itself.
pub(crate) fn run<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
    ends_on_signal: bool,
) -> Result<T, NoAnswer> {
    let handle = handle().map_err(|error| NoAnswer::NoThread(error.to_string()))?;
    let (send, receive) = sync_channel(1);
    drop(handle.spawn(async move {
        // Nobody may wait any more.
        drop(send.send(work.await));
    }));
    let ended = || NoAnswer::NoThread("it has ended".to_owned());
    if !ends_on_signal || !interrupt::is_possible() {
        return receive.recv().map_err(|_| ended());
    }
    loop {
        match receive.recv_timeout(ASK) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Disconnected) => return Err(ended()),
            Err(RecvTimeoutError::Timeout) if interrupt::is_wanted() => return Err(NoAnswer::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

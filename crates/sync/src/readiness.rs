//! Readiness as a file descriptor, for programs that wait by `poll`, `epoll`, mio or tokio.
//!
//! Words in shared memory are no files. So one thread of the process, started by the first [`Readiness`] and
//! asleep while nothing happens, waits for the words of up to 126 things, and rings an eventfd for each that
//! becomes ready; for each further 126 there is one more. Rung, a bell stays rung, and its thing is not
//! looked at any more, until [`clear`](Readiness::clear).
//!
//! # If a process dies
//! All of this is the process's own. In a forked child the bells of the parent are the parent's: use those of
//! objects that the child asked for its own.

use crate::wait::{CROWD, sleep_on};
use crate::waitable::{Waitable, Watch};
use procession_sys::{Deadline, eventfd, fork, futex};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How long the thread sleeps before it asks about those who may have died.
const SLICE: Duration = Duration::from_millis(100);

/// How long the end of a [`Readiness`] waits at most for the thread to let go, and how often it looks.
const FAREWELL: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(1);

/// A file descriptor that is readable while something is ready, until [`clear`](Self::clear).
///
/// ```
/// use procession::readiness;
/// use procession::Event;
///
/// let event = Event::new()?;
/// let readiness = readiness(&event)?;
/// // Give this descriptor to epoll, mio or tokio; when it is readable:
/// use std::os::fd::AsFd;
/// let _ = readiness.as_fd();
/// event.set();
/// // … use what is ready, then
/// readiness.clear();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Readiness {
    watched: Arc<Watched>,
    crowd: Option<Arc<Crowd>>,
}

/// The readiness of `object`, as a file descriptor.
///
/// It is level-triggered: readable once the object is ready, and readable until [`Readiness::clear`]; if the
/// object is still ready then, it becomes readable again at once. What is ready may have been used by
/// somebody else before you come: use the calls that do not wait.
///
/// An end of a pipe and a process are not `Clone`: put them into an [`Arc`]. The end is then not dropped
/// before the `Readiness` is.
///
/// ```
/// use procession::{Pipe, PipeOptions, readiness};
/// use std::sync::Arc;
///
/// let (sender, receiver) = Pipe::options().pipe::<u32>()?;
/// let receiver = Arc::new(receiver);
/// let readiness = readiness(&receiver)?;
/// sender.send(&7)?;
/// // … when `readiness` is readable:
/// readiness.clear();
/// assert_eq!(receiver.try_recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When this process has too many open files, or cannot start a thread.
pub fn readiness<W: Waitable + Clone + Send + 'static>(object: &W) -> io::Result<Readiness> {
    if let Watch::File(file) = object.watch() {
        // It is level-triggered by itself.
        let bell = file.try_clone_to_owned()?;
        let watched = Watched { object: Box::new(object.clone()), bell, armed: AtomicBool::new(false) };
        return Ok(Readiness { watched: Arc::new(watched), crowd: None });
    }
    object.unwatch();
    let bell = eventfd::create()?;
    let watched = Arc::new(Watched { object: Box::new(object.clone()), bell, armed: AtomicBool::new(true) });
    let crowd = Some(Bridge::of_this_process().watch(&watched)?);
    Ok(Readiness { watched, crowd })
}

impl Readiness {
    /// Makes the descriptor unreadable, until the object is ready (again).
    ///
    /// For a process this does nothing: its end is for ever.
    pub fn clear(&self) {
        if let Some(crowd) = &self.crowd {
            eventfd::silence(&self.watched.bell);
            self.watched.armed.store(true, Ordering::Release);
            crowd.call();
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.bell.as_fd()
    }
}

/// The number of [`as_fd`](AsFd::as_fd)'s descriptor, for event loops that take numbers (`AsyncFd` of tokio).
impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if let Some(crowd) = self.crowd.as_ref().filter(|crowd| crowd.cookie == fork::cookie()) {
            crowd.members().retain(|one| !Arc::ptr_eq(one, &self.watched));
            crowd.call();
            // The thread has a handle too: whoever drops this one last may expect an anonymous object to be
            // gone.
            let patience = Deadline::after(FAREWELL);
            while Arc::strong_count(&self.watched) > 1 && !patience.has_passed() {
                let _ =
                    futex::wait(&crowd.rounds, crowd.rounds.load(Ordering::Acquire), Deadline::after(SOON));
            }
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("descriptor", &self.as_fd()).finish_non_exhaustive()
    }
}

/// One thing that is watched.
struct Watched {
    object: Box<dyn Waitable + Send>,
    bell: OwnedFd,
    /// Whether the bell is to be rung when the thing is ready.
    armed: AtomicBool,
}

/// What one thread watches.
struct Crowd {
    /// Of the process whose thread it is.
    cookie: u64,
    members: Mutex<Vec<Arc<Watched>>>,
    /// How often the thread has looked.
    rounds: AtomicU32,
    /// Changes whenever the thread is to look anew.
    calls: AtomicU32,
}

impl Crowd {
    fn new(cookie: u64) -> Self {
        let (members, rounds, calls) = (Mutex::default(), AtomicU32::new(0), AtomicU32::new(0));
        Self { cookie, members, rounds, calls }
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Watched>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) {
        self.calls.fetch_add(1, Ordering::Release);
        futex::wake_all(&self.calls);
    }

    /// What the thread does, as long as the process lives.
    fn run(&self) {
        loop {
            let calls = self.calls.load(Ordering::Acquire);
            let members = self.members().clone();
            let mut armed: Vec<&Watched> =
                members.iter().map(|one| &**one).filter(|one| one.armed.load(Ordering::Acquire)).collect();
            armed.retain(|one| {
                let is_ready = one.object.is_ready_after_all();
                if is_ready {
                    // First disarmed: a `clear` in between arms it again.
                    one.armed.store(false, Ordering::Release);
                    eventfd::ring(&one.bell);
                }
                !is_ready
            });
            let deadline = if armed.is_empty() { Deadline::NEVER } else { Deadline::after(SLICE) };
            let objects: Vec<&dyn Waitable> = armed.iter().map(|one| &*one.object as &dyn Waitable).collect();
            let _ = sleep_on(&objects, Some((&self.calls, calls)), deadline);
            drop(members);
            self.rounds.fetch_add(1, Ordering::Release);
            futex::wake_all(&self.rounds);
        }
    }
}

/// The threads of one process. A forked child has none of them, finds its parent's bridge, and appends its
/// own.
struct Bridge {
    cookie: u64,
    crowds: Mutex<Vec<Arc<Crowd>>>,
    of_child: OnceLock<&'static Bridge>,
}

static BRIDGE: OnceLock<&'static Bridge> = OnceLock::new();

impl Bridge {
    fn of_this_process() -> &'static Self {
        let cookie = fork::cookie();
        let new =
            || &*Box::leak(Box::new(Self { cookie, crowds: Mutex::default(), of_child: OnceLock::new() }));
        let mut bridge = BRIDGE.get_or_init(new);
        while bridge.cookie != cookie {
            bridge = bridge.of_child.get_or_init(new);
        }
        bridge
    }

    /// Watches one thing more, by a thread that has room for it or by a new one.
    fn watch(&self, watched: &Arc<Watched>) -> io::Result<Arc<Crowd>> {
        let mut crowds = self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        let crowd = match crowds.iter().find(|crowd| crowd.members().len() < CROWD) {
            Some(crowd) => Arc::clone(crowd),
            None => {
                let crowd = Arc::new(Crowd::new(self.cookie));
                let its = Arc::clone(&crowd);
                std::thread::Builder::new().name("procession-bridge".into()).spawn(move || its.run())?;
                crowds.push(Arc::clone(&crowd));
                crowd
            }
        };
        crowd.members().push(Arc::clone(watched));
        crowd.call();
        Ok(crowd)
    }
}

#[cfg(test)]
mod tests {
    use super::readiness;
    use crate::Event;
    use procession_shm::Namespace;
    use procession_sys::eventfd::wait_any;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn it_is_readable_while_the_thing_is_ready_and_until_it_is_cleared() {
        let namespace = Namespace::private();
        let event = Event::options().namespace(&namespace).anonymous().unwrap();
        let ready = readiness(&event).unwrap();
        let is_readable = |patience: Option<Duration>| wait_any(&[ready.as_fd()], patience).unwrap()[0];
        assert!(!is_readable(Some(Duration::from_millis(5))));
        event.set();
        assert!(is_readable(None));
        event.clear();
        assert!(is_readable(None), "it rings until it is cleared");
        ready.clear();
        assert!(!is_readable(Some(Duration::from_millis(5))));
        event.set();
        assert!(is_readable(None));
        ready.clear();
        assert!(is_readable(None), "it is still ready");
    }
}

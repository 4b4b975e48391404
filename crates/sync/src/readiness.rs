//! Readiness as a file descriptor, for programs that wait by `poll`, `epoll`, mio or tokio.

use crate::bridge::Watching;
use crate::waitable::{Waitable, Watch};
use procession_sys::{Deadline, eventfd};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

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
pub struct Readiness(Source);

enum Source {
    /// A descriptor that is level-triggered by itself: another number of the thing's own.
    Own(OwnedFd),
    /// An eventfd, which the bridge rings.
    Bridged(Arc<OwnedFd>, Watching),
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
    let source = match object.watch() {
        Watch::File(file) => Source::Own(file.try_clone_to_owned()?),
        Watch::Futex(..) => {
            object.unwatch();
            let bell = Arc::new(eventfd::create()?);
            let rung = Arc::clone(&bell);
            Source::Bridged(
                bell,
                Watching::new(Box::new(object.clone()), Deadline::NEVER, move || eventfd::ring(&*rung))?,
            )
        }
    };
    Ok(Readiness(source))
}

impl Readiness {
    /// Makes the descriptor unreadable, until the object is ready (again).
    ///
    /// For a process this does nothing: its end is for ever.
    pub fn clear(&self) {
        if let Source::Bridged(bell, watching) = &self.0 {
            eventfd::silence(&**bell);
            watching.arm();
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Own(file) => file.as_fd(),
            Source::Bridged(bell, _) => bell.as_fd(),
        }
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
        if let Source::Bridged(_, watching) = &self.0 {
            watching.leave_for_good();
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("descriptor", &self.as_fd()).finish_non_exhaustive()
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

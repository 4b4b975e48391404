//! What one of several things that are waited for must be able to say: whether it is ready, and where somebody
//! is told when that may have changed. Queues, pipes and processes say it where they are; the objects of this
//! crate and descriptors say it here.

use crate::event::Event;
use crate::eventcount::EventCount;
use crate::latch::Latch;
use crate::semaphore::{BoundedSemaphore, Semaphore};
use procession_shm::{OwnerId, Segment};
use procession_sys::eventfd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// What [`wait`](crate::wait()) can wait for: an [`Event`], a [`Latch`], a semaphore, a queue, an end of a pipe, a process;
/// and any file descriptor that can be polled, which is ready when it is readable: a socket, a pidfd, a
/// timer.
///
/// It is the library's own: there is nothing in it to call or to implement.
pub trait Waitable: Sync {
    /// Whether using it now would not wait, or would say why it never will: an event is set, a permit is
    /// there, a message or the end of all messages, a process has ended.
    fn is_ready(&self) -> bool;

    /// As [`is_ready`](Self::is_ready), and asks about those who may have died.
    #[doc(hidden)]
    fn is_ready_after_all(&self) -> bool {
        self.is_ready()
    }

    /// The segment of an object that a death may make ready.
    #[doc(hidden)]
    fn mortal(&self) -> Option<&Segment> {
        None
    }

    /// Those whose death may make it ready.
    #[doc(hidden)]
    fn concerned(&self) -> Vec<OwnerId> {
        Vec::new()
    }

    /// Announces a waiter: where it is told that something may have changed since.
    #[doc(hidden)]
    fn watch(&self) -> Watch<'_>;

    /// Follows each [`watch`](Self::watch) after the sleep, and passes a wake on that it may have taken.
    #[doc(hidden)]
    fn unwatch(&self);
}

/// Where a waiter is told.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Watch<'a> {
    /// A wake on this word, if it still holds this.
    Futex(&'a AtomicU32, u32),
    /// This file becomes readable.
    File(BorrowedFd<'a>),
}

impl<'a> Watch<'a> {
    /// Announces a waiter at this bell.
    #[must_use]
    pub fn at(bell: &'a EventCount) -> Self {
        let expected = bell.listen();
        Self::Futex(bell.word(), expected)
    }

    /// Follows each [`Watch::at`]: the wake that came may have been meant for one who sleeps there alone, who
    /// gets it if there still is something.
    pub fn leave(bell: &EventCount, is_ready: impl FnOnce() -> bool) {
        bell.arrive();
        if is_ready() {
            bell.notify_one();
        }
    }
}

impl Waitable for Event {
    fn is_ready(&self) -> bool {
        self.is_set()
    }

    fn watch(&self) -> Watch<'_> {
        let (word, expected) = Event::watch(self);
        Watch::Futex(word, expected)
    }

    fn unwatch(&self) {}
}

impl Waitable for Latch {
    fn is_ready(&self) -> bool {
        self.is_open()
    }

    fn watch(&self) -> Watch<'_> {
        let (word, expected) = Latch::watch(self);
        Watch::Futex(word, expected)
    }

    fn unwatch(&self) {}
}

/// Of another library, or the system: ready when it is readable, or has nothing but an error or an end to
/// read.
///
/// ```
/// use procession::wait;
/// use std::io::Write;
/// use std::os::fd::AsFd;
///
/// let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
/// theirs.write_all(b"x")?;
/// assert_eq!(wait(&[&ours.as_fd()])?, [0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Waitable for BorrowedFd<'_> {
    fn is_ready(&self) -> bool {
        // What cannot be polled is an answer, too.
        eventfd::wait_any(&[*self], Some(Duration::ZERO)).map_or(true, |ready| ready.contains(&true))
    }

    fn watch(&self) -> Watch<'_> {
        Watch::File(*self)
    }

    fn unwatch(&self) {}
}

impl Waitable for OwnedFd {
    fn is_ready(&self) -> bool {
        Waitable::is_ready(&self.as_fd())
    }

    fn watch(&self) -> Watch<'_> {
        Watch::File(self.as_fd())
    }

    fn unwatch(&self) {}
}

impl Waitable for Semaphore {
    fn is_ready(&self) -> bool {
        self.has_permits()
    }

    fn is_ready_after_all(&self) -> bool {
        self.available() > 0
    }

    fn mortal(&self) -> Option<&Segment> {
        Some(Semaphore::segment(self))
    }

    fn concerned(&self) -> Vec<OwnerId> {
        Semaphore::concerned(self)
    }

    fn watch(&self) -> Watch<'_> {
        let (word, expected) = Semaphore::watch(self);
        Watch::Futex(word, expected)
    }

    fn unwatch(&self) {
        Semaphore::unwatch(self);
    }
}

impl Waitable for BoundedSemaphore {
    fn is_ready(&self) -> bool {
        Waitable::is_ready(&**self)
    }

    fn is_ready_after_all(&self) -> bool {
        Waitable::is_ready_after_all(&**self)
    }

    fn mortal(&self) -> Option<&Segment> {
        Waitable::mortal(&**self)
    }

    fn concerned(&self) -> Vec<OwnerId> {
        Waitable::concerned(&**self)
    }

    fn watch(&self) -> Watch<'_> {
        Waitable::watch(&**self)
    }

    fn unwatch(&self) {
        Waitable::unwatch(&**self);
    }
}

/// As what it holds: the end of a pipe, or a process, which cannot be cloned, has its readiness in this way.
impl<W: Waitable + Send + ?Sized> Waitable for Arc<W> {
    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }

    fn is_ready_after_all(&self) -> bool {
        (**self).is_ready_after_all()
    }

    fn mortal(&self) -> Option<&Segment> {
        (**self).mortal()
    }

    fn concerned(&self) -> Vec<OwnerId> {
        (**self).concerned()
    }

    fn watch(&self) -> Watch<'_> {
        (**self).watch()
    }

    fn unwatch(&self) {
        (**self).unwatch();
    }
}

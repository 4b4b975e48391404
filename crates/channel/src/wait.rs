//! Waiting for whichever of several things comes first: messages, events, permits, the end of processes.
//!
//! Each thing says whether it is ready, and which word changes, or which file becomes readable, when that may
//! have changed. One thread sleeps on up to 127 words at once (`futex_waitv`); more words, or files among
//! them, are watched by threads that live as long as the call, and ring a bell for it.
//!
//! # If a process dies
//! A waiter holds nothing. A wake that it took from somebody who waits for one of the things alone, it passes
//! on; killed before, the end of that one's slice finds what there is. Those who die without telling anybody
//! (the holder of a permit, the other end of a pipe) are asked about at the end of each slice, at most 100 ms
//! long.

use crate::joinable::JoinableQueue;
use crate::queue::Queue;
use procession_sync::{BoundedSemaphore, Event, Latch, Semaphore};
use procession_sys::futex::{self, Waited};
use procession_sys::{Deadline, eventfd, interrupt};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a sleep lasts before everything is looked at closely.
const SLICE: Duration = Duration::from_millis(100);
/// How many things one thread watches; one word more is its alarm.
pub(crate) const CROWD: usize = futex::MAX_WORDS - 1;

/// What [`wait`] can wait for: an [`Event`], a [`Latch`], a semaphore, a queue, an end of a pipe, a process;
/// and any file descriptor that can be polled, which is ready when it is readable: a socket, a pidfd, a
/// timer.
///
/// It is the library's own: there is nothing in it to call or to implement.
pub trait Waitable: Sync {
    /// Whether using it now would not wait, or would say why it never will: an event is set, a permit is
    /// there, a message or the end of all messages, a process has ended.
    fn is_ready(&self) -> bool;

    /// The same, and asks about those who may have died.
    #[doc(hidden)]
    fn is_ready_after_all(&self) -> bool {
        self.is_ready()
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

/// Waits until at least one of `objects` is ready, at most for `timeout` (`None`: without limit); the indices
/// of all that are, in order, none if the time was over first.
///
/// Ready is a state, not a change: what is ready already is reported at once. By the time you use it,
/// somebody else may have been faster, so use the calls that do not wait (`try_get`, `try_acquire`, …). An
/// event that is set and cleared again before this thread looks may be missed.
///
/// ```
/// use procession::{Queue, wait};
/// use procession::Event;
/// use std::time::Duration;
///
/// let jobs: Queue<u32> = Queue::new()?;
/// let stop = Event::new()?;
/// assert!(wait(&[&jobs, &stop], Some(Duration::ZERO))?.is_empty());
/// stop.set();
/// assert_eq!(wait(&[&jobs, &stop], None)?, [1]);
/// jobs.put(&7)?;
/// assert_eq!(wait(&[&jobs, &stop], None)?, [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] when a hook of this thread wants the wait to end (`procession::interrupt`).
/// Otherwise only when there are processes among the objects, or more than 127 of them: this process has too
/// many open files, or cannot start a thread.
pub fn wait(objects: &[&dyn Waitable], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
    let mut ready = indices(objects, |object| object.is_ready());
    while ready.is_empty() && !deadline.has_passed() {
        let slice = Deadline::after(SLICE).min(deadline);
        if objects.len() <= CROWD && files(objects).is_empty() {
            let _ = sleep_on(objects, None, slice);
        } else {
            sleep_in_threads(objects, slice)?;
        }
        ready = indices(objects, |object| object.is_ready_after_all());
        if ready.is_empty() && interrupt::is_wanted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(ready)
}

fn indices(objects: &[&dyn Waitable], is_ready: impl Fn(&dyn Waitable) -> bool) -> Vec<usize> {
    (0..objects.len()).filter(|&index| is_ready(objects[index])).collect()
}

/// The files among what is watched.
fn files<'a>(objects: &[&'a dyn Waitable]) -> Vec<BorrowedFd<'a>> {
    let file = |object: &&'a dyn Waitable| match object.watch() {
        Watch::File(file) => Some(file),
        Watch::Futex(..) => {
            object.unwatch();
            None
        }
    };
    objects.iter().filter_map(file).collect()
}

/// Sleeps until something may have changed about at most [`CROWD`] objects without files, until the `alarm`
/// word, if there is one, is woken or has changed, or until the deadline.
pub(crate) fn sleep_on(
    objects: &[&dyn Waitable],
    alarm: Option<(&AtomicU32, u32)>,
    deadline: Deadline,
) -> Waited {
    let mut words: Vec<(&AtomicU32, u32)> = alarm.into_iter().collect();
    words.extend(objects.iter().filter_map(|object| match object.watch() {
        Watch::Futex(word, expected) => Some((word, expected)),
        Watch::File(_) => None,
    }));
    // Once they are watched, nothing can change unnoticed.
    let is_ready = objects.iter().any(|object| object.is_ready());
    let waited = if is_ready { Waited::Changed } else { futex::wait_any(&words, deadline) };
    objects.iter().for_each(|object| object.unwatch());
    waited
}

/// The same for any objects, by threads that end with the call.
fn sleep_in_threads(objects: &[&dyn Waitable], deadline: Deadline) -> io::Result<()> {
    let bell = eventfd::create()?;
    let mut files = files(objects);
    files.push(bell.as_fd());
    let over = AtomicU32::new(0);
    let words: Vec<&dyn Waitable> =
        objects.iter().copied().filter(|object| !matches!(object.watch(), Watch::File(_))).collect();
    // The filter watched each of them.
    words.iter().for_each(|object| object.unwatch());
    std::thread::scope(|scope| {
        let crowds = words.chunks(CROWD).map(|crowd| {
            std::thread::Builder::new().name("procession-wait".into()).spawn_scoped(scope, || {
                let _ = sleep_on(crowd, Some((&over, 0)), deadline);
                eventfd::ring(&bell);
            })
        });
        let outcome = match crowds.collect::<io::Result<Vec<_>>>() {
            Ok(_) => eventfd::wait_any(&files, deadline.remaining()).map(drop),
            Err(error) => Err(error),
        };
        over.store(1, Ordering::Release);
        futex::wake_all(&over);
        outcome
    })
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
/// assert_eq!(wait(&[&ours.as_fd()], None)?, [0]);
/// # Ok::<(), std::io::Error>(())
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

    fn watch(&self) -> Watch<'_> {
        Waitable::watch(&**self)
    }

    fn unwatch(&self) {
        Waitable::unwatch(&**self);
    }
}

impl<T> Waitable for Queue<T> {
    fn is_ready(&self) -> bool {
        !self.is_empty() || self.is_closed()
    }

    fn watch(&self) -> Watch<'_> {
        let bell = self.items();
        let expected = bell.listen();
        Watch::Futex(bell.word(), expected)
    }

    fn unwatch(&self) {
        let bell = self.items();
        bell.arrive();
        if Waitable::is_ready(self) {
            bell.notify_one();
        }
    }
}

impl<T> Waitable for JoinableQueue<T> {
    fn is_ready(&self) -> bool {
        self.has_answer()
    }

    fn is_ready_after_all(&self) -> bool {
        self.has_answer_after_all()
    }

    fn watch(&self) -> Watch<'_> {
        let bell = self.items();
        let expected = bell.listen();
        Watch::Futex(bell.word(), expected)
    }

    fn unwatch(&self) {
        let bell = self.items();
        bell.arrive();
        if self.has_answer() {
            bell.notify_one();
        }
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

    fn watch(&self) -> Watch<'_> {
        (**self).watch()
    }

    fn unwatch(&self) {
        (**self).unwatch();
    }
}

#[cfg(test)]
mod tests {
    use super::{Waitable, wait};
    use crate::Queue;
    use procession_shm::Namespace;
    use procession_sync::{Event, Latch, Semaphore};
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn whichever_comes_first_is_reported_with_all_that_are_ready() {
        let namespace = Namespace::private();
        let event = Event::options().namespace(&namespace).anonymous().unwrap();
        let jobs: Queue<u8> = Queue::options().namespace(&namespace).anonymous().unwrap();
        let slots = Semaphore::options().permits(1).namespace(&namespace).anonymous().unwrap();
        let permit = slots.acquire().unwrap();
        let all: [&dyn Waitable; 3] = [&event, &jobs, &slots];
        assert!(wait(&all, Some(Duration::from_millis(2))).unwrap().is_empty());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&all, None).unwrap());
            jobs.put(&1).unwrap();
            assert_eq!(waiting.join().unwrap(), [1]);
        });
        assert_eq!(jobs.get().unwrap(), 1);
        let waits = || wait(&all, None).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(waits);
            drop(permit);
            assert_eq!(waiting.join().unwrap(), [2]);
        });
        event.set();
        jobs.close().unwrap();
        assert_eq!(waits(), [0, 1, 2]);
        assert!(wait(&[], Some(Duration::ZERO)).unwrap().is_empty());
    }

    #[test]
    fn a_latch_and_a_socket_are_waited_for_among_others() {
        let namespace = Namespace::private();
        let latch = Latch::options().namespace(&namespace).count(1).anonymous().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = OwnedFd::from(ours);
        let all: [&dyn Waitable; 2] = [&latch, &ours];
        assert!(wait(&all, Some(Duration::from_millis(2))).unwrap().is_empty());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&all, None).unwrap());
            theirs.write_all(b"x").unwrap();
            assert_eq!(waiting.join().unwrap(), [1]);
        });
        latch.arrive();
        assert_eq!(wait(&all, None).unwrap(), [0, 1]);
        let only: [&dyn Waitable; 1] = [&latch];
        assert_eq!(wait(&only, None).unwrap(), [0]);
    }

    #[test]
    fn more_things_than_the_kernel_takes_at_once() {
        let namespace = Namespace::private();
        let events: Vec<Event> =
            (0..300).map(|_| Event::options().namespace(&namespace).anonymous().unwrap()).collect();
        let all: Vec<&dyn Waitable> = events.iter().map(|event| event as &dyn Waitable).collect();
        assert!(wait(&all, Some(Duration::from_millis(2))).unwrap().is_empty());
        for last in [299, 0] {
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| wait(&all, None).unwrap());
                events[last].set();
                assert_eq!(waiting.join().unwrap(), [last]);
            });
            events[last].clear();
        }
    }

    #[test]
    fn a_wake_is_passed_on_to_those_who_wait_for_the_one_thing() {
        let namespace = Namespace::private();
        let jobs: Queue<u8> = Queue::options().namespace(&namespace).anonymous().unwrap();
        for _ in 0..200 {
            std::thread::scope(|scope| {
                let getting = scope.spawn(|| jobs.get().unwrap());
                let waiting = scope.spawn(|| wait(&[&jobs], Some(Duration::from_millis(20))).unwrap());
                jobs.put(&7).unwrap();
                assert_eq!(getting.join().unwrap(), 7);
                drop(waiting.join().unwrap());
            });
        }
    }
}

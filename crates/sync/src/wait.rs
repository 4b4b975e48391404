//! Waiting for whichever of several things comes first: messages, events, permits, the end of processes.
//!
//! Each thing says whether it is ready, and which word changes, or which file becomes readable, when that may
//! have changed. One thread sleeps on up to 127 words at once (`futex_waitv`); more words, or files among
//! them, are watched by threads that live as long as the call, and ring a bell for it.
//!
//! # If a process dies
//! A waiter holds nothing. A wake that it took from somebody who waits for one of the things alone, it passes
//! on; killed before, the end of that one's slice finds what there is. Those who die without telling anybody
//! (the holder of a permit, the other end of a pipe) are watched in a sleep that lasts longer than a millisecond
//! (`death_watch.rs`), and asked about at the end of each slice, at most 100 ms long.

use crate::death_watch::watch_for;
use crate::waitable::{Waitable, Watch};
use procession_sys::futex::{self, Waited};
use procession_sys::{Deadline, crash, eventfd, interrupt};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a sleep lasts before those are watched whose death concerns it.
const LONG: Duration = Duration::from_millis(1);
/// How long a sleep lasts before everything is looked at closely.
const SLICE: Duration = Duration::from_millis(100);
/// How many things one thread watches; one word more is its alarm.
pub(crate) const CROWD: usize = futex::MAX_WORDS - 1;

/// Why none of the things that were waited for is known to be ready.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum WaitAnyError {
    /// None of them is ready now ([`try_wait`]).
    #[error("none of the objects is ready")]
    WouldBlock,
    /// None of them was ready until the timeout ([`wait_timeout`]).
    #[error("timed out: none of the objects is ready")]
    TimedOut,
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for one of several objects was interrupted")]
    Interrupted,
    /// This process cannot wait for so many things, or for processes and descriptors among them: it has too
    /// many open files, or cannot start a thread.
    #[error("this process cannot wait for several objects now")]
    Os(#[from] io::Error),
}

procession_shm::debug_as_text!(WaitAnyError);

/// Waits until at least one of `objects` is ready; the indices of all that are, in order.
///
/// Ready is a state, not a change: what is ready already is reported at once. By the time you use it,
/// somebody else may have been faster, so use the calls that do not wait (`try_get`, `try_acquire`, …). An
/// event that is set and cleared again before this thread looks may be missed.
///
/// If a process dies that holds what is waited for, such as a permit or the other end of a pipe, the wait ends at
/// once, or where that cannot be told within about a tenth of a second.
///
/// ```
/// use procession::{Event, Queue, WaitAnyError, try_wait, wait};
///
/// let jobs: Queue<u32> = Queue::new()?;
/// let stop = Event::new()?;
/// assert!(matches!(try_wait(&[&jobs, &stop]), Err(WaitAnyError::WouldBlock)));
/// stop.set();
/// assert_eq!(wait(&[&jobs, &stop])?, [1]);
/// jobs.put(&7)?;
/// assert_eq!(wait(&[&jobs, &stop])?, [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`WaitAnyError::Interrupted`], [`WaitAnyError::Os`].
pub fn wait(objects: &[&dyn Waitable]) -> Result<Vec<usize>, WaitAnyError> {
    wait_until(objects, Deadline::NEVER)
}

/// The indices of all `objects` that are ready now. It asks about those who may have died, too.
///
/// # Errors
/// [`WaitAnyError::WouldBlock`].
pub fn try_wait(objects: &[&dyn Waitable]) -> Result<Vec<usize>, WaitAnyError> {
    wait_until(objects, Deadline::PASSED).map_err(|error| match error {
        WaitAnyError::TimedOut => WaitAnyError::WouldBlock,
        other => other,
    })
}

/// Waits at most `timeout` until at least one of `objects` is ready; otherwise as [`wait`].
///
/// ```
/// use procession::{Event, WaitAnyError, wait_timeout};
/// use std::time::Duration;
///
/// let [first, second] = [Event::new()?, Event::new()?];
/// match wait_timeout(&[&first, &second], Duration::from_millis(1)) {
///     Ok(ready) => println!("{ready:?} are set"),
///     Err(WaitAnyError::TimedOut) => println!("neither"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`WaitAnyError::TimedOut`]; otherwise as [`wait`].
pub fn wait_timeout(objects: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>, WaitAnyError> {
    wait_until(objects, Deadline::after(timeout))
}

fn wait_until(objects: &[&dyn Waitable], deadline: Deadline) -> Result<Vec<usize>, WaitAnyError> {
    let mut ready = indices(objects, |object| object.is_ready());
    while ready.is_empty() {
        // Who tries again and again for no time must learn of a death, too: it asks once before it gives up.
        let is_over = deadline.has_passed();
        if !is_over {
            let slice = if crash::has_no_slices() { Deadline::NEVER } else { Deadline::after(SLICE) };
            let slice = slice.min(deadline);
            if objects.len() <= CROWD && files(objects).is_empty() {
                let _ = sleep_watched(objects, None, slice);
            } else {
                sleep_in_threads(objects, slice)?;
            }
        }
        ready = indices(objects, |object| object.is_ready_after_all());
        if ready.is_empty() && is_over {
            return Err(WaitAnyError::TimedOut);
        }
        if ready.is_empty() && interrupt::is_wanted() {
            return Err(WaitAnyError::Interrupted);
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

/// Sleeps as [`sleep_on`] does, and after a millisecond until one dies whose death may make an object ready, too.
pub(crate) fn sleep_watched(
    objects: &[&dyn Waitable],
    alarm: Option<(&AtomicU32, u32)>,
    deadline: Deadline,
) -> Waited {
    let long_from = Deadline::after(LONG);
    let can_be_watched = objects.iter().any(|object| object.mortal().is_some());
    if !can_be_watched || deadline <= long_from {
        return sleep_on(objects, alarm, deadline);
    }
    match sleep_on(objects, alarm, long_from) {
        Waited::TimedOut => {}
        other => return other,
    }
    match watch_for(objects) {
        // It has slept for a millisecond: whoever finds no more than this does not find it without a pause.
        (_, true) => Waited::Woken,
        (_watching, false) => sleep_on(objects, alarm, deadline),
    }
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

/// As [`sleep_on`], for any objects, by threads that end with the call.
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
                let _ = sleep_watched(crowd, Some((&over, 0)), deadline);
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

#[cfg(test)]
mod tests {
    use super::{WaitAnyError, try_wait, wait, wait_timeout};
    use crate::waitable::Waitable;
    use crate::{Event, Latch};
    use procession_shm::Namespace;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// None of them is ready, now and for a while.
    fn times_out(all: &[&dyn Waitable]) -> bool {
        matches!(try_wait(all), Err(WaitAnyError::WouldBlock))
            && matches!(wait_timeout(all, Duration::from_millis(2)), Err(WaitAnyError::TimedOut))
    }

    #[test]
    fn a_latch_and_a_socket_are_waited_for_among_others() {
        let namespace = Namespace::private();
        let latch = Latch::options().namespace(&namespace).count(1).anonymous().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = OwnedFd::from(ours);
        let all: [&dyn Waitable; 2] = [&latch, &ours];
        assert!(times_out(&all));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&all).unwrap());
            theirs.write_all(b"x").unwrap();
            assert_eq!(waiting.join().unwrap(), [1]);
        });
        latch.arrive();
        assert_eq!(wait(&all).unwrap(), [0, 1]);
        let only: [&dyn Waitable; 1] = [&latch];
        assert_eq!(wait(&only).unwrap(), [0]);
    }

    #[test]
    fn more_things_than_the_kernel_takes_at_once() {
        let namespace = Namespace::private();
        let events: Vec<Event> =
            (0..300).map(|_| Event::options().namespace(&namespace).anonymous().unwrap()).collect();
        let all: Vec<&dyn Waitable> = events.iter().map(|event| event as &dyn Waitable).collect();
        assert!(times_out(&all));
        for last in [299, 0] {
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| wait(&all).unwrap());
                events[last].set();
                assert_eq!(waiting.join().unwrap(), [last]);
            });
            events[last].clear();
        }
    }
}

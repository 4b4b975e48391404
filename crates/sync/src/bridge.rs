//! The bridge between words in shared memory and those who do not sleep on words: descriptors in an event
//! loop, and tasks of an executor.
//!
//! One thread of the process, started by the first who wants to be told and asleep while nothing happens,
//! waits for up to 126 things that are words, and rings a bell for each that becomes ready; for each further
//! 126 there is one more. Things that are files (processes) have threads of their own, which poll. Rung, a
//! bell stays rung, and its thing is not looked at any more, until it is armed again.
//!
//! # If a process dies
//! All of this is the process's own. In a forked child the bells of the parent are the parent's: use those of
//! objects that the child asked for its own.

use crate::wait::{CROWD, sleep_watched};
use crate::waitable::{Waitable, Watch};
use procession_sys::{Deadline, PerProcess, eventfd, fork, futex};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the thread sleeps before it asks about those who may have died.
const SLICE: Duration = Duration::from_millis(100);

/// How long one who leaves waits at most for the thread to let go, and how often it looks.
const FAREWELL: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(1);

/// One thing that is watched.
struct Watched {
    object: Box<dyn Waitable + Send>,
    /// Tells the one who waits.
    ring: Box<dyn Fn() + Send + Sync>,
    /// When to tell in any case.
    until: Deadline,
    /// Whether the one who waits is still to be told.
    armed: AtomicBool,
}

/// A place at the bridge, for one thing and one who is told; left when it is dropped.
pub(crate) struct Watching {
    watched: Arc<Watched>,
    crowd: Arc<Crowd>,
}

impl Watching {
    /// Has `ring` called, by a thread of the bridge, as soon as `object` is ready, and at `until` in any case.
    ///
    /// # Errors
    /// When no thread can be started, or there are too many open files.
    pub(crate) fn new(
        object: Box<dyn Waitable + Send>,
        until: Deadline,
        ring: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let is_file = matches!(object.watch(), Watch::File(_));
        object.unwatch();
        let watched = Arc::new(Watched { object, ring: Box::new(ring), until, armed: AtomicBool::new(true) });
        let crowd = BRIDGE.get().watch(&watched, is_file)?;
        Ok(Self { watched, crowd })
    }

    /// Whether the bell was rung since it was armed.
    #[cfg(feature = "async")]
    pub(crate) fn has_rung(&self) -> bool {
        !self.watched.armed.load(Ordering::Acquire)
    }

    /// Has the bell rung once more, when the thing is ready again.
    pub(crate) fn arm(&self) {
        self.watched.armed.store(true, Ordering::Release);
        self.crowd.call();
    }

    /// Leaves, and waits for a moment until the thread has let go of the thing: who drops the last handle of
    /// an anonymous object may expect that it is gone.
    pub(crate) fn leave_for_good(&self) {
        if !self.leave() {
            return;
        }
        let patience = Deadline::after(FAREWELL);
        while Arc::strong_count(&self.watched) > 1 && !patience.has_passed() {
            let rounds = &self.crowd.rounds;
            let _ = futex::wait(rounds, rounds.load(Ordering::Acquire), Deadline::after(SOON));
        }
    }

    /// Has the bell rung no more; whether the bridge is this process's.
    fn leave(&self) -> bool {
        let is_ours = self.crowd.cookie == fork::cookie();
        if is_ours {
            self.crowd.members().retain(|one| !Arc::ptr_eq(one, &self.watched));
            self.crowd.call();
        }
        is_ours
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.leave();
    }
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
    /// For a thread that polls files: rung whenever `calls` changes.
    alarm: Option<OwnedFd>,
}

impl Crowd {
    fn new(cookie: u64, alarm: Option<OwnedFd>) -> Self {
        let (members, rounds, calls) = (Mutex::default(), AtomicU32::new(0), AtomicU32::new(0));
        Self { cookie, members, rounds, calls, alarm }
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Watched>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) {
        self.calls.fetch_add(1, Ordering::Release);
        match &self.alarm {
            Some(alarm) => eventfd::ring(alarm),
            None => drop(futex::wake_all(&self.calls)),
        }
    }

    /// What the thread does, as long as the process lives.
    fn run(&self) {
        loop {
            let calls = self.calls.load(Ordering::Acquire);
            let members = self.members().clone();
            let mut armed: Vec<&Watched> =
                members.iter().map(|one| &**one).filter(|one| one.armed.load(Ordering::Acquire)).collect();
            armed.retain(|one| {
                let is_ready = one.object.is_ready_after_all() || one.until.has_passed();
                if is_ready {
                    // First disarmed: one who arms it in between is told once more.
                    one.armed.store(false, Ordering::Release);
                    // A waker is the executor's: if it panics, the others are still to be told.
                    drop(catch_unwind(AssertUnwindSafe(|| (one.ring)())));
                }
                !is_ready
            });
            let objects: Vec<&dyn Waitable> = armed.iter().map(|one| &*one.object as &dyn Waitable).collect();
            let slice = if armed.is_empty() { Deadline::NEVER } else { Deadline::after(SLICE) };
            self.sleep(&objects, calls, armed.iter().map(|one| one.until).fold(slice, Deadline::min));
            drop(members);
            self.rounds.fetch_add(1, Ordering::Release);
            futex::wake_all(&self.rounds);
        }
    }

    /// Sleeps until something may have changed about one of `objects`, or about who is to be told.
    fn sleep(&self, objects: &[&dyn Waitable], calls: u32, deadline: Deadline) {
        let Some(alarm) = &self.alarm else {
            let _ = sleep_watched(objects, Some((&self.calls, calls)), deadline);
            return;
        };
        let mut files: Vec<BorrowedFd<'_>> = vec![alarm.as_fd()];
        files.extend(objects.iter().filter_map(|object| match object.watch() {
            Watch::File(file) => Some(file),
            Watch::Futex(..) => None,
        }));
        // What cannot be polled is looked at after the slice.
        if eventfd::wait_any(&files, deadline.remaining()).is_err() {
            procession_sys::clock::nap(SLICE);
        }
        eventfd::silence(alarm);
    }
}

/// The threads of one process. A forked child has none of them, and makes a bridge of its own.
#[derive(Default)]
struct Bridge(Mutex<Vec<Arc<Crowd>>>);

static BRIDGE: PerProcess<Bridge> = PerProcess::new(Bridge::default);

impl Bridge {
    /// Watches one thing more, by a thread that has room for it or by a new one.
    fn watch(&self, watched: &Arc<Watched>, is_file: bool) -> io::Result<Arc<Crowd>> {
        let mut crowds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room =
            |crowd: &&Arc<Crowd>| crowd.alarm.is_some() == is_file && crowd.members().len() < CROWD;
        let crowd = match crowds.iter().find(has_room) {
            Some(crowd) => Arc::clone(crowd),
            None => {
                let alarm = is_file.then(eventfd::create).transpose()?;
                let crowd = Arc::new(Crowd::new(fork::cookie(), alarm));
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
    use super::Watching;
    use crate::Event;
    use procession_shm::Namespace;
    use procession_sys::Deadline;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_bell_that_panics_keeps_none_from_the_others() {
        let [bad, good] =
            [(), ()].map(|()| Event::options().namespace(&Namespace::private()).anonymous().unwrap());
        let (rung, rings) = channel();
        let panics = Watching::new(Box::new(bad.clone()), Deadline::NEVER, || panic!("no bell")).unwrap();
        let ring = move || rung.send(()).unwrap();
        let tells = Watching::new(Box::new(good.clone()), Deadline::NEVER, ring).unwrap();
        bad.set();
        while panics.watched.armed.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        good.set();
        assert_eq!(rings.recv_timeout(Duration::from_secs(30)), Ok(()));
        drop((panics, tells));
    }
}

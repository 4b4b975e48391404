//! Deadlocks: who waits for whom, in a circle.
//!
//! A thread that has waited for longer than a slice (10 ms) shows in the namespace's table of waits what it
//! waits for, and which thread it last saw holding that; `crates/shm/src/waits.rs` says why a circle of such
//! sights is a deadlock for sure. Whoever wants to know reads the table, asks nobody, and takes no lock.
//!
//! An object created with `.detect_deadlock(true)` lets a thread that waits for it back out: of those in a
//! circle that may, the one whose wait was shown last does, so that one circle costs one wait.
//!
//! A writer of an [`RwLock`](crate::RwLock) waits for all who read, and is in a deadlock if it is in a circle
//! with any of them; but it shows one at a time. It shows one that waits for it, if there is one; otherwise
//! one of those that wait, each time another, so that two writers in one circle find each other.
//!
//! # If a process dies
//! Its waits are left out, and so a circle through it is none: those who wait for the dead are told that it
//! died.
//!
//! # Not promised
//! Circles through permits, conditions, barriers, events, latches or messages: nobody knows which thread
//! would release, notify, arrive, set or send; nor through a reader's wait for one of the 128 places of an
//! `RwLock`. Threads beyond the 2,047th of their process, and waits that found the table full, are not seen.
//! A circle is found when each of its waits was looked at once more after the last began: after 0.1 s, in a
//! crowd after a second. A circle through several writers of `RwLock`s, each of which waits for several
//! readers that wait, is found when all of them happen to show those in the circle: after some such times.

use crate::holder::Holder;
use procession_shm::{
    Entry, Kind, Namespace, OpenError, OwnerId, Parameter, Registration, Segment, ShownWait, Waiting,
    register,
};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

/// Which parameter of a lock says whether its waiters back out of deadlocks.
pub(crate) const PARAMETER: usize = 1;

/// A circle of threads, each of which waits for what the next one holds; the last waits for the first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deadlock {
    /// The threads, from the one that has waited longest on.
    pub threads: Vec<BlockedThread>,
}

/// A thread that has waited for longer than a few milliseconds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BlockedThread {
    /// The thread's process.
    pub process: Holder,
    /// The thread's number in the kernel, in its own pid namespace.
    pub tid: u32,
    /// The name of the object it waits for; `None` if that was removed.
    pub object: Option<String>,
    /// The kind of that object, as `procession ls` shows it.
    pub kind: &'static str,
    /// The process that holds that object, if it is one that a thread holds; one of several readers.
    pub holder: Option<Holder>,
    /// For how long it has waited.
    pub since: Duration,
    /// Whether the wait has a timeout, and so ends by itself.
    pub is_timed: bool,
}

impl fmt::Display for BlockedThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.object.as_deref().unwrap_or("that was removed");
        write!(f, "{}, thread {}, ", self.process, self.tid)?;
        write!(f, "has waited {:.1} s for the {} {object}", self.since.as_secs_f64(), self.kind)?;
        match &self.holder {
            Some(holder) => write!(f, ", held by {holder}"),
            None => Ok(()),
        }
    }
}

/// The deadlocks in the process's own namespace.
///
/// # Errors
/// As [`deadlocks_in`].
pub fn deadlocks() -> Result<Vec<Deadlock>, OpenError> {
    deadlocks_in(&Namespace::current()?)
}

/// The deadlocks in `namespace`: circles of threads that wait for what another thread holds. Each that is
/// named exists while this is called; if one of its waits has a timeout, it will end by itself.
///
/// | waits for | are covered |
/// |---|---|
/// | a [`Lock`](crate::Lock), [`RLock`](crate::RLock), [`Value`](crate::Value), [`Array`](crate::Array) | yes |
/// | an [`RwLock`](crate::RwLock), to read or to write, while others write or read | yes |
/// | an `RwLock` that has no room for more readers | no |
/// | a [`Once`](crate::Once) that another thread is running | yes |
/// | a [`Condition`](crate::Condition) | no; but its lock, while it is acquired again, is |
/// | [`Semaphore`](crate::Semaphore), [`BoundedSemaphore`](crate::BoundedSemaphore), [`Event`](crate::Event), [`Latch`](crate::Latch), [`Barrier`](crate::Barrier), queues, pipes, children | no: nobody knows who would end the wait |
///
/// [`blocked_in`] lists waits of both sorts, but for pipes and children.
///
/// ```
/// let namespace = procession::Namespace::private();
/// assert!(procession::deadlocks_in(&namespace)?.is_empty());
/// # Ok::<(), procession::OpenError>(())
/// ```
///
/// # Errors
/// When `/dev/shm` cannot be read, or this process cannot register in the namespace.
pub fn deadlocks_in(namespace: &Namespace) -> Result<Vec<Deadlock>, OpenError> {
    let Some((registration, waits, entries)) = look_at(namespace)? else { return Ok(Vec::new()) };
    let describe = |wait: &Waiting| describe(registration, &entries, wait);
    let circles = circles(&waits).into_iter().filter(|circle| still_stands(registration, circle));
    Ok(circles.map(|circle| Deadlock { threads: circle.iter().map(describe).collect() }).collect())
}

/// Every thread in `namespace` that has waited for longer than a few milliseconds, the longest first.
///
/// # Errors
/// As [`deadlocks_in`].
pub fn blocked_in(namespace: &Namespace) -> Result<Vec<BlockedThread>, OpenError> {
    let Some((registration, mut waits, entries)) = look_at(namespace)? else { return Ok(Vec::new()) };
    waits.sort_by_key(|wait| wait.since_ns);
    Ok(waits.iter().map(|wait| describe(registration, &entries, wait)).collect())
}

/// The registration, the waits and the objects of the namespace; `None` if nobody waits there.
fn look_at(namespace: &Namespace) -> Result<Option<Seen>, OpenError> {
    if !namespace.has_registry() {
        // To register would make one.
        return Ok(None);
    }
    let registration = register(namespace)?;
    let waits = registration.waits();
    // The objects are looked at only if there is something to be said of them.
    if waits.is_empty() { Ok(None) } else { Ok(Some((registration, waits, namespace.list()?))) }
}

type Seen = (&'static Registration, Vec<Waiting>, Vec<Entry>);

fn describe(registration: &Registration, entries: &[Entry], wait: &Waiting) -> BlockedThread {
    let found = entries.iter().find_map(|entry| {
        let header = entry.header.as_ref().ok().filter(|header| header.instance == wait.object)?;
        Some((entry.name.clone(), header.kind.name()))
    });
    let (object, kind) = found.map_or((None, "object"), |(name, kind)| (Some(name), kind));
    let process = |thread: u64| Holder::in_registry(registration, OwnerId::from_bits(thread));
    BlockedThread {
        process: process(wait.waiter),
        tid: wait.tid,
        object,
        kind,
        holder: (wait.holder != 0).then(|| process(wait.holder)),
        since: wait.since,
        is_timed: wait.is_timed,
    }
}

/// The circles among `waits`, each once, from its oldest wait on. Everybody waits for at most one other.
fn circles(waits: &[Waiting]) -> Vec<Vec<Waiting>> {
    let by_waiter: HashMap<u64, &Waiting> = waits.iter().map(|wait| (wait.waiter, wait)).collect();
    let next = |wait: &Waiting| by_waiter.get(&wait.holder).copied().filter(|next| wait.waits_for(next));
    let mut done = HashSet::new();
    let mut found = Vec::new();
    for start in waits {
        let mut path: Vec<Waiting> = Vec::new();
        let mut here = Some(start);
        while let Some(wait) = here.filter(|wait| done.insert(wait.waiter)) {
            path.push(*wait);
            here = next(wait);
        }
        let Some(closing) = here else { continue };
        if let Some(first) = path.iter().position(|wait| wait.waiter == closing.waiter) {
            found.push(from_the_oldest(path.split_off(first)));
        }
    }
    found
}

fn from_the_oldest(mut circle: Vec<Waiting>) -> Vec<Waiting> {
    let oldest =
        circle.iter().enumerate().min_by_key(|(_, wait)| wait.since_ns).map_or(0, |(index, _)| index);
    circle.rotate_left(oldest);
    circle
}

/// Whether all of the circle's waits still go on, so that there was an instant at which they all did.
fn still_stands(registration: &Registration, circle: &[Waiting]) -> bool {
    circle.iter().all(|wait| registration.wait_of(wait.waiter).is_some_and(|now| now.began == wait.began))
}

/// The circle that this thread's wait is part of.
fn circle_of(registration: &Registration, wait: &ShownWait) -> Option<Vec<Waiting>> {
    let mine = wait.as_seen()?;
    let circle = chain(registration, mine, mine.waiter)?;
    let is_alive = |wait: &Waiting| registration.is_dead(OwnerId::from_bits(wait.waiter)) == Ok(false);
    (circle.iter().all(is_alive) && still_stands(registration, &circle)).then_some(circle)
}

/// The waits from `first` on, each for what the next one's thread holds, up to the one for what the thread
/// `last` holds while it waits; `None` if they lead elsewhere.
fn chain(registration: &Registration, first: Waiting, last: u64) -> Option<Vec<Waiting>> {
    let mut chain = vec![first];
    let mut met = HashSet::new();
    loop {
        let here = chain.last()?;
        let next = registration.wait_of(here.holder).filter(|next| here.waits_for(next))?;
        if next.waiter == last {
            return Some(chain);
        }
        if !met.insert(next.waiter) {
            return None; // A circle, but of others.
        }
        chain.push(next);
    }
}

/// How a thread that holds something, together with others, stands to a thread that waits for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// The thread waits for nothing.
    Runs,
    /// The thread waits, but as far as is known not for the other.
    Waits,
    /// The thread waits for the other, directly or through more.
    WaitsForIt,
}

/// How `holder`, as it stands in a lock word, stands to this thread, whose wait is shown.
pub(crate) fn standing(segment: &Segment, holder: u64, wait: &ShownWait) -> Standing {
    let registration = segment.registration();
    let (Some(theirs), Some(mine)) = (registration.wait_of(holder), wait.as_seen()) else {
        return Standing::Runs;
    };
    match chain(registration, theirs, mine.waiter) {
        Some(_) => Standing::WaitsForIt,
        None => Standing::Waits,
    }
}

/// Whether this thread, whose wait is shown, is in a deadlock and is the one to back out of it.
#[must_use]
pub(crate) fn is_ours_to_break(segment: &Segment, wait: &ShownWait) -> bool {
    if !is_asked_for(segment) {
        return false;
    }
    let Some(circle) = circle_of(segment.registration(), wait) else { return false };
    let chosen = circle.iter().filter(|wait| wait.backs_out).max_by_key(|wait| wait.began);
    chosen.is_some_and(|chosen| chosen.waiter == circle[0].waiter)
}

/// Whether those who wait for the segment's object back out of deadlocks.
pub(crate) fn is_asked_for(segment: &Segment) -> bool {
    let header = segment.header();
    let is_lock =
        matches!(header.kind, Kind::LOCK | Kind::RLOCK | Kind::RWLOCK | Kind::LOCK_GROUP | Kind::RLOCK_GROUP);
    is_lock && header.parameters[PARAMETER] != 0
}

/// The header's parameter for an object whose waiters may back out of deadlocks.
pub(crate) fn parameter(detect: Option<bool>) -> Parameter {
    Parameter::said("detect_deadlock", detect.map(u64::from), 0)
}

#[cfg(test)]
mod tests {
    use super::deadlocks_in;
    use crate::{Lock, LockError};
    use procession_shm::{Namespace, WaitNote, show_wait};
    use std::sync::Barrier;

    #[test]
    fn a_wait_that_began_during_the_look_is_not_counted_until_the_next_look() {
        let lock = Lock::options().namespace(&Namespace::private()).anonymous().unwrap();
        let (_, segment) = lock.word();
        let me = segment.registration().current_owner().unwrap().to_bits();
        let [one, other] = [1, 2].map(|thread| me | thread << 16);
        let looking = show_wait(segment, one, WaitNote::default()).unwrap();
        let mut late = None;
        looking.sees(|| {
            late = show_wait(segment, other, WaitNote::default());
            other
        });
        let late = late.unwrap();
        let waits_for_it = || looking.as_seen().unwrap().waits_for(&late.as_seen().unwrap());
        assert!(!waits_for_it(), "it began after the tick was drawn");
        looking.sees(|| other);
        assert!(waits_for_it());
    }

    #[test]
    fn two_threads_of_one_process_are_a_deadlock_and_one_of_them_is_told() {
        let namespace = Namespace::private();
        assert!(deadlocks_in(&namespace).unwrap().is_empty());
        let lock = || Lock::options().namespace(&namespace).detect_deadlock(true).anonymous().unwrap();
        let (east, west) = (lock(), lock());
        let both = Barrier::new(2);
        let cross = |first: &Lock, second: &Lock| {
            let _held = first.acquire().unwrap();
            both.wait();
            second.acquire().map(drop)
        };
        let outcomes = std::thread::scope(|scope| {
            let one = scope.spawn(|| cross(&east, &west));
            let two = scope.spawn(|| cross(&west, &east));
            [one.join().unwrap(), two.join().unwrap()]
        });
        let told =
            outcomes.iter().filter(|outcome| matches!(outcome, Err(LockError::Deadlock { .. }))).count();
        assert_eq!((told, outcomes.iter().filter(|outcome| outcome.is_ok()).count()), (1, 1));
        assert!(deadlocks_in(&namespace).unwrap().is_empty());
    }
}

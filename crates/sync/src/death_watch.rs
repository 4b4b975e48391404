//! The watcher: one thread of this process that learns at once of the deaths of those for whom others of its
//! threads wait.
//!
//! A thread that has waited for a millisecond names the processes that it waits for, and the word on which it
//! sleeps. The watcher polls a pidfd of each of them. When one has ended, and its lifeline is free, it wakes one
//! of this process's sleepers on each word concerned: that one finds its word unchanged, asks about all that it
//! waits for, and does what the object's protocol does at the end of a slice. The watcher declares nobody dead
//! and changes no shared memory. Without it, every sleeper asks at the ends of its slices. Why it is so, and what
//! was refused, is said in `docs/design/0012-deaths-at-once.md`.
//!
//! | watcher's thread | what brings it about |
//! |---|---|
//! | none | the beginning; nobody waits, and nobody has since it last looked; no descriptor for its bell, or not one thread more |
//! | begun | the first thread that waits for a millisecond, with the table locked |
//! | polls | after a second, or more if somebody waits all the time, it looks whether anybody waits |
//!
//! | a process that is watched | what brings it about |
//! |---|---|
//! | lives: its pidfd is polled | the first sleeper that names it |
//! | has ended, and lives by its ward: the ward's pidfd is polled | its pidfd is readable, and the ward lives |
//! | has ended: no pidfd | the pidfd is readable |
//! | – again and again: one sleeper of each word is woken | its lifeline is free; also when nobody slept yet |
//! | forgotten | no word is concerned any more; or it is too late for it to matter, or its pidfd was closed by the program; or it makes room for another while nobody waits for it |
//!
//! # Invariants
//! 1. A word is woken only under the table's lock, and its sleeper stands in the table as long as it may use the
//!    word: so what is woken is that word, or nothing.
//! 2. The thread takes no lock but the table's, which is a process's own: a copy of the process misses nothing.
//!
//! # If a process dies
//! All of this is the process's own. A forked child has no watcher, finds none of its parent's table, and begins
//! anew. A program that is executed has nothing of it.

use crate::waitable::{Waitable, Watch};
use procession_shm::{OwnerId, Registration, Segment, Sight};
use procession_sys::futex::{self, Sleepers};
use procession_sys::{
    Deadline, KeptFd, POLL_SET_MAX, PerProcess, PollSet, clock, eventfd, fork, forking, set_thread_name,
    start_lean, thread_id,
};
use std::ffi::CStr;
use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The thread polls, asks, and wakes.
const STACK_BYTES: usize = 64 << 10;
/// How many processes are watched at most: beside them the bell is polled.
const MOST: usize = POLL_SET_MAX - 1;
/// After how long the thread looks whether anybody waits. If somebody does, it looks after twice as long the next
/// time, up to the longest: then it costs nothing that could be measured. Whoever leaves does not tell it, because
/// that would cost him as much as his wait.
const LOOK_NS: u64 = 1_000_000_000;
const LONGEST_LOOK_NS: u64 = 16_000_000_000;
/// How long nobody tries to start a thread after that has failed.
const AGAIN_NS: u64 = 1_000_000_000;
/// When a sleeper is woken once more: after so long if there was none, because who was about to sleep is then
/// asleep; and after so long if there was one, and somebody is still concerned.
const NOBODY_SLEPT_NS: u64 = 100_000;
const SOMEBODY_SLEPT_NS: u64 = 1_000_000;
/// How often, each time after twice as long. After that only slices help.
const TRIES: u32 = 8;

/// How often somebody looks whether the thread is gone.
const LOOK: Duration = Duration::from_micros(100);

/// The thread's name, as `ps -L` shows it.
const NAME: &CStr = c"procession-dead";

static WATCHER: PerProcess<Watcher> =
    PerProcess::new(|| Watcher { cookie: fork::cookie(), table: Mutex::default() });

#[derive(Debug)]
struct Watcher {
    cookie: u64,
    table: Mutex<Table>,
}

impl Watcher {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thread {
    #[default]
    None,
    Begun,
    Runs(u32),
}

#[derive(Debug, Default)]
struct Table {
    thread: Thread,
    /// The thread before: it may not be gone for the kernel yet.
    former: u32,
    /// What the thread hears, and what is rung: both are there while the thread is.
    bell: Option<(KeptFd, KeptFd)>,
    /// When a thread may be started.
    start_ns: u64,
    /// How many [`Watching`] there are.
    sleepers: usize,
    /// When the thread looks whether anybody waits, how long it has not then, and whether somebody has come
    /// meanwhile.
    look_at_ns: u64,
    look_after_ns: u64,
    has_been_used: bool,
    /// Each keeps its place while the thread polls.
    watched: Vec<Option<Watched>>,
    ids: u64,
}

/// A process that is watched.
#[derive(Debug)]
struct Watched {
    id: u64,
    registration: &'static Registration,
    owner: OwnerId,
    /// There until the process has ended.
    end: Option<KeptFd>,
    /// Whether the thread polls `end` now.
    is_polled: bool,
    /// Of one that has ended: how often sleepers were to be woken, and when they are again.
    tries: u32,
    next_ns: u64,
    words: Vec<Word>,
}

/// A word on which some of this process's threads sleep.
#[derive(Debug)]
struct Word {
    place: Place,
    kind: Sleepers,
    /// Where each of them has it mapped: not all by the same handle of the object.
    sleepers: Vec<usize>,
}

/// Which word of which object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    instance: u64,
    offset: usize,
}

/// A sleeper's place in the table, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    watcher: &'static Watcher,
    place: Place,
    address: usize,
    /// Those for whom it waits, whether they are watched or not.
    owners: Vec<OwnerId>,
    /// Those who are watched, by their numbers in the table.
    ids: Vec<u64>,
}

/// Watches those of `owners` who can be watched, for a thread that is about to sleep on a `word` of the segment's
/// object as one of the sleepers `kind`, which are this process's; and whether one of them is dead already.
pub(crate) fn watch(
    segment: &Segment,
    word: &AtomicU32,
    kind: Sleepers,
    owners: Vec<OwnerId>,
) -> (Option<Watching>, bool) {
    let (watcher, registration) = (WATCHER.get(), segment.registration());
    let address = word.as_ptr().addr();
    let first = segment.mapping().at::<AtomicU32>(0).map_or(0, |first| first.as_ptr().addr());
    let place = Place { instance: segment.header().instance.low(), offset: address.wrapping_sub(first) };
    let mut watching = Watching { watcher, place, address, owners, ids: Vec::new() };
    let mut table = watcher.table();
    table.sleepers += 1;
    table.has_been_used = true;
    let mut is_one_dead = false;
    for &owner in &watching.owners {
        // Whoever asks is alive; a thread of this process that ended is found at the end of a slice.
        if registration.current_owner() == Some(owner) {
            continue;
        }
        match table.watch(registration, owner, (place, address), kind) {
            Sight::Dead => is_one_dead = true,
            Sight::Alive(id) if !watching.ids.contains(&id) => watching.ids.push(id),
            _ => {}
        }
    }
    let is_seen = !watching.ids.is_empty() && table.must_run();
    drop(table);
    (is_seen.then_some(watching), is_one_dead)
}

/// Watches those whose death may make one of `objects` ready, for a thread that is about to sleep on the words of all
/// of them; and whether one of those is dead already.
pub(crate) fn watch_for(objects: &[&dyn Waitable]) -> (Vec<Watching>, bool) {
    let mut is_one_dead = false;
    let watching = |object: &&dyn Waitable| {
        let (segment, owners) = (object.mortal()?, object.concerned());
        let Watch::Futex(word, _) = object.watch() else { return None };
        let (watching, is_dead) = watch(segment, word, kind_in(segment), owners);
        object.unwatch();
        is_one_dead |= is_dead;
        watching
    };
    (objects.iter().filter_map(watching).collect(), is_one_dead)
}

/// Which of the sleepers of an object's words are this process's.
pub(crate) fn kind_in(segment: &Segment) -> Sleepers {
    Sleepers::kind(segment.registration().current_owner().map_or(0, OwnerId::slot))
}

/// The thread that watches, and the one before it, which may not be gone for the kernel yet: they hold nothing
/// that `fork()` would leave held. `None` while one begins.
#[must_use]
pub fn watcher_threads() -> Option<[u32; 2]> {
    let table = WATCHER.get().table();
    match table.thread {
        Thread::Begun => None,
        Thread::None => Some([table.former, 0]),
        Thread::Runs(thread) => Some([table.former, thread]),
    }
}

/// Has the thread end, unless somebody waits, and waits until it is gone, for at most `patience`.
pub fn dismiss_watcher(patience: Duration) {
    let deadline = Deadline::after(patience);
    let is_there = || {
        let mut table = WATCHER.get().table();
        if table.sleepers == 0 && table.thread != Thread::None {
            (table.look_at_ns, table.has_been_used) = (0, false);
            table.ring();
        }
        table.thread != Thread::None || is_named(table.former)
    };
    while is_there() && !deadline.has_passed() {
        clock::nap(LOOK);
    }
}

fn is_named(thread: u32) -> bool {
    forking::thread_name(thread).is_some_and(|name| name.as_bytes() == NAME.to_bytes())
}

impl Watching {
    /// Whether it is for these, on this word, and each who was watched still is.
    pub(crate) fn is_still(&self, word: &AtomicU32, owners: &[OwnerId]) -> bool {
        self.is_ours() && self.address == word.as_ptr().addr() && self.owners == owners && {
            let table = self.watcher.table();
            self.ids.iter().all(|id| table.place_of(*id).is_some())
        }
    }

    /// Whether the watcher is this process's: a hook of the thread that waits may have forked. In the copy nobody would
    /// ever open a lock that a thread of the parent held.
    fn is_ours(&self) -> bool {
        self.watcher.cookie == fork::cookie()
    }

    /// How many threads of this process sleep on the word, and are told of the same deaths.
    pub(crate) fn sleepers(&self) -> usize {
        if !self.is_ours() {
            return 1;
        }
        let table = self.watcher.table();
        let watched = self.ids.first().and_then(|&id| table.watched[table.place_of(id)?].as_ref());
        let word = watched.and_then(|one| one.words.iter().find(|word| word.place == self.place));
        word.map_or(1, |word| word.sleepers.len())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if self.is_ours() {
            self.watcher.table().leave((self.place, self.address), &self.ids);
        }
    }
}

impl Table {
    fn place_of(&self, id: u64) -> Option<usize> {
        self.watched.iter().position(|place| place.as_ref().is_some_and(|watched| watched.id == id))
    }

    /// Has one more sleeper on the word that it has at this address woken when the owner has ended; its number in the table.
    fn watch(
        &mut self,
        registration: &'static Registration,
        owner: OwnerId,
        at: (Place, usize),
        kind: Sleepers,
    ) -> Sight<u64> {
        let is_it = |one: &&mut Watched| one.owner == owner && std::ptr::eq(one.registration, registration);
        if let Some(known) = self.watched.iter_mut().flatten().find(is_it) {
            if known.end.is_none() && registration.is_dead(owner) == Ok(true) {
                return Sight::Dead;
            }
            known.join(at, kind);
            return Sight::Alive(known.id);
        }
        let Some(place) = self.free_place() else { return Sight::Unseen };
        let end = match registration.watch_end(owner) {
            Sight::Alive(end) => end,
            Sight::Dead => return Sight::Dead,
            Sight::Unseen => return Sight::Unseen,
        };
        self.ids += 1;
        let (id, end) = (self.ids, Some(end));
        let (is_polled, tries, next_ns, words) = (false, 0, 0, Vec::new());
        let mut new = Watched { id, registration, owner, end, is_polled, tries, next_ns, words };
        new.join(at, kind);
        self.watched[place] = Some(new);
        Sight::Alive(id)
    }

    /// A place for one more: of one for whom nobody waits, if there is no other.
    fn free_place(&mut self) -> Option<usize> {
        if let Some(free) = self.watched.iter().position(Option::is_none) {
            return Some(free);
        }
        if self.watched.len() < MOST {
            self.watched.push(None);
            return Some(self.watched.len() - 1);
        }
        let is_idle = |place: &Option<Watched>| place.as_ref().is_some_and(|one| one.words.is_empty());
        let idle = self.watched.iter().position(is_idle)?;
        self.watched[idle] = None;
        Some(idle)
    }

    /// Sees to it that the thread polls all who are watched; whether it does.
    fn must_run(&mut self) -> bool {
        if self.thread == Thread::None && (clock::now_ns() < self.start_ns || self.start().is_err()) {
            self.watched.clear();
            return false;
        }
        let is_new = |one: &Watched| one.end.is_some() && !one.is_polled;
        !self.watched.iter().flatten().any(is_new) || self.ring()
    }

    fn start(&mut self) -> io::Result<()> {
        let start = || {
            let (hears, rings) = eventfd::create_pipe()?;
            let bell = (KeptFd::keep(hears)?, KeptFd::keep(rings)?);
            start_lean(STACK_BYTES, run).map(|()| bell)
        };
        let bell = start().inspect_err(|_| self.start_ns = clock::now_ns() + AGAIN_NS)?;
        (self.bell, self.thread) = (Some(bell), Thread::Begun);
        (self.look_at_ns, self.look_after_ns) = (clock::now_ns() + LOOK_NS, LOOK_NS);
        Ok(())
    }

    /// Has the thread look at the table; whether it will, because the program may have closed the bell.
    fn ring(&self) -> bool {
        // Both: without somebody who hears, to write would be answered by SIGPIPE.
        let bell = self.bell.as_ref().and_then(|(hears, rings)| hears.get().and_then(|_| rings.get()));
        bell.map(eventfd::ring).is_some()
    }

    fn leave(&mut self, at: (Place, usize), ids: &[u64]) {
        for watched in self.watched.iter_mut().flatten().filter(|one| ids.contains(&one.id)) {
            watched.leave(at);
        }
        self.sleepers -= 1;
    }

    /// Says what the thread polls next, and for how long; `Err` when it is to end instead.
    fn prepare(&mut self, set: &mut PollSet) -> Result<Duration, Ended> {
        let now = clock::now_ns();
        if now >= self.look_at_ns {
            if self.sleepers == 0 && !self.has_been_used {
                return Err(self.end());
            }
            self.look_after_ns = match self.sleepers {
                0 => LOOK_NS,
                _ => (self.look_after_ns * 2).min(LONGEST_LOOK_NS),
            };
            self.look_at_ns = now + self.look_after_ns;
            self.has_been_used = false;
            // Descriptors are kept for those who come again soon.
            self.watched.iter_mut().for_each(|place| drop(place.take_if(|one| one.words.is_empty())));
        }
        set.clear();
        set.push(self.bell.as_ref().map(|(hears, _)| hears));
        let mut next_ns = self.look_at_ns;
        for place in &mut self.watched {
            let end = place.as_mut().and_then(|one| {
                if one.end.is_none() {
                    next_ns = next_ns.min(one.next_ns);
                }
                one.is_polled = one.end.is_some();
                one.end.as_ref()
            });
            set.push(end);
        }
        Ok(Duration::from_nanos(next_ns.saturating_sub(now)))
    }

    /// Sees to what was polled, and to those who have ended.
    fn look(&mut self, set: &PollSet) -> Result<(), Ended> {
        if set.is_ready(0) {
            // The program may have closed it: then nobody could ring.
            let hears = self.bell.as_ref().and_then(|(hears, _)| hears.get());
            let Some(hears) = hears else { return Err(self.end()) };
            eventfd::silence(hears);
        }
        let now = clock::now_ns();
        for (index, place) in self.watched.iter_mut().enumerate() {
            let Some(watched) = place else { continue };
            let is_ready = std::mem::take(&mut watched.is_polled) && set.is_ready(index + 1);
            let is_forgotten = match is_ready {
                // The program has closed it.
                true if watched.end.as_ref().and_then(KeptFd::get).is_none() => true,
                true => {
                    let ended = watched.end.take();
                    let is_forgotten = watched.wake_sleepers(now);
                    // After the wake: to close it takes time.
                    drop(ended);
                    is_forgotten
                }
                false => watched.end.is_none() && now >= watched.next_ns && watched.wake_sleepers(now),
            };
            if is_forgotten {
                *place = None;
            }
        }
        Ok(())
    }

    /// The thread ends: whoever comes next starts another.
    fn end(&mut self) -> Ended {
        (self.thread, self.former, self.bell) = (Thread::None, thread_id(), None);
        self.watched.clear();
        Ended
    }
}

/// The thread is to end.
struct Ended;

impl Watched {
    fn join(&mut self, (place, address): (Place, usize), kind: Sleepers) {
        match self.words.iter_mut().find(|word| word.place == place) {
            Some(word) => word.sleepers.push(address),
            None => self.words.push(Word { place, kind, sleepers: vec![address] }),
        }
    }

    fn leave(&mut self, (place, address): (Place, usize)) {
        let Some(index) = self.words.iter().position(|word| word.place == place) else { return };
        let sleepers = &mut self.words[index].sleepers;
        if let Some(its) = sleepers.iter().position(|&its| its == address) {
            sleepers.swap_remove(its);
        }
        if sleepers.is_empty() {
            self.words.swap_remove(index);
        }
    }

    /// Of one that has ended: wakes one sleeper of each word, if it is dead, and watches its ward, if it lives by that;
    /// whether it is to be forgotten.
    fn wake_sleepers(&mut self, now: u64) -> bool {
        if self.words.is_empty() || self.tries == TRIES {
            return true;
        }
        let mut has_missed = false;
        if self.registration.is_dead(self.owner) == Ok(true) {
            for word in &self.words {
                // One that has not gone to sleep yet is woken the next time.
                let address = word.sleepers.last().copied().unwrap_or(0);
                has_missed |= !futex::wake_one_among(word.kind, address);
            }
        } else if let Some(end) = self.registration.watch_ward(self.owner) {
            // The kernel kills the ward a moment after its guardian: when that has been done, it shows.
            self.end = Some(end);
            return false;
        }
        let pause = if has_missed { NOBODY_SLEPT_NS } else { SOMEBODY_SLEPT_NS };
        self.next_ns = now + (pause << self.tries);
        self.tries += 1;
        false
    }
}

/// What the thread does.
fn run() {
    set_thread_name(NAME);
    let watcher = WATCHER.get();
    watcher.table().thread = Thread::Runs(thread_id());
    let mut set = PollSet::default();
    loop {
        let prepared = watcher.table().prepare(&mut set);
        let Ok(timeout) = prepared else { return };
        let polled = set.wait(Some(timeout));
        let mut table = watcher.table();
        if polled.is_err() {
            // This process may not have so many descriptors open any more.
            table.start_ns = clock::now_ns() + AGAIN_NS;
            table.end();
            return;
        }
        if table.look(&set).is_err() {
            return;
        }
    }
}

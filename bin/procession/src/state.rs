//! What an object is in at this moment, whatever types a program keeps in it.

use procession::shm::{Kind, View};
use procession::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Group, Holder, JoinableQueue, Latch, List, Lock, Map,
    Once, Queue, RLock, RwLock, Semaphore, Value,
};
use procession_terminal::output::number_of;
use std::time::Duration;

/// What an object is in, in a few words and in numbers.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `free`, `held`, `2 of 8 arrived`, `closed`.
    pub(crate) text: String,
    /// Whoever is dead among them has not been noticed yet.
    pub(crate) holders: Vec<Held>,
    /// Names for machines, and numbers.
    pub(crate) figures: Vec<(&'static str, u64)>,
    /// For how long the item is leased that was leased first.
    pub(crate) oldest_lease: Option<Duration>,
}

/// A process that holds the object, or a part of it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) holder: Holder,
    /// `exclusive`, `shared`, `3 permits`.
    pub(crate) how: String,
    /// How many permits, of a semaphore; 1 of a lock.
    pub(crate) permits: Option<usize>,
}

impl Held {
    pub(crate) fn alone(holder: Holder) -> Self {
        Self { holder, how: "exclusive".to_owned(), permits: Some(1) }
    }

    pub(crate) fn shared(holder: Holder) -> Self {
        Self { holder, how: "shared".to_owned(), permits: Some(1) }
    }

    pub(crate) fn permits((holder, permits): (Holder, usize)) -> Self {
        Self { holder, how: number_of(permits as u64, "permit"), permits: Some(permits) }
    }
}

/// What the object is in; `None` if it is gone, cannot be read, or is nothing that has a state.
///
/// It is looked at through a mapping of its own: nobody is attached, and no lock is taken that anybody else sees.
pub(crate) fn of(view: &View) -> Option<State> {
    match view.kind() {
        Kind::LOCK => view.object().map(|one: Lock| {
            locked(one.holder(), one.is_inconsistent())
                .with_deaths(one.is_inconsistent(), one.n_owner_deaths())
                .counting("tokens", one.n_fencing_tokens())
        }),
        Kind::RLOCK => view.object().map(|one: RLock| {
            locked(one.holder(), one.is_inconsistent())
                .with_deaths(one.is_inconsistent(), one.n_owner_deaths())
                .counting("tokens", one.n_fencing_tokens())
        }),
        Kind::RWLOCK => view.object().map(|one| of_rwlock(&one)),
        Kind::SEMAPHORE => {
            view.object().map(|one: Semaphore| counted(one.available(), one.max(), one.holders()))
        }
        Kind::BOUNDED_SEMAPHORE => {
            view.object().map(|one: BoundedSemaphore| counted(one.available(), one.max(), one.holders()))
        }
        Kind::EVENT => view.object().map(|one| of_event(&one)),
        Kind::LATCH => view.object().map(|one| of_latch(&one)),
        Kind::ONCE => view.object().map(|one: Once| {
            let is_done = one.is_done();
            State::said(if is_done { "done" } else { "not done" }).with("done", is_done.into())
        }),
        Kind::BARRIER => view.object().map(|one| of_barrier(&one)),
        Kind::CONDITION => view.object().map(|one| of_condition(&one)),
        Kind::VALUE => view.object().map(|one: Value<u8>| locked(one.holder(), false)),
        Kind::ARRAY => {
            view.object().map(|one: Array<u8>| locked(one.holder(), false).with("elements", one.len()))
        }
        Kind::LOCK_GROUP => view.object().map(|group: Group<Lock>| {
            of_locks(group.iter().map(|one| (one.holder(), one.is_inconsistent(), one.n_owner_deaths())))
        }),
        Kind::RLOCK_GROUP => view.object().map(|group: Group<RLock>| {
            of_locks(group.iter().map(|one| (one.holder(), one.is_inconsistent(), one.n_owner_deaths())))
        }),
        Kind::EVENT_GROUP => view.object().map(|group: Group<Event>| {
            let set = group.iter().filter(Event::is_set).count();
            State::said(format!("{set} of {} set", group.len())).with("objects", group.len()).with("set", set)
        }),
        Kind::QUEUE => view.object().map(|one| of_queue(&one)),
        Kind::JOINABLE_QUEUE => view.object().map(|one| of_joinable(&one)),
        Kind::MAP => {
            view.object().map(|one: Map<(), ()>| collection(one.len().ok(), one.holder(), "entry", "entries"))
        }
        Kind::LIST => {
            view.object().map(|one: List<()>| collection(one.len().ok(), one.holder(), "element", "elements"))
        }
        _ => None,
    }
}

impl State {
    fn said(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn with(mut self, name: &'static str, number: usize) -> Self {
        self.figures.push((name, number as u64));
        self
    }

    /// What only grows: see `rates.rs`.
    fn counting(mut self, name: &'static str, number: u64) -> Self {
        self.figures.push((name, number));
        self
    }

    fn with_deaths(self, is_inconsistent: bool, deaths: u32) -> Self {
        self.with("inconsistent", is_inconsistent.into()).with("owner_deaths", deaths as usize)
    }

    fn held_by(mut self, holders: impl IntoIterator<Item = Holder>, held: fn(Holder) -> Held) -> Self {
        self.holders.extend(holders.into_iter().map(held));
        self
    }
}

fn locked(holder: Option<Holder>, is_inconsistent: bool) -> State {
    let text = match &holder {
        Some(holder) if holder.is_dead => "its holder died",
        Some(_) => "held",
        None if is_inconsistent => "inconsistent",
        None => "free",
    };
    State::said(text).held_by(holder, Held::alone)
}

/// Those of a group: who holds each, whether one died, and how many have died with it.
fn of_locks(locks: impl Iterator<Item = (Option<Holder>, bool, u32)>) -> State {
    let (mut state, mut objects, mut inconsistent, mut deaths) = (State::default(), 0, 0, 0_u32);
    for (holder, is_inconsistent, died) in locks {
        state.holders.extend(holder.map(Held::alone));
        objects += 1;
        inconsistent += usize::from(is_inconsistent);
        deaths = deaths.saturating_add(died);
    }
    let held = state.holders.len();
    state.text = format!("{held} of {objects} held");
    if inconsistent > 0 {
        state.text += &format!(", {inconsistent} inconsistent");
    }
    let state = state.with("objects", objects).with("held", held);
    state.with("inconsistent", inconsistent).with("owner_deaths", deaths as usize)
}

fn of_rwlock(lock: &RwLock) -> State {
    let readers = lock.readers();
    // A reader that died is in nobody's way: whoever comes next removes it.
    let living = readers.iter().filter(|reader| !reader.is_dead).count();
    match lock.writer() {
        None if living > 0 => State::said(format!("{living} reading")),
        writer => locked(writer, lock.is_inconsistent()),
    }
    .with("readers", living)
    .with_deaths(lock.is_inconsistent(), lock.n_owner_deaths())
    .counting("tokens", lock.n_fencing_tokens())
    .held_by(readers, Held::shared)
}

fn counted(available: usize, max: usize, holders: Vec<(Holder, usize)>) -> State {
    let held: usize = holders.iter().map(|(_, permits)| permits).sum();
    let mut state = State::said(format!("{available} of {} free", available + held))
        .with("available", available)
        .with("held", held)
        .with("max", max);
    state.holders = holders.into_iter().map(Held::permits).collect();
    state
}

fn of_event(event: &Event) -> State {
    let owner = event.owner();
    let text = match (event.is_set(), &owner) {
        (true, Some(_)) => "set by its owner",
        (true, None) => "set",
        (false, _) => "unset",
    };
    let state = State::said(text).with("set", event.is_set().into());
    state.counting("times_set", event.n_times_set()).held_by(owner, |holder| Held {
        holder,
        how: "owner".to_owned(),
        permits: None,
    })
}

fn of_latch(latch: &Latch) -> State {
    let (arrived, count) = (usize::try_from(latch.arrived()).unwrap_or(usize::MAX), latch.count());
    let text = if latch.is_open() { "open".to_owned() } else { format!("{arrived} of {count} arrived") };
    State::said(text).with("arrived", arrived).with("count", count)
}

fn of_barrier(barrier: &Barrier) -> State {
    let (waiting, parties) = (barrier.n_waiting(), barrier.parties());
    let broken = barrier.broken();
    let is_broken = broken.is_some().into();
    let text = match broken {
        Some(cause) => format!("broken: {cause}"),
        None => format!("{waiting} of {parties} arrived"),
    };
    State::said(text).with("arrived", waiting).with("parties", parties).with("broken", is_broken)
}

fn of_condition(condition: &Condition) -> State {
    let waiters = condition.waiters();
    State::said(if waiters == 0 { "nobody waits".to_owned() } else { format!("{waiters} wait") })
        .with("waiting", waiters)
}

fn of_queue(queue: &Queue<()>) -> State {
    let (put, got) = queue.n_put_and_got();
    let state = queued(queue.len(), queue.is_closed(), queue.capacity());
    state.counting("put", put.into()).counting("got", got.into())
}

fn of_joinable(queue: &JoinableQueue<()>) -> State {
    let (ready, unfinished) = (queue.len(), queue.unfinished());
    let leased = unfinished.saturating_sub(ready);
    let dead = queue.n_dead();
    let mut state =
        queued(ready, queue.is_closed(), queue.capacity()).with("leased", leased).with("dead", dead);
    for (number, what) in [(leased, "leased"), (dead, "dead")] {
        if number > 0 {
            state.text += &format!(", {number} {what}");
        }
    }
    let holders = queue.holders().into_iter();
    state.holders = holders
        .map(|(holder, items)| Held { holder, how: number_of(items as u64, "item"), permits: None })
        .collect();
    let leases = queue.leased();
    state.oldest_lease = leases.iter().map(|item| item.held_for).max();
    let is_last = |attempt: u32| queue.max_attempts().is_some_and(|most| attempt >= most);
    let last = leases.iter().filter(|item| is_last(item.attempt)).count();
    state.with("last_attempt", last).counting("put", queue.n_put())
}

fn queued(depth: usize, is_closed: bool, capacity: Option<usize>) -> State {
    let closed = if is_closed { "closed, " } else { "" };
    let mut state =
        State::said(format!("{closed}{}", number_of(depth as u64, "message"))).with("depth", depth);
    state.figures.push(("closed", u64::from(is_closed)));
    match capacity {
        Some(capacity) => state.with("capacity", capacity),
        None => state,
    }
}

fn collection(len: Option<usize>, holder: Option<Holder>, one: &str, many: &str) -> State {
    let text = match len {
        Some(1) => format!("1 {one}"),
        Some(len) => format!("{len} {many}"),
        None => String::new(),
    };
    let state = State::said(text).held_by(holder, Held::alone);
    match len {
        Some(len) => state.with("len", len),
        None => state,
    }
}

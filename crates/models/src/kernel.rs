//! The kernel of a model: futexes, the passing of time, and death.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

loom::lazy_static! {
    static ref KERNEL: Kernel = Kernel { state: Mutex::new(State::default()), changed: Condvar::new() };
}

loom::thread_local! {
    /// The label at which this thread is to die.
    static DOOMED: Cell<Option<&'static str>> = Cell::new(None);
    /// Whether this thread's waits can be interrupted.
    static INTERRUPTIBLE: Cell<bool> = Cell::new(false);
}

struct Kernel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Who sleeps on which word, in the order in which they came.
    asleep: Vec<(usize, u64)>,
    tickets: u64,
    dead: Vec<u32>,
    /// Threads that ended while they held something, as they stand in a lock word.
    ended: Vec<u64>,
    expired: bool,
    interrupted: bool,
}

/// As `procession_sys::futex::Waited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Woken.
    Woken,
    /// The word had changed.
    Changed,
    /// The model interrupted it.
    Signaled,
    /// The deadline passed.
    TimedOut,
}

/// As `procession_sys::Deadline`; every deadline that is not `NEVER` or `PASSED` passes when the model says
/// so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u8);

impl Deadline {
    /// Already over.
    pub const PASSED: Self = Self(0);
    /// Over at some time.
    pub const SOME_TIME: Self = Self(1);
    /// No limit.
    pub const NEVER: Self = Self(2);

    /// Over at some time, however long it is.
    pub fn after(_: Duration) -> Self {
        Self::SOME_TIME
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        self == Self::PASSED || (self == Self::SOME_TIME && lock().expired)
    }
}

fn lock() -> loom::sync::MutexGuard<'static, State> {
    KERNEL.state.lock().unwrap_or_else(|_| panic!("the kernel never panics"))
}

/// Lets every deadline pass.
pub fn expire() {
    lock().expired = true;
    KERNEL.changed.notify_all();
}

/// Interrupts the waits of all threads that can be interrupted, now and from now on.
pub fn interrupt() {
    lock().interrupted = true;
    KERNEL.changed.notify_all();
}

/// Says whether this thread's waits can be interrupted; what it said before.
pub fn set_interruptible(can_be: bool) -> bool {
    INTERRUPTIBLE.with(|interruptible| interruptible.replace(can_be))
}

std::thread_local! {
    /// What the clock says: to loom it is nothing that changes, so it may only change while there is one
    /// thread.
    static NOW: Cell<u64> = const { Cell::new(1) };
}

/// What the clock says.
pub fn now_ns() -> u64 {
    NOW.get()
}

/// Sets the clock; a model that does so does it at its beginning, too.
pub fn set_clock(now_ns: u64) {
    NOW.set(now_ns);
}

/// How many sleep now.
pub fn asleep() -> usize {
    lock().asleep.len()
}

/// Whether the process in this slot is dead.
pub fn is_dead(slot: u32) -> bool {
    !std::thread::panicking() && lock().dead.contains(&slot)
}

/// Whether the thread that stands in a lock word as `holder` ended, and keeps what it held.
pub fn has_ended(holder: u64) -> bool {
    !std::thread::panicking() && lock().ended.contains(&holder)
}

/// The thread that stands in a lock word as `holder` ends, and keeps what it holds.
pub fn end_thread(holder: u64) {
    lock().ended.push(holder);
    KERNEL.changed.notify_all();
}

/// Runs `act` as the process in `slot`, which dies when it comes to the crash point `label`: from there on it
/// does nothing, and then it is known to be dead. Whether it died.
pub fn until_killed(slot: u32, label: &'static str, act: impl FnOnce()) -> bool {
    DOOMED.with(|doomed| doomed.set(Some(label)));
    let died = catch_unwind(AssertUnwindSafe(act)).is_err_and(|why| match why.downcast::<Killed>() {
        Ok(_) => true,
        Err(other) => resume_unwind(other),
    });
    DOOMED.with(|doomed| doomed.set(None));
    if died {
        lock().dead.push(slot);
        KERNEL.changed.notify_all();
    }
    died
}

struct Killed;

/// As `procession_sys::crash_point`.
pub fn crash_point(label: &'static str) {
    if !std::thread::panicking() && DOOMED.with(Cell::get) == Some(label) {
        resume_unwind(Box::new(Killed));
    }
}

/// What a futex can be.
pub trait Word {
    /// Where it lies.
    fn address(&self) -> usize;
    /// What the kernel finds there.
    fn value(&self) -> u32;
}

impl Word for &AtomicU32 {
    fn address(&self) -> usize {
        std::ptr::from_ref(*self).addr()
    }

    fn value(&self) -> u32 {
        self.load(Ordering::Relaxed)
    }
}

/// The low half of a 64-bit word.
#[derive(Clone, Copy, Debug)]
pub struct LowHalf<'a>(&'a AtomicU64);

/// As `procession_sys::futex::low_half`.
pub fn low_half(word: &AtomicU64) -> LowHalf<'_> {
    LowHalf(word)
}

impl Word for LowHalf<'_> {
    fn address(&self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }

    fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed) as u32
    }
}

/// Sleeps while `word` holds `expected`, until woken, until `deadline`, or until a process dies, or a thread
/// ends, beyond the `deaths` that are known: that is the end of a slice, and `None`.
pub fn sleep(word: impl Word, expected: u32, deadline: Deadline, deaths: &mut usize) -> Option<Waited> {
    let mut state = lock();
    if word.value() != expected {
        return Some(Waited::Changed);
    }
    state.tickets += 1;
    let me = (word.address(), state.tickets);
    state.asleep.push(me);
    let outcome = loop {
        if !state.asleep.contains(&me) {
            return Some(Waited::Woken);
        }
        let ended = state.dead.len() + state.ended.len();
        if ended > *deaths {
            *deaths = ended;
            break None;
        }
        if deadline == Deadline::SOME_TIME && state.expired {
            break Some(Waited::TimedOut);
        }
        if state.interrupted && INTERRUPTIBLE.with(Cell::get) {
            break Some(Waited::Signaled);
        }
        state = KERNEL.changed.wait(state).unwrap_or_else(|_| panic!("the kernel never panics"));
    };
    state.asleep.retain(|other| *other != me);
    outcome
}

/// As `procession_sys::futex::wait`.
pub fn wait(word: impl Word, expected: u32, deadline: Deadline) -> Waited {
    sleep(word, expected, deadline, &mut 0).unwrap_or(Waited::TimedOut)
}

/// As `procession_sys::futex::wake`.
pub fn wake(word: impl Word, count: u32) -> u32 {
    if std::thread::panicking() {
        return 1;
    }
    let mut state = lock();
    let before = state.asleep.len();
    let mut left = count;
    state.asleep.retain(|&(address, _)| {
        let stays = address != word.address() || left == 0;
        left -= u32::from(!stays);
        stays
    });
    let woken = before - state.asleep.len();
    KERNEL.changed.notify_all();
    woken as u32
}

/// As `procession_sys::futex::wake_all`.
pub fn wake_all(word: impl Word) -> u32 {
    wake(word, u32::MAX)
}

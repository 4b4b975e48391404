//! Who operates: with dice, under watch.

use crate::give_up;
use crate::spoil::Bytes;
use procession::Namespace;
use procession_sys::clock;
use procession_tests::Dice;
use std::error::Error;
use std::fmt::Debug;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// What takes longer hangs.
const LIMIT_NS: u64 = 10_000_000_000;
/// Who waits for the living is let go after so long: the object is made what it was at first.
const MERCY_NS: u64 = 30_000_000;

/// What one thread is doing.
struct Doing {
    /// On the monotonic clock; 0 while it is doing nothing.
    since_ns: AtomicU64,
    /// Whether it may wait for the living.
    may_wait: AtomicBool,
    what: Mutex<&'static str>,
}

impl Doing {
    const fn nothing() -> Self {
        Self { since_ns: AtomicU64::new(0), may_wait: AtomicBool::new(false), what: Mutex::new("") }
    }

    fn for_ns(&self) -> u64 {
        match self.since_ns.load(Ordering::Acquire) {
            0 => 0,
            since => clock::now_ns().saturating_sub(since),
        }
    }
}

static DOING: [Doing; 2] = [Doing::nothing(), Doing::nothing()];

/// Which of the threads.
#[derive(Clone, Copy)]
pub(crate) enum Post {
    First,
    Second,
}

/// What the threads are doing, in words.
pub(crate) fn describe() -> String {
    let busy = DOING.iter().filter(|doing| doing.since_ns.load(Ordering::Relaxed) != 0);
    // A panic while it is changed is not met: that is one assignment.
    busy.map(|doing| doing.what.try_lock().map_or("?", |what| *what)).collect::<Vec<_>>().join(" and ")
}

/// The thread that watches the others.
pub(crate) struct Watching<'scope>(ScopedJoinHandle<'scope, ()>);

impl Watching<'_> {
    pub(crate) fn end(self) {
        ENDED.store(true, Ordering::Relaxed);
        self.0.thread().unpark();
    }
}

static ENDED: AtomicBool = AtomicBool::new(false);

/// Watches, until told to end.
pub(crate) fn keep_watch<'scope>(scope: &'scope Scope<'scope, '_>, bytes: &'scope Bytes) -> Watching<'scope> {
    Watching(scope.spawn(|| {
        while !ENDED.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(10));
            for doing in &DOING {
                let for_ns = doing.for_ns();
                if for_ns > LIMIT_NS {
                    give_up("hangs");
                }
                if for_ns > MERCY_NS && doing.may_wait.load(Ordering::Relaxed) {
                    bytes.restore();
                }
            }
        }
    }))
}

/// One thread that operates.
pub(crate) struct Hand<'a> {
    pub(crate) namespace: &'a Namespace,
    bytes: &'a Bytes,
    doing: &'static Doing,
    dice: Dice,
    living: bool,
}

impl<'a> Hand<'a> {
    pub(crate) fn new(
        namespace: &'a Namespace,
        bytes: &'a Bytes,
        post: Post,
        dice: Dice,
        living: bool,
    ) -> Self {
        Self { namespace, bytes, doing: &DOING[post as usize], dice, living }
    }

    /// A number below `end`.
    pub(crate) fn pick(&mut self, end: u64) -> u64 {
        self.dice.below(end)
    }

    /// A short time: none, or less than a slice, or two of them.
    pub(crate) fn time(&mut self) -> Duration {
        Duration::from_micros([0, 500, 3_000, 25_000][self.dice.below(4) as usize])
    }

    /// Spoils the object.
    pub(crate) fn spoil(&mut self) {
        self.bytes.spoil(&mut self.dice, self.living);
    }

    /// Spoils the object, or not.
    pub(crate) fn meddle(&mut self) {
        if self.pick(2) == 0 {
            self.spoil();
        }
    }

    /// Says what begins now, and must end whatever the bytes are.
    pub(crate) fn now(&self, what: &'static str) {
        self.begin(what, false);
    }

    /// Says what begins now, and may wait for those that are alive.
    pub(crate) fn plain(&self, what: &'static str) {
        self.begin(what, self.living);
    }

    fn begin(&self, what: &'static str, may_wait: bool) {
        *self.doing.what.lock().unwrap() = what;
        self.doing.may_wait.store(may_wait, Ordering::Relaxed);
        self.doing.since_ns.store(clock::now_ns(), Ordering::Release);
    }

    /// Says that the thread does nothing.
    pub(crate) fn rest(&self) {
        self.doing.since_ns.store(0, Ordering::Release);
    }

    /// Looks at something as people do.
    pub(crate) fn look(&self, at: &impl Debug) {
        self.now("Debug");
        black_box(format!("{at:?}"));
    }
}

/// What came of it, unless it is an error; that is put into words.
pub(crate) fn heard<T, E: Error>(outcome: Result<T, E>) -> Option<T> {
    outcome.map_err(|error| black_box(format!("{error:?} {error}"))).ok()
}

/// Does no more than to hear what came of it.
pub(crate) fn tried<T, E: Error>(outcome: Result<T, E>) {
    used(heard(outcome));
}

/// Makes the compiler believe that it is used.
pub(crate) fn used<T>(what: T) {
    drop(black_box(what));
}

/// Lets go of what was held.
pub(crate) fn let_go<T>(hand: &mut Hand<'_>, held: Option<T>) {
    if let Some(held) = held {
        hand.meddle();
        hand.now("drop");
        drop(held);
    }
}

//! The two ends of a queue, and which of them this thread holds by a slot: it would wait for itself.

use procession_shm::Segment;
use procession_sys::fork;
use std::cell::RefCell;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueEnd {
    Tail,
    Head,
}

/// An end of a queue that a thread holds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct HeldEnd {
    queue: u64,
    end: QueueEnd,
    /// A forked child has a copy of what its parent noted, and holds none of it.
    cookie: u64,
}

thread_local! {
    static HELD: RefCell<Vec<HeldEnd>> = const { RefCell::new(Vec::new()) };
}

impl HeldEnd {
    fn of(queue: &Segment, end: QueueEnd) -> Self {
        Self { queue: queue.header().instance.low(), end, cookie: fork::cookie() }
    }
}

/// Whether this thread holds that end of the queue by a slot.
pub(super) fn is_held(queue: &Segment, end: QueueEnd) -> bool {
    HELD.try_with(|held| held.borrow().contains(&HeldEnd::of(queue, end))).unwrap_or(false)
}

/// Notes that this thread holds an end; dropping it takes that back.
pub(super) struct HeldNote(HeldEnd);

impl HeldNote {
    pub(super) fn new(queue: &Segment, end: QueueEnd) -> Self {
        let held = HeldEnd::of(queue, end);
        // While the thread ends there is nowhere to note it.
        let _: Result<(), _> = HELD.try_with(|all| all.borrow_mut().push(held));
        Self(held)
    }
}

impl Drop for HeldNote {
    fn drop(&mut self) {
        let _: Result<(), _> = HELD.try_with(|all| all.borrow_mut().retain(|held| *held != self.0));
    }
}

//! What a queue is beneath its messages: two ends of a ring, each under its lock, and who waits at them.

use super::ends::{self, QueueEnd};
use super::error::{CloseError, ClosedQueue, Fullness, GetError, PutError, QueueBlocked, SlotHeld};
use super::{QueueBody, RING_OFFSET};
use crate::codec::{Codec, NotBytes};
use crate::pipe_end::Location;
use crate::ring::{Mark, Ring, WORD};
use crate::waiter::Stopped;
use procession_shm::{Handle, Segment, Shared};
use procession_sync::{Claim, Fault, Hold, LockWord};
use procession_sys::atomic::Ordering;
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, crash_point, interrupt};
use std::fmt;
use std::time::Duration;

/// How long a `try_` waits for an inner lock, which is held for the time of one copy.
const LOCK_PATIENCE: Duration = Duration::from_millis(20);

/// A queue of bytes.
#[derive(Clone)]
pub(crate) struct Core {
    pub(super) words: Shared<QueueBody>,
    pub(super) ring: Ring,
    /// Most messages at a time; `u32::MAX` for no limit.
    pub(super) capacity: u32,
    /// How the messages are written.
    pub(super) codec: Codec,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.segment().label(), f)
    }
}

impl Core {
    /// The queue in an attached segment whose ring has `len` words, for at most so many messages at a time; 0
    /// for no limit.
    pub(super) fn new(words: Shared<QueueBody>, capacity: u32, len: u32, codec: Codec) -> Self {
        let capacity = if capacity == 0 { u32::MAX } else { capacity };
        Self { words, ring: Ring::new(RING_OFFSET, len), capacity, codec }
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.words.segment()
    }

    pub(crate) fn handle(&self) -> Handle {
        self.words.handle()
    }

    pub(super) fn len(&self) -> usize {
        let used = self.used();
        (used.items as usize).min(used.words as usize)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages were put, and how many got; both wrap.
    pub(super) fn n_put_and_got(&self) -> (u32, u32) {
        let items = |mark| Mark::from_bits(mark).items;
        (items(self.words.tail.load(Ordering::Acquire)), items(self.words.head.load(Ordering::Acquire)))
    }

    pub(super) fn is_full(&self) -> bool {
        // The smallest message has no bytes.
        !self.fits(self.used(), 1)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.words.closed.load(Ordering::Acquire) != 0
    }

    pub(super) fn close(&self) -> Result<(), CloseError> {
        let Some(hold) = self.lock_for_ever(QueueEnd::Tail)? else { return Ok(()) };
        self.words.closed.store(1, Ordering::Release);
        crash_point("queue.close.stored");
        self.words.put_lock.release(hold, true);
        crash_point("queue.close.released");
        fence_after_rmw();
        self.words.items.notify_all();
        self.words.space.notify_all();
        Ok(())
    }

    /// Nobody sleeps until a queue is opened again: whoever found it closed has gone away.
    pub(super) fn reopen(&self) -> Result<(), CloseError> {
        let Some(hold) = self.lock_for_ever(QueueEnd::Tail)? else { return Ok(()) };
        self.words.closed.store(0, Ordering::Release);
        crash_point("queue.reopen.stored");
        self.words.put_lock.release(hold, true);
        Ok(())
    }

    /// The difference of the two marks, taken at one instant: `head` did not move while `tail` was read.
    fn used(&self) -> Mark {
        let mut head = self.words.head.load(Ordering::Acquire);
        loop {
            let tail = self.words.tail.load(Ordering::Acquire);
            let again = self.words.head.load(Ordering::Acquire);
            if again == head {
                return Mark::from_bits(tail).since(Mark::from_bits(head));
            }
            head = again;
        }
    }

    /// Whether a record of `words` words fits in beside what is `used`.
    #[inline]
    pub(super) fn fits(&self, used: Mark, words: u32) -> bool {
        used.items < self.capacity
            && used.words <= self.ring.words()
            && self.ring.words() - used.words >= words
    }

    pub(super) fn has_room(&self, words: u32) -> bool {
        self.fits(self.used(), words)
    }

    /// Whether messages may have ends of pipes in them: bytes are left alone, whatever they look like.
    #[inline]
    pub(super) fn carries_ends(&self) -> bool {
        self.codec.carries_ends()
    }

    /// What is read and written as bytes must be nothing else.
    #[inline]
    pub(super) fn must_be_bytes(&self) -> Result<(), NotBytes> {
        if self.codec == Codec::Bytes { Ok(()) } else { Err(NotBytes::new(self.segment(), self.codec)) }
    }

    /// Where messages are that are put here.
    pub(super) fn as_location(&self) -> Location {
        Location::of_queue(self.segment())
    }

    pub(super) fn lock_of(&self, end: QueueEnd) -> &LockWord {
        match end {
            QueueEnd::Tail => &self.words.put_lock,
            QueueEnd::Head => &self.words.get_lock,
        }
    }

    /// Holds one end. Who dies holding it left the ring whole: see there.
    #[inline]
    fn lock(&self, end: QueueEnd, deadline: Deadline) -> Result<Hold, QueueBlocked> {
        let me = self.segment().registration().current_owner().map(Hold::of_this_thread);
        match me {
            Some(me) if self.lock_of(end).try_acquire_clean(me) => Ok(me),
            _ => self.lock_contended(end, deadline),
        }
    }

    /// Holds the end at which messages are put.
    #[inline]
    pub(super) fn lock_tail(&self, deadline: Deadline) -> Result<Hold, PutError> {
        self.lock(QueueEnd::Tail, deadline).map_err(|blocked| self.no_put(blocked))
    }

    /// Holds the end at which messages are got.
    #[inline]
    pub(super) fn lock_head(&self, deadline: Deadline) -> Result<Hold, GetError> {
        self.lock(QueueEnd::Head, deadline).map_err(|blocked| self.no_get(blocked))
    }

    /// Holds an end, however long it takes; `None` where no time can be that long.
    pub(super) fn lock_for_ever(&self, end: QueueEnd) -> Result<Option<Hold>, CloseError> {
        // Held for a moment by each, but for one that is stopped in the middle of it.
        let _deferred = interrupt::defer();
        match self.lock(end, Deadline::NEVER) {
            Ok(hold) => Ok(Some(hold)),
            Err(QueueBlocked::TimedOut | QueueBlocked::Interrupted) => Ok(None),
            Err(QueueBlocked::SlotHeld(held)) => Err(held.into()),
            Err(QueueBlocked::Fault(fault)) => Err(fault.into()),
        }
    }

    #[cold]
    fn lock_contended(&self, end: QueueEnd, deadline: Deadline) -> Result<Hold, QueueBlocked> {
        if ends::is_held(self.segment(), end) {
            return Err(QueueBlocked::SlotHeld(SlotHeld { queue: self.segment().label() }));
        }
        // A `try` that finds another in the middle of its copy waits for that, or it would call a queue empty
        // that is not; a holder that is stopped makes it give up all the same.
        let deadline = if deadline == Deadline::PASSED { Deadline::after(LOCK_PATIENCE) } else { deadline };
        self.lock_of(end)
            .acquire(self.segment(), Claim::Ignore, deadline)
            .inspect_err(|_| self.pass_on(end))
            .map_err(|error| Stopped::from(error).into())
    }

    /// Calls another sleeper: who is about to leave may have been called for what is there, and others rely
    /// on that.
    fn pass_on(&self, end: QueueEnd) {
        let (is_there, bell) = match end {
            QueueEnd::Tail => (!self.is_full(), &self.words.space),
            QueueEnd::Head => (!self.is_empty(), &self.words.items),
        };
        if is_there {
            bell.notify_one();
        }
    }

    #[cold]
    pub(super) fn no_put(&self, blocked: QueueBlocked) -> PutError {
        match blocked {
            QueueBlocked::TimedOut => PutError::TimedOut(self.fullness()),
            QueueBlocked::Interrupted => PutError::Interrupted(self.segment().label()),
            QueueBlocked::SlotHeld(held) => held.into(),
            QueueBlocked::Fault(fault) => fault.into(),
        }
    }

    #[cold]
    pub(super) fn no_get(&self, blocked: QueueBlocked) -> GetError {
        match blocked {
            QueueBlocked::TimedOut => GetError::TimedOut(self.segment().label()),
            QueueBlocked::Interrupted => GetError::Interrupted(self.segment().label()),
            QueueBlocked::SlotHeld(held) => held.into(),
            QueueBlocked::Fault(fault) => fault.into(),
        }
    }

    /// What became of a queue that was closed.
    #[cold]
    pub(super) fn as_closed(&self) -> ClosedQueue {
        ClosedQueue::new(self.segment())
    }

    fn fullness(&self) -> Fullness {
        let used = self.used();
        let bytes = |words: u32| u64::from(words) * WORD as u64;
        Fullness {
            queue: self.segment().label(),
            messages: self.len(),
            capacity: (self.capacity != u32::MAX).then_some(self.capacity as usize),
            bytes_taken: bytes(used.words.min(self.ring.words())),
            bytes: bytes(self.ring.words()),
        }
    }

    /// Whether this process, not one that it was forked from, has `hold`.
    pub(super) fn is_ours(&self, hold: Hold) -> bool {
        self.segment().registration().current_owner() == Some(hold.owner())
    }

    #[cold]
    pub(super) fn inherited(&self) -> Fault {
        Fault::inherited(self.segment())
    }

    #[cold]
    pub(super) fn corrupt(&self, what: &'static str) -> Fault {
        Fault::corrupt(self.segment(), what)
    }

    #[cold]
    pub(super) fn too_small(&self) -> Fault {
        self.corrupt("the ring reaches past the segment")
    }
}

//! What the operations of a joinable queue do, each a look under the lock, and between looks a wait.

use super::lease::Held;
use super::table::{BLOCK, Counts, Fate, Nonsense, Table, Term, Ticket, blocks_of};
use super::{AckError, GetError, JoinError, JoinableQueue, PutError};
use crate::codec::{self, EncodeError};
use crate::pipe_end::Passage;
use crate::queue::{ClosedQueue, Fullness};
use crate::underway::{self, OpenEnds, Parcel};
use crate::waiter::{Stopped, Waiter};
use procession_shm::{OwnerId, Unknowable};
use procession_sync::{Claim, Fault, Hold};
use procession_sys::atomic::Ordering;
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, clock, crash_point, interrupt};
use std::time::Duration;

/// How long what need not wait waits for the inner lock, which is held for the time of one copy.
const LOCK_PATIENCE: Duration = Duration::from_millis(20);
/// How often an item that cannot be decoded is got, if attempts are not limited.
const MOST_UNREADABLE: u32 = 3;
/// How many blocks are filled by who puts many items, before others have their turn.
const BLOCKS_AT_A_TIME: usize = 64;
/// How often those who get look for leases that are lost, although there is something to get.
const SURVEY_MS: u32 = 100;

impl<T> JoinableQueue<T> {
    pub(super) fn has_room(&self, counts: Counts, blocks: usize) -> bool {
        counts.ready < self.capacity && (counts.blocks as usize).saturating_add(blocks) <= self.count as usize
    }

    /// The counts, made whole if somebody died over them.
    pub(super) fn counts(&self) -> Counts {
        let lock = &self.body.lock;
        if lock.is_owned() || lock.is_inconsistent() || self.body.uncounted.load(Ordering::Relaxed) != 0 {
            // Whoever holds it may be dead. If it is alive and stands still, its change is as good as not
            // begun.
            drop(self.locked(Deadline::PASSED, |_, _| Ok(())));
        }
        Counts::load(&self.body)
    }

    pub(super) fn put_payload(&self, payload: &[u8], deadline: Deadline) -> Result<(), PutError> {
        self.put_some(std::iter::once(payload), deadline).map(drop)
    }

    /// Puts the first of the payloads, waiting for room, and as many of the others as there is room for by then and as
    /// may be put at a time; how many.
    pub(super) fn put_some<'p>(
        &self,
        payloads: impl Iterator<Item = &'p [u8]> + Clone,
        deadline: Deadline,
    ) -> Result<usize, PutError> {
        let Some(first) = payloads.clone().next() else { return Ok(0) };
        let blocks = self.blocks_needed(first.len())?;
        let body = &*self.body;
        let mut waiter = Waiter::new(&body.space, deadline);
        // What was there when this thread last passed a wake on that it could not use.
        let mut passed_on_at = None;
        loop {
            let outcome = self.locked(deadline, |table, _| {
                if body.closed.load(Ordering::Relaxed) != 0 {
                    return Ok(Outcome::Closed);
                }
                let count = self.put_now(table, payloads.clone())?;
                Ok(if count == 0 { Outcome::Later } else { Outcome::Now(count) })
            });
            let outcome = outcome.map_err(|blocked| self.no_put(blocked))?;
            match outcome {
                Outcome::Now(count) => {
                    self.tell_getters(count);
                    if waiter.has_slept() && self.has_room(Counts::load(body), 1) {
                        // There may be room for the next sleeper too, and its wake was held back for us.
                        body.space.notify_one();
                    }
                    return Ok(count);
                }
                Outcome::Later => {
                    let counts = Counts::load(body);
                    // There may be room for the smaller item of another. But only once for the same room: two
                    // whose items are too large would wake each other for ever.
                    if waiter.has_slept()
                        && self.has_room(counts, 1)
                        && passed_on_at.replace(counts) != Some(counts)
                    {
                        body.space.notify_one();
                    }
                    let may_go_on = || self.has_room(Counts::load(body), blocks) || self.is_closed();
                    waiter
                        .wait(self.body.segment(), may_go_on, ())
                        .map_err(|blocked| self.no_put(blocked))?;
                }
                Outcome::Closed => return Err(PutError::Closed(ClosedQueue::new(self.body.segment()))),
            }
        }
    }

    /// Puts as many of the payloads as there is room for and as may be put at a time; how many.
    fn put_now<'p>(
        &self,
        table: &Table<'_>,
        payloads: impl Iterator<Item = &'p [u8]>,
    ) -> Result<usize, Nonsense> {
        let (mut count, mut all) = (0, 0);
        for payload in payloads {
            let blocks = blocks_of(payload.len());
            if all >= BLOCKS_AT_A_TIME || !self.has_room(Counts::load(&self.body), blocks) {
                break;
            }
            table.put(payload)?;
            (count, all) = (count + 1, all + blocks);
        }
        Ok(count)
    }

    /// Wakes as many as get what was put, at least.
    fn tell_getters(&self, count: usize) {
        if count == 1 { self.body.items.notify_one() } else { self.body.items.notify_all() }
    }

    /// How many blocks an item of so many bytes takes, if it can ever be put.
    fn blocks_needed(&self, len: usize) -> Result<usize, PutError> {
        if len > codec::LIMIT {
            // Only bytes can be: they could not be got, however large the queue is.
            return Err(EncodeError::TooLarge.into());
        }
        let blocks = blocks_of(len);
        if blocks <= self.count as usize {
            return Ok(blocks);
        }
        let most = self.count as usize * BLOCK;
        // Less than the largest queue has room for: what is longer than a message may be was refused above.
        let needed = (len as u64).next_power_of_two();
        Err(PutError::TooLarge { queue: self.body.segment().label(), len, most, needed })
    }

    /// Leases the first item that is there; its payload.
    pub(super) fn claim(&self, into: &mut Vec<u8>, deadline: Deadline) -> Result<Ticket, GetError> {
        let claimed = self.claim_or_end(into, deadline).map_err(|blocked| self.no_get(blocked))?;
        claimed.ok_or_else(|| GetError::Closed(ClosedQueue::new(self.body.segment())))
    }

    /// `None` once the queue is closed and everything is done.
    fn claim_or_end(&self, into: &mut Vec<u8>, deadline: Deadline) -> Result<Option<Ticket>, Stopped> {
        let body = &*self.body;
        let mut waiter = Waiter::new(&body.items, deadline);
        if Counts::load(body).leased != 0 && self.is_survey_due() {
            self.survey(deadline)?;
        }
        loop {
            let mut others_hold = false;
            let outcome = self.locked(deadline, |table, me| {
                let ticket = table.claim(me, self.term(), into)?;
                others_hold = Counts::load(body).leased != 0;
                Ok(match ticket {
                    Some(ticket) => Outcome::Now(ticket),
                    None if self.is_closed() && Counts::load(body).unfinished() == 0 => Outcome::Closed,
                    None => Outcome::Later,
                })
            })?;
            match outcome {
                Outcome::Now(ticket) => {
                    body.space.notify_one();
                    if waiter.has_slept() && Counts::load(body).ready != 0 {
                        // There is something for the next sleeper too, and its wake was held back for us.
                        body.items.notify_one();
                    }
                    return Ok(Some(ticket));
                }
                Outcome::Later => {
                    // What a survey does not find any more, another may have given back since the look.
                    if waiter.takes_turn() && (self.survey(deadline)? || others_hold) {
                        continue;
                    }
                    waiter.wait(self.body.segment(), || self.has_answer(), || self.lessees())?;
                }
                Outcome::Closed => return Ok(None),
            }
        }
    }

    pub(super) fn join_until(&self, deadline: Deadline) -> Result<(), JoinError> {
        self.wait_until_done(deadline).map_err(|blocked| self.no_join(blocked))
    }

    fn wait_until_done(&self, deadline: Deadline) -> Result<(), Stopped> {
        let body = &*self.body;
        let look = |_: &Table<'_>, _| {
            Ok((Counts::load(body).unfinished(), body.times_finished.load(Ordering::Relaxed)))
        };
        let mut waiter = Waiter::new(&body.finished, deadline);
        let (mut unfinished, first) = self.locked(deadline, look)?;
        let mut times = first;
        while unfinished != 0 && times == first {
            if !waiter.takes_turn() || !self.survey(deadline)? {
                let may_go_on = || body.times_finished.load(Ordering::Acquire) != first;
                waiter.wait(self.body.segment(), may_go_on, || self.lessees())?;
            }
            (unfinished, times) = self.locked(deadline, look)?;
        }
        Ok(())
    }

    /// Whether a get would not wait, as far as can be seen without the lock.
    pub(super) fn has_answer(&self) -> bool {
        let counts = Counts::load(&self.body);
        counts.ready != 0 || self.is_closed() && counts.unfinished() == 0
    }

    /// As [`has_answer`](Self::has_answer), and looks for lost leases.
    pub(super) fn has_answer_after_all(&self) -> bool {
        if !self.has_answer() {
            self.gives_back_what_is_lost();
        }
        self.counts().ready != 0 || self.has_answer()
    }

    /// Looks for lost leases, for who waits among other things.
    pub(super) fn gives_back_what_is_lost(&self) {
        if Counts::load(&self.body).leased != 0 {
            // What is wrong with the queue, the next operation says.
            drop(self.survey(Deadline::PASSED));
        }
    }

    /// When a lease that begins now is over, for whoever will ask. Who asks may have another clock.
    fn term(&self) -> Term {
        let since_ns = clock::machine_ns().unwrap_or(0);
        let is_timed = self.lease_timeout_ns != 0 && since_ns != 0;
        let until_ns = if is_timed { since_ns.saturating_add(self.lease_timeout_ns) } else { 0 };
        Term { since_ns, until_ns }
    }

    /// Whether it is time to look for lost leases although there is enough to get.
    fn is_survey_due(&self) -> bool {
        let now_ms = clock::ms_of(clock::now_ns());
        now_ms.wrapping_sub(self.body.surveyed_ms.load(Ordering::Relaxed)) >= SURVEY_MS
    }

    /// Gives back the leases of the dead, and those that are over time; whether there were any.
    fn survey(&self, deadline: Deadline) -> Result<bool, Stopped> {
        // A hint: who has another clock looks more often than he needs to.
        self.body.surveyed_ms.store(clock::ms_of(clock::now_ns()), Ordering::Relaxed);
        let now_ns = clock::machine_ns().unwrap_or(0);
        let mut asked: Vec<(OwnerId, bool)> = Vec::new();
        let mut lost = Vec::new();
        let table = self.table()?;
        for ticket in table.leases() {
            let is_dead = self.is_dead(ticket.owner(), &mut asked)?;
            if is_dead || table.is_over(ticket, now_ns) {
                lost.push((ticket, is_dead));
            }
        }
        if lost.is_empty() {
            return Ok(false);
        }
        crash_point("joinable.found_lost");
        let given_back = |table: &Table<'_>, _| {
            // Since the look its holder may have extended it.
            let is_lost = |&&(ticket, is_dead): &&(Ticket, bool)| is_dead || table.is_over(ticket, now_ns);
            let lost = lost.iter().filter(is_lost);
            Ok(lost.filter(|&&(ticket, _)| table.settle(ticket, self.fate(ticket))).count())
        };
        let count = self.locked(deadline, given_back)?;
        self.tell_all();
        Ok(count != 0)
    }

    /// Those whose death gives items back.
    pub(super) fn lessees(&self) -> Vec<OwnerId> {
        let Ok(table) = self.table() else { return Vec::new() };
        let mut lessees: Vec<OwnerId> = table.leases().map(Ticket::owner).collect();
        lessees.sort_unstable_by_key(|owner| owner.to_bits());
        lessees.dedup();
        lessees
    }

    /// Whether the owner is dead; each is asked about once.
    fn is_dead(&self, owner: OwnerId, asked: &mut Vec<(OwnerId, bool)>) -> Result<bool, Stopped> {
        if let Some((_, is_dead)) = asked.iter().find(|(known, _)| *known == owner) {
            return Ok(*is_dead);
        }
        let is_dead = self.body.segment().registration().is_dead(owner);
        let is_dead = is_dead.map_err(|error| self.unknowable(error))?;
        asked.push((owner, is_dead));
        Ok(is_dead)
    }

    /// What becomes of an item whose lease was given up.
    pub(super) fn fate(&self, ticket: Ticket) -> Fate {
        let is_last = self.max_attempts != 0 && ticket.attempts() >= self.max_attempts;
        if is_last { Fate::Dead } else { Fate::Ready }
    }

    /// What becomes of an item that could not be decoded. If attempts are not limited, these are: nobody is
    /// served by an item that comes back at once, for ever, ahead of those that can be decoded.
    pub(super) fn fate_of_unreadable(&self, ticket: Ticket) -> Fate {
        if self.max_attempts == 0 && ticket.attempts() >= MOST_UNREADABLE {
            Fate::Dead
        } else {
            self.fate(ticket)
        }
    }

    /// Decides about the item of a ticket; `false` if the ticket is not valid any more.
    pub(super) fn settle(&self, ticket: Ticket, fate: Fate) -> Result<bool, Fault> {
        self.settle_with(ticket, fate, Vec::new())
    }

    /// Decides about the item of a ticket, and adopts these ends, which are in it; those that nobody has used are
    /// closed.
    pub(super) fn settle_with(&self, ticket: Ticket, fate: Fate, ends: Vec<Passage>) -> Result<bool, Fault> {
        let _deferred = interrupt::defer();
        let ends = OpenEnds::of(ends);
        let mut adopted = Parcel::default();
        let settled = self.locked(Deadline::NEVER, |table, _| {
            // Before the item is done: killed after it, this process is who they die with.
            if !ends.is_empty() && table.is_valid(ticket) {
                adopted = ends.adopt();
            }
            Ok(table.settle(ticket, fate))
        });
        match settled {
            Ok(false) => Ok(false),
            Ok(true) => {
                self.tell_one();
                Ok(true)
            }
            Err(blocked) => blocked.into_fault().map_or(Ok(false), Err),
        }
    }

    /// Throws away what is there to be got; how many items. Each is leased and done, so that a death in between loses none
    /// halfway.
    pub(super) fn discard_ready(&self) -> Result<usize, Fault> {
        let _deferred = interrupt::defer();
        let (mut count, mut payload) = (0, Vec::new());
        loop {
            payload.clear();
            let claimed =
                self.locked(Deadline::NEVER, |table, me| table.claim(me, self.term(), &mut payload));
            let ticket = match claimed {
                Ok(Some(ticket)) => ticket,
                Ok(None) => return Ok(count),
                Err(stopped) => return stopped.into_fault().map_or(Ok(count), Err),
            };
            let ends = if self.carries_ends() { underway::cut(&mut payload) } else { Vec::new() };
            match Held::new(self, ticket, ends).task_done() {
                Ok(()) => count += 1,
                Err(AckError::Fault(fault)) => return Err(fault),
                // Its time was over at once: it is somebody else's.
                Err(_) => {}
            }
        }
    }

    /// Has a lease last for `time` from now on; `false` if it is not valid any more.
    pub(super) fn prolong(&self, ticket: Ticket, time: Duration) -> Result<bool, Fault> {
        let _deferred = interrupt::defer();
        let time_ns = u64::try_from(time.as_nanos()).ok();
        let until_ns = time_ns.and_then(|time| clock::machine_ns()?.checked_add(time)).unwrap_or(0);
        match self.locked(Deadline::NEVER, |table, _| Ok(table.extend(ticket, until_ns))) {
            Ok(is_valid) => Ok(is_valid),
            Err(blocked) => blocked.into_fault().map_or(Ok(false), Err),
        }
    }

    /// Whether a lease is valid now; it may be taken away the next moment, if there is a timeout.
    pub(super) fn is_valid(&self, ticket: Ticket) -> bool {
        self.table().is_ok_and(|table| table.is_valid(ticket))
    }

    /// Wakes those whom one change may concern.
    fn tell_one(&self) {
        let counts = Counts::load(&self.body);
        if counts.ready != 0 {
            self.body.items.notify_one();
        }
        self.body.space.notify_one();
        self.tell_if_finished(counts);
    }

    /// Wakes those whom several changes may concern.
    fn tell_all(&self) {
        self.body.items.notify_all();
        self.body.space.notify_all();
        self.tell_if_finished(Counts::load(&self.body));
    }

    fn tell_if_finished(&self, counts: Counts) {
        if counts.unfinished() == 0 {
            self.body.finished.notify_all();
            if self.is_closed() {
                self.body.items.notify_all();
            }
        }
    }

    pub(super) fn table(&self) -> Result<Table<'_>, Stopped> {
        Table::new(&self.body, self.count).ok_or_else(|| self.corrupt("the cells reach past the segment"))
    }

    /// Does something under the lock; the fence that lies between it and the look at the waiters follows.
    pub(super) fn locked<R>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Table<'_>, OwnerId) -> Result<R, Nonsense>,
    ) -> Result<R, Stopped> {
        let table = self.table()?;
        let hold = self.acquire(deadline)?;
        let outcome = self.count_if_needed(&table).and_then(|()| work(&table, hold.owner()));
        // Inconsistent: whoever comes next looks at the cells, and finds the same nonsense.
        self.body.lock.release(hold, outcome.is_ok());
        crash_point("joinable.released");
        // SYNC: eventcount.dekker. The release was a read-modify-write.
        fence_after_rmw();
        outcome.map_err(|what| self.corrupt(what))
    }

    fn acquire(&self, deadline: Deadline) -> Result<Hold, Stopped> {
        // A `try` that finds another in the middle of its copy waits for that; a holder that is stopped makes
        // it give up.
        let deadline = if deadline == Deadline::PASSED { Deadline::after(LOCK_PATIENCE) } else { deadline };
        let held = self.body.lock.acquire(self.body.segment(), Claim::Recover, deadline);
        Ok(held.inspect_err(|_| self.pass_on())?)
    }

    /// Calls other sleepers: who is about to leave may have been called for what is there, and others rely on that.
    #[cold]
    fn pass_on(&self) {
        let counts = Counts::load(&self.body);
        if counts.ready != 0 {
            self.body.items.notify_one();
        }
        if self.has_room(counts, 1) {
            self.body.space.notify_one();
        }
    }

    /// After a death: the counts from the cells.
    fn count_if_needed(&self, table: &Table<'_>) -> Result<(), Nonsense> {
        let body = &*self.body;
        if !body.lock.is_inconsistent() && body.uncounted.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        table.recount()?;
        body.uncounted.store(0, Ordering::Relaxed);
        body.lock.make_consistent();
        // The dead may not have come to tell them.
        self.tell_all();
        Ok(())
    }

    #[cold]
    fn unknowable(&self, error: Unknowable) -> Stopped {
        Stopped::Fault(Fault::unknowable(self.body.segment(), error))
    }

    #[cold]
    fn corrupt(&self, what: Nonsense) -> Stopped {
        Stopped::Fault(Fault::corrupt(self.body.segment(), what))
    }

    #[cold]
    fn no_put(&self, stopped: Stopped) -> PutError {
        match stopped {
            Stopped::TimedOut => PutError::TimedOut(self.fullness()),
            Stopped::Interrupted => PutError::Interrupted(self.body.segment().label()),
            Stopped::Fault(fault) => PutError::Fault(fault),
        }
    }

    #[cold]
    fn no_get(&self, stopped: Stopped) -> GetError {
        let queue = self.body.segment().label();
        match stopped {
            Stopped::TimedOut => GetError::TimedOut(queue),
            Stopped::Interrupted => GetError::Interrupted(queue),
            Stopped::Fault(fault) => GetError::Fault(fault),
        }
    }

    #[cold]
    fn no_join(&self, stopped: Stopped) -> JoinError {
        let queue = self.body.segment().label();
        match stopped {
            Stopped::TimedOut => {
                JoinError::TimedOut { queue, unfinished: Counts::load(&self.body).unfinished() as usize }
            }
            Stopped::Interrupted => JoinError::Interrupted { queue },
            Stopped::Fault(fault) => JoinError::Fault(fault),
        }
    }

    fn fullness(&self) -> Fullness {
        let counts = Counts::load(&self.body);
        let bytes = |blocks: u32| u64::from(blocks) * BLOCK as u64;
        Fullness {
            queue: self.body.segment().label(),
            messages: counts.ready as usize,
            capacity: (self.capacity != u32::MAX).then_some(self.capacity as usize),
            bytes_taken: bytes(counts.blocks),
            bytes: bytes(self.count),
        }
    }
}

/// What came of a look under the lock.
enum Outcome<R> {
    Now(R),
    Later,
    Closed,
}

//! Whose an end is, and what became of the other one. The protocol is described in `pipe.rs`.

use super::error::PipeFault;
use super::{Pipe, PipeBody};
use crate::lane::Lane;
use crate::underway;
use procession_shm::{Handle, Myself, OpenError, OwnerId, Shared, Unknowable, owner_of_child};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use procession_sys::{clock, crash_point, shm_struct};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32 as OwnAtomicU32, AtomicU64 as OwnAtomicU64};

shm_struct! {
    /// Whose an end is.
    pub struct EndCell {
        /// An owner, what the end is to it, and which of its handles uses it.
        word: AtomicU64,
        /// The pid of the owner that died, for people.
        died: AtomicU32,
        reserved: AtomicU32,
        spare: [AtomicU64; 6],
    }
}

// What the end is to the owner in its word.
const STATE: u64 = 7 << 16;
const CARRIED: u64 = 1 << 16;
const CLAIMED: u64 = 2 << 16;
const CLOSED: u64 = 3 << 16;
const DEAD: u64 = 4 << 16;
/// The handle that claimed it: 13 bits, so that two handles of one process are not taken for one another.
const HANDLE: u32 = 19;
const HANDLES: u64 = 1 << 13;

// Where the handle believes the end to be: how many messages it was sent off in, or that a child has it.
const HERE: u32 = 0;
const GIVEN: u32 = 1 << 31;

const SELDOM_NS: u64 = 1_000_000;

/// What became of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Open,
    Closed,
    Died { pid: u32 },
}

/// A handle of one end.
pub(crate) struct End {
    pub(super) body: Shared<PipeBody>,
    side: usize,
    myself: Myself,
    me: OwnerId,
    /// The word of the cell while this handle uses the end.
    mine: u64,
    closing: AtomicBool,
    whereabouts: Arc<OwnAtomicU32>,
    /// When somebody who would not wait last asked about the peer.
    asked_ns: OwnAtomicU64,
}

/// An end on its way.
#[derive(Serialize, Deserialize)]
pub(super) struct Passage {
    pipe: Handle,
    side: u8,
}

impl End {
    /// The end `side` of a pipe that nobody else knows yet.
    pub(super) fn create(pipe: &Pipe, side: usize) -> Result<Self, OpenError> {
        let end = Self::new(pipe, side)?;
        end.cell().word.store(end.me.to_bits() | CARRIED, Ordering::Relaxed);
        Ok(end)
    }

    fn new(pipe: &Pipe, side: usize) -> Result<Self, OpenError> {
        static HANDLES_MADE: OwnAtomicU64 = OwnAtomicU64::new(0);
        let registration = pipe.body.segment().registration();
        let me = registration.owner()?;
        let handle = HANDLES_MADE.fetch_add(1, Ordering::Relaxed) % HANDLES;
        Ok(Self {
            body: pipe.body.clone(),
            side,
            myself: registration.myself(),
            me,
            mine: me.to_bits() | CLAIMED | handle << HANDLE,
            closing: AtomicBool::new(false),
            whereabouts: Arc::new(OwnAtomicU32::new(HERE)),
            asked_ns: OwnAtomicU64::new(0),
        })
    }

    fn cell(&self) -> &EndCell {
        &self.body.ends[self.side]
    }

    fn peer_cell(&self) -> &EndCell {
        &self.body.ends[1 - self.side]
    }

    /// The lane that this end writes.
    #[inline]
    pub(super) fn outgoing(&self) -> &Lane {
        &self.body.lanes[self.side]
    }

    /// The lane that this end reads.
    #[inline]
    pub(super) fn incoming(&self) -> &Lane {
        &self.body.lanes[1 - self.side]
    }

    /// Makes sure that the end is this handle's: the first use claims it.
    #[inline]
    pub(super) fn claim(&self) -> Result<(), PipeFault> {
        // Relaxed: while the word is `mine`, this handle alone changes it.
        if self.cell().word.load(Ordering::Relaxed) == self.mine && self.is_here() {
            return Ok(());
        }
        self.claim_first()
    }

    #[inline]
    fn is_here(&self) -> bool {
        self.myself.owner() == Some(self.me)
    }

    #[cold]
    fn claim_first(&self) -> Result<(), PipeFault> {
        if !self.is_here() {
            return Err(PipeFault::Inherited);
        }
        let mut word = self.cell().word.load(Ordering::Acquire);
        loop {
            let is_free = word & STATE == CARRIED && self.whereabouts.load(Ordering::Relaxed) != GIVEN;
            if !is_free {
                return Err(self.why_not(word));
            }
            match self.cell().word.compare_exchange(word, self.mine, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        crash_point("pipe.claimed");
        Ok(())
    }

    /// Why this handle cannot use the end whose cell holds `word`.
    fn why_not(&self, word: u64) -> PipeFault {
        match word & STATE {
            CLOSED => PipeFault::Closed,
            DEAD => PipeFault::Lost { pid: self.cell().died.load(Ordering::Relaxed) },
            CARRIED | CLAIMED => {
                let by = self.body.segment().registration().pid_of(OwnerId::from_bits(word)).unwrap_or(0);
                PipeFault::InUse { by, here: std::process::id() }
            }
            _ => self.corrupt("an end that is in no possible state"),
        }
    }

    #[cold]
    pub(super) fn corrupt(&self, what: &'static str) -> PipeFault {
        PipeFault::Corrupt { pipe: self.body.segment().display_name(), what }
    }

    /// Whether a thread is closing this end, or has.
    #[inline]
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Closes the end, if it is this handle's to close. `quiesce` keeps other threads from writing until what it
    /// returns is dropped; they have been told.
    pub(super) fn close<R>(&self, quiesce: impl FnOnce(&Self) -> R) {
        let word = self.cell().word.load(Ordering::Acquire);
        if !self.is_here() || !self.may_close(word) {
            underway::let_go_of_arrived();
            return;
        }
        self.closing.store(true, Ordering::Release);
        self.call_everybody();
        let quiet = quiesce(self);
        let closed = self.mine & !STATE | CLOSED;
        // SYNC: pipe.close. Another thread may have claimed it, or closed it.
        let mut word = self.cell().word.load(Ordering::Acquire);
        while self.may_close(word) {
            match self.cell().word.compare_exchange(word, closed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        crash_point("pipe.closed");
        drop(quiet);
        self.call_everybody();
        underway::let_go_of_arrived();
    }

    /// Whether the end is this handle's: it uses it, or has carried it here and not sent it off.
    fn may_close(&self, word: u64) -> bool {
        let is_carried = word == self.me.to_bits() | CARRIED;
        word == self.mine || is_carried && self.whereabouts.load(Ordering::Relaxed) == HERE
    }

    /// Wakes whoever sleeps at the pipe, here and there: an end has closed.
    fn call_everybody(&self) {
        // SYNC: eventcount.dekker.
        fence(Ordering::SeqCst);
        for lane in &self.body.lanes {
            lane.data().notify_all();
            lane.room().notify_all();
        }
    }

    /// Whether this end was closed or has passed to another.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closing() || self.cell().word.load(Ordering::Acquire) & STATE == CLOSED
    }

    /// What is known of the other end.
    #[inline]
    pub(super) fn peer(&self) -> Peer {
        // SYNC: pipe.close.
        match self.peer_cell().word.load(Ordering::Acquire) & STATE {
            CARRIED | CLAIMED => Peer::Open,
            CLOSED => Peer::Closed,
            _ => Peer::Died { pid: self.peer_cell().died.load(Ordering::Relaxed) },
        }
    }

    /// As [`ask_about_peer`](Self::ask_about_peer), for who tries again and again: at most once a millisecond.
    pub(super) fn ask_seldom(&self) -> Result<(), PipeFault> {
        let now = clock::now_ns();
        if now.saturating_sub(self.asked_ns.load(Ordering::Relaxed)) < SELDOM_NS {
            return Ok(());
        }
        self.asked_ns.store(now, Ordering::Relaxed);
        self.ask_about_peer()
    }

    /// Asks whether the process that has the other end is alive, and writes down that it is not.
    #[cold]
    pub(super) fn ask_about_peer(&self) -> Result<(), PipeFault> {
        let cell = self.peer_cell();
        let word = cell.word.load(Ordering::Acquire);
        if ![CARRIED, CLAIMED].contains(&(word & STATE)) {
            return Ok(());
        }
        let segment = self.body.segment();
        let owner = OwnerId::from_bits(word);
        let is_dead = segment.registration().is_dead(owner).map_err(|why| match why {
            Unknowable::NoSuchSlot => self.corrupt("an end names no possible owner"),
            _ => PipeFault::RegistryChanged { pipe: segment.display_name() },
        })?;
        if is_dead {
            crash_point("pipe.peer_found_dead");
            cell.died.store(segment.registration().pid_of(owner).unwrap_or(0), Ordering::Relaxed);
            // Failure means that the end was closed before its owner died, or has another carrier.
            let _: Result<u64, u64> =
                cell.word.compare_exchange(word, word & !STATE | DEAD, Ordering::AcqRel, Ordering::Relaxed);
            crash_point("pipe.death_noted");
        }
        Ok(())
    }

    /// Sends the end off: to the child that gets these arguments, or to whoever gets the message.
    pub(super) fn depart(&self) -> Result<Passage, String> {
        if !self.is_here() {
            return Err(PipeFault::Inherited.to_string());
        }
        let segment = self.body.segment();
        let carried = self.me.to_bits() | CARRIED;
        let child = owner_of_child(segment.registration()).transpose().map_err(|error| error.to_string())?;
        let next = child.map_or(carried, |child| child.to_bits() | CARRIED);
        // A message changes nothing; but only who carries the end can send it.
        let sent = self.cell().word.compare_exchange(carried, next, Ordering::AcqRel, Ordering::Acquire);
        sent.map_err(|word| match word == self.mine {
            true => "an end of a pipe that has been used stays with its process".to_owned(),
            false => self.why_not(word).to_string(),
        })?;
        crash_point("pipe.departed");
        if child.is_some() {
            self.whereabouts.store(GIVEN, Ordering::Relaxed);
        } else {
            underway::depart(&self.whereabouts);
            underway::keep(self.twin());
        }
        Ok(Passage { pipe: segment.handle(), side: u8::from(self.side != 0) })
    }

    /// A handle that neither uses the end nor closes it.
    fn twin(&self) -> Self {
        Self {
            body: self.body.clone(),
            side: self.side,
            myself: self.myself,
            me: self.me,
            mine: self.mine,
            closing: AtomicBool::new(true),
            whereabouts: Arc::new(OwnAtomicU32::new(1)),
            asked_ns: OwnAtomicU64::new(0),
        }
    }

    /// Whether both are handles of one end in one process.
    pub(crate) fn is_twin_of(&self, other: &Self) -> bool {
        let pipe = |end: &Self| end.body.segment().header().instance.low();
        (pipe(self), self.side, self.me) == (pipe(other), other.side, other.me)
    }

    /// Whether nobody else has taken it yet.
    pub(crate) fn is_underway(&self) -> bool {
        self.cell().word.load(Ordering::Acquire) == self.me.to_bits() | CARRIED
    }

    /// The end that arrived; this process carries it now, unless somebody uses it already.
    pub(super) fn arrive(passage: &Passage) -> Result<(Pipe, Self), OpenError> {
        let pipe: Pipe = passage.pipe.open(&super::PipeSettings::default())?;
        let end = Self::new(&pipe, usize::from(passage.side & 1))?;
        let mut word = end.cell().word.load(Ordering::Acquire);
        let carried = end.me.to_bits() | CARRIED;
        while word & STATE == CARRIED && word != carried {
            match end.cell().word.compare_exchange(word, carried, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        crash_point("pipe.arrived");
        Ok((pipe, end))
    }

    /// Which of the two it is.
    pub(super) fn side(&self) -> usize {
        self.side
    }
}

/// The dead of another registry: nobody is attached, so nobody will use the pipe.
pub(super) fn forget_owners(body: &PipeBody) {
    for end in &body.ends {
        end.word.store(DEAD, Ordering::Relaxed);
    }
}

//! The ends of pipes: whose each is, and what became of the other one.
//!
//! | the cell of an end | who changes it | to |
//! |---|---|---|
//! | carried by P: nobody has used it | P, by giving it to its child C as an argument of `Process::spawn` | carried by C, which need not exist yet |
//! | | P, by sending it off in a message (`underway.rs`) | carried by P, the next time |
//! | | Q, which takes the message | carried by Q |
//! | | the other side, or P, when nobody can get the message any more | closed |
//! | | whoever has a handle and uses it first | claimed |
//! | | P, by dropping its handle, unless it sent it off | closed |
//! | | the other side, when P is dead | dead |
//! | claimed by a handle of P | that handle | closed |
//! | | the other side, when P is dead | dead |
//! | closed, dead | nobody | |
//!
//! Every change is one CAS from the exact word before. The word has the owner (bits 0..16 and 32..64), the
//! state (16..19), and which handle of the process claimed the end, or how often it was sent off and taken
//! (19..32).
//!
//! What is left behind by a process that dies is described in `pipe.rs`; what an end does in messages, in
//! `underway.rs`.

mod cell;
mod error;
mod home;
mod object;

pub use error::UnusableEnd;
pub(crate) use error::{Refusal, owner};
pub(crate) use home::Location;
pub(crate) use object::{MAX_BYTES, MIN_BYTES, PipeObject, PipeSettings, RING_OFFSET};

use crate::codec::Codec;
use crate::lane::{Lane, LaneRings};
use cell::{CARRIED, CLAIMED, CLOSED, DEAD, EndCell, HANDLE, HANDLES, STATE, carried_by};
use object::PipeBody;
use procession_shm::{Handle, Myself, OpenError, OwnerId, Placement, Shared, owner_of_child};
use procession_sync::Fault;
use procession_sys::atomic::{Ordering, fence};
use procession_sys::{clock, crash_point, interrupt};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32 as OwnAtomicU32, AtomicU64 as OwnAtomicU64};

// Where the handle believes the end to be: how many messages it was sent off in; that a child has it; that it
// is in a message that is only leased, or looked at.
const HERE: u32 = 0;
const GIVEN: u32 = 1 << 31;
const BORROWED: u32 = 1 << 30;
const SEEN: u32 = 1 << 29;

const SELDOM_NS: u64 = 1_000_000;
/// How many ends are followed that travel through one another.
const NESTED: u32 = 8;

/// What became of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Open,
    Closed,
    Died { pid: u32 },
}

/// A handle of one end.
pub(crate) struct End {
    pub(crate) body: Shared<PipeBody>,
    codec: Codec,
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

/// What becomes of the ends in a message that is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// They are this process's.
    #[default]
    Adopts,
    /// They stay where they are, and this process may use them.
    Borrows,
    /// They stay where they are.
    Looks,
}

/// An end on its way.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passage {
    pipe: Handle,
    side: u8,
}

impl End {
    /// Both ends of a new pipe.
    pub(crate) fn pair(settings: &PipeSettings, place: &Placement) -> Result<[Self; 2], OpenError> {
        let pipe: PipeObject = procession_shm::object::anonymous(settings, place)?;
        Ok([Self::create(&pipe, 0)?, Self::create(&pipe, 1)?])
    }

    /// The end `side` of a pipe that nobody else knows yet.
    fn create(pipe: &PipeObject, side: usize) -> Result<Self, OpenError> {
        let end = Self::new(pipe, side)?;
        end.cell().word.store(end.me.to_bits() | CARRIED, Ordering::Relaxed);
        Ok(end)
    }

    fn new(pipe: &PipeObject, side: usize) -> Result<Self, OpenError> {
        static HANDLES_MADE: OwnAtomicU64 = OwnAtomicU64::new(0);
        let registration = pipe.body.segment().registration();
        let me = registration.owner()?;
        let handle = HANDLES_MADE.fetch_add(1, Ordering::Relaxed) % HANDLES;
        Ok(Self {
            body: pipe.body.clone(),
            codec: pipe.codec,
            side,
            myself: registration.myself(),
            me,
            mine: me.to_bits() | CLAIMED | handle << HANDLE,
            closing: AtomicBool::new(false),
            whereabouts: Arc::new(OwnAtomicU32::new(HERE)),
            asked_ns: OwnAtomicU64::new(0),
        })
    }

    /// How the pipe's messages are written.
    #[inline]
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether the end whose cell holds `word` is carried by this process.
    fn is_carried_here(&self, word: u64) -> bool {
        word & (OwnerId::MASK | STATE) == self.me.to_bits() | CARRIED
    }

    fn cell(&self) -> &EndCell {
        &self.body.ends[self.side]
    }

    fn peer_cell(&self) -> &EndCell {
        &self.body.ends[1 - self.side]
    }

    /// The lane that this end writes.
    #[inline]
    pub(crate) fn outgoing(&self) -> &Lane {
        &self.body.lanes[self.side]
    }

    /// The lane that this end reads.
    #[inline]
    pub(crate) fn incoming(&self) -> &Lane {
        &self.body.lanes[1 - self.side]
    }

    /// The lane that the end `side` writes, with its mapping.
    pub(crate) fn lane(&self, side: usize) -> Shared<Lane> {
        self.body.part(move |body| &body.lanes[side])
    }

    /// Where the bytes lie that the end `side` writes: checked when the pipe was attached.
    pub(crate) fn rings(&self, side: usize) -> LaneRings {
        let [bytes, both_ways, larger, _] =
            self.body.segment().header().parameters.map(|parameter| parameter as usize);
        let first = RING_OFFSET + side * bytes;
        let second = RING_OFFSET + (1 + both_ways) * bytes + side * larger;
        let larger = (larger > 0).then_some((second, larger as u32));
        LaneRings::new(first, bytes as u32).with_larger(larger)
    }

    /// Makes sure that the end is this handle's: the first use claims it.
    #[inline]
    pub(crate) fn claim(&self) -> Result<(), Refusal> {
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
    fn claim_first(&self) -> Result<(), Refusal> {
        if !self.is_here() {
            return Err(Fault::inherited(self.body.segment()).into());
        }
        let mut word = self.cell().word.load(Ordering::Acquire);
        // Of several threads that use the handle first, one claims for all.
        while word != self.mine {
            let is_elsewhere = [GIVEN, SEEN].contains(&self.whereabouts.load(Ordering::Relaxed));
            let is_free = word & STATE == CARRIED && !is_elsewhere;
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
    fn why_not(&self, word: u64) -> Refusal {
        match word & STATE {
            CLOSED => UnusableEnd::Closed.into(),
            DEAD => UnusableEnd::Lost { pid: self.cell().died.load(Ordering::Relaxed) }.into(),
            CARRIED | CLAIMED => {
                let by = self.body.segment().registration().pid_of(OwnerId::from_bits(word)).unwrap_or(0);
                UnusableEnd::InUse { by, here: std::process::id() }.into()
            }
            _ => self.corrupt("one of its ends is in an impossible state").into(),
        }
    }

    #[cold]
    pub(crate) fn corrupt(&self, what: &'static str) -> Fault {
        Fault::corrupt(self.body.segment(), what)
    }

    /// Whether a thread is closing this end, or has.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Closes the end, if it is this handle's to close. `quiesce` keeps other threads from writing until what
    /// it returns is dropped; they have been told.
    pub(crate) fn close<R>(&self, quiesce: impl FnOnce(&Self) -> R) {
        let word = self.cell().word.load(Ordering::Acquire);
        if !self.is_here() || !self.may_close(word) {
            return;
        }
        self.closing.store(true, Ordering::Release);
        self.call_everybody();
        // Those who wait have been told, and let go at once.
        let deferred = interrupt::defer();
        let quiet = quiesce(self);
        drop(deferred);
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
    }

    /// Whether the end is this handle's: it uses it, or has carried it here and not sent it off.
    fn may_close(&self, word: u64) -> bool {
        word == self.mine || self.is_carried_here(word) && self.whereabouts.load(Ordering::Relaxed) == HERE
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
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closing() || self.cell().word.load(Ordering::Acquire) & STATE == CLOSED
    }

    /// What is known of the other end.
    #[inline]
    pub(crate) fn peer(&self) -> Peer {
        // SYNC: pipe.close.
        match self.peer_cell().word.load(Ordering::Acquire) & STATE {
            CARRIED | CLAIMED => Peer::Open,
            CLOSED => Peer::Closed,
            _ => Peer::Died { pid: self.peer_cell().died.load(Ordering::Relaxed) },
        }
    }

    /// Who has the other end, as long as it is not closed.
    pub(crate) fn peer_owner(&self) -> Option<OwnerId> {
        let word = self.peer_cell().word.load(Ordering::Acquire);
        [CARRIED, CLAIMED].contains(&(word & STATE)).then(|| OwnerId::from_bits(word))
    }

    /// As [`ask_about_peer`](Self::ask_about_peer), for who tries again and again: at most once a
    /// millisecond.
    pub(crate) fn ask_seldom(&self) -> Result<(), Fault> {
        let now = clock::now_ns();
        if now.saturating_sub(self.asked_ns.load(Ordering::Relaxed)) < SELDOM_NS {
            return Ok(());
        }
        self.asked_ns.store(now, Ordering::Relaxed);
        self.ask_about_peer()
    }

    /// Asks whether the process that has the other end is alive, and writes down that it is not.
    #[cold]
    pub(crate) fn ask_about_peer(&self) -> Result<(), Fault> {
        let cell = self.peer_cell();
        let word = cell.word.load(Ordering::Acquire);
        if ![CARRIED, CLAIMED].contains(&(word & STATE)) {
            return Ok(());
        }
        let segment = self.body.segment();
        let owner = OwnerId::from_bits(word);
        let is_dead = segment.registration().is_dead(owner);
        let is_dead = is_dead.map_err(|why| Fault::unknowable(segment, why))?;
        if is_dead {
            crash_point("pipe.peer_found_dead");
            cell.died.store(segment.registration().pid_of(owner).unwrap_or(0), Ordering::Relaxed);
            // Failure means that the end was closed before its owner died, or has another carrier.
            let _: Result<u64, u64> =
                cell.word.compare_exchange(word, word & !STATE | DEAD, Ordering::AcqRel, Ordering::Relaxed);
            crash_point("pipe.death_noted");
        } else {
            self.close_if_lost(1 - self.side, word);
        }
        Ok(())
    }

    /// Closes the end `side`, whose cell held `word`, if it travels in a message that nobody can get any
    /// more.
    fn close_if_lost(&self, side: usize, word: u64) {
        if word & STATE != CARRIED {
            return;
        }
        let Some(location) = self.body.homes[side].get(word) else { return };
        // Who does not find this pipe by its name finds no home by its name either, and has found nothing
        // out.
        if !self.body.segment().is_found() || !is_lost(&location, NESTED) {
            return;
        }
        crash_point("pipe.end_found_lost");
        self.close_from(side, word);
    }

    /// Closes the end `side` for good, if its cell still has this word: otherwise somebody got it after all,
    /// or sent it off anew.
    fn close_from(&self, side: usize, word: u64) {
        let (cell, closed) = (&self.body.ends[side].word, word & !STATE | CLOSED);
        if cell.compare_exchange(word, closed, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            crash_point("pipe.lost_end_closed");
            self.call_everybody();
        }
    }

    /// Of an end that this process sent off: closes it if nobody can get it any more.
    pub(crate) fn give_up_if_lost(&self) {
        if let Some(word) = self.carried_word().filter(|_| self.is_here()) {
            self.close_if_lost(self.side, word);
        }
    }

    /// Of an end that this process carries: says in which message it is about to travel; `None`: in none, or
    /// nobody knows.
    pub(crate) fn set_home(&self, location: Option<&Location>) {
        if let Some(word) = self.carried_word().filter(|_| self.is_here()) {
            self.body.homes[self.side].set(word, location);
        }
    }

    /// Where messages are that are sent through this end.
    pub(crate) fn as_location(&self) -> Location {
        Location { receiver: Some(u8::from(self.side == 0)), ..Location::of_queue(self.body.segment()) }
    }

    /// In a process that was forked from the one that carries the end: a handle of its own, by which it has claimed it.
    pub(crate) fn claim_in_fork(&self) -> Result<Self, Refusal> {
        let segment = self.body.segment();
        let me = Fault::or_owner(segment)?;
        let end = Self {
            me,
            mine: self.mine & !OwnerId::MASK | me.to_bits(),
            closing: AtomicBool::new(false),
            whereabouts: Arc::new(OwnAtomicU32::new(HERE)),
            ..self.twin()
        };
        end.claim()?;
        Ok(end)
    }

    /// Leaves the end to a process that was forked from this one: as if it had been given to it.
    pub(crate) fn leave_to_fork(&self) {
        let is_unused = self.is_carried_here(self.cell().word.load(Ordering::Acquire));
        if self.is_here() && is_unused && self.whereabouts.load(Ordering::Relaxed) == HERE {
            self.whereabouts.store(GIVEN, Ordering::Relaxed);
        }
    }

    /// Sends the end off: to the child that gets these arguments, or to whoever gets the message.
    pub(crate) fn depart(&self) -> Result<Passage, String> {
        if !self.is_here() {
            return Err(Fault::inherited(self.body.segment()).to_string());
        }
        let segment = self.body.segment();
        let child = owner_of_child(segment.registration()).transpose().map_err(|error| error.to_string())?;
        let mut word = self.cell().word.load(Ordering::Acquire);
        loop {
            // Only who carries the end can send it; nor can who has it on loan.
            if !self.is_carried_here(word) || self.whereabouts.load(Ordering::Relaxed) >= SEEN {
                return Err(match word == self.mine {
                    true => "an end of a pipe that has been used stays with its process".to_owned(),
                    false => self.why_not(word).to_string(),
                });
            }
            let next = carried_by(child.unwrap_or(self.me), word);
            match self.cell().word.compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        crash_point("pipe.departed");
        if child.is_some() {
            self.whereabouts.store(GIVEN, Ordering::Relaxed);
        } else {
            self.whereabouts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.passage())
    }

    /// Whether it was given to a child.
    pub(crate) fn is_given(&self) -> bool {
        self.whereabouts.load(Ordering::Relaxed) == GIVEN
    }

    /// Whether it was sent off in no other message.
    pub(crate) fn is_in_one_message(&self) -> bool {
        self.whereabouts.load(Ordering::Relaxed) == 1
    }

    /// A message that it was in was not sent.
    pub(crate) fn came_back(&self) {
        self.set_home(None);
        self.whereabouts.fetch_sub(1, Ordering::Relaxed);
    }

    /// How it is found by whoever gets the message.
    pub(crate) fn passage(&self) -> Passage {
        Passage { pipe: self.body.segment().handle(), side: u8::from(self.side != 0) }
    }

    /// Another name of this handle, which neither uses the end nor closes it.
    pub(crate) fn twin(&self) -> Self {
        Self {
            body: self.body.clone(),
            codec: self.codec,
            side: self.side,
            myself: self.myself,
            me: self.me,
            mine: self.mine,
            closing: AtomicBool::new(true),
            whereabouts: Arc::clone(&self.whereabouts),
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
        self.carried_word().is_some()
    }

    /// The end that a decoder comes to.
    pub(crate) fn arrive(passage: &Passage, rules: Decoding) -> Result<(PipeObject, Self), OpenError> {
        let (pipe, end) = Self::open(passage)?;
        match rules {
            Decoding::Adopts => drop(end.adopt()),
            Decoding::Borrows => {}
            Decoding::Looks => end.whereabouts.store(SEEN, Ordering::Relaxed),
        }
        crash_point("pipe.arrived");
        Ok((pipe, end))
    }

    /// A handle of an end that is in a message still.
    pub(crate) fn open(passage: &Passage) -> Result<(PipeObject, Self), OpenError> {
        let pipe: PipeObject = passage.pipe.open(&PipeSettings::default())?;
        let end = Self::new(&pipe, usize::from(passage.side & 1))?;
        end.whereabouts.store(BORROWED, Ordering::Relaxed);
        Ok((pipe, end))
    }

    /// Carries the end from now on; the word of its cell, unless somebody uses it already, or it is closed.
    pub(crate) fn adopt(&self) -> Option<u64> {
        let mut word = self.cell().word.load(Ordering::Acquire);
        while word & STATE == CARRIED {
            let mine = carried_by(self.me, word);
            match self.cell().word.compare_exchange(word, mine, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    word = mine;
                    break;
                }
                Err(now) => word = now,
            }
        }
        self.whereabouts.store(HERE, Ordering::Relaxed);
        crash_point("pipe.adopted");
        self.is_carried_here(word).then_some(word)
    }

    /// The word of the end's cell, if this process carries it.
    pub(crate) fn carried_word(&self) -> Option<u64> {
        let word = self.cell().word.load(Ordering::Acquire);
        self.is_carried_here(word).then_some(word)
    }

    /// Closes an end that this process carries, if nobody has taken it since its cell had this word.
    pub(crate) fn close_if_untouched(&self, word: u64) {
        if self.is_here() {
            self.close_from(self.side, word);
        }
    }

    /// Which of the two it is.
    pub(crate) fn side(&self) -> usize {
        self.side
    }
}

/// Whether nobody can get messages there any more. The receiving end of a pipe may travel itself, so many
/// times `nested`.
fn is_lost(location: &Location, nested: u32) -> bool {
    let Some(side) = location.receiver.map(|side| usize::from(side & 1)) else {
        return location.object.is_lost();
    };
    if location.object.is_lost() {
        return true;
    }
    let Ok(home) = location.object.open::<PipeObject>(&PipeSettings::default()) else { return false };
    let word = home.body.ends[side].word.load(Ordering::Acquire);
    let is_dead = || home.body.segment().registration().is_dead(OwnerId::from_bits(word)) == Ok(true);
    let next = |nested| home.body.homes[side].get(word).is_some_and(|next| is_lost(&next, nested));
    match word & STATE {
        CLAIMED => is_dead(),
        CARRIED => is_dead() || nested.checked_sub(1).is_some_and(next),
        _ => true,
    }
}

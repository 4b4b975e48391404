//! Sending and receiving bytes through one end. The protocol is described in `pipe.rs`.

use super::error::{RecvError, SendError};
use super::taker::{Taker, corrupt};
use crate::lane::{LaneReader, LaneWriter};
use crate::pipe_end::{End, Peer, Refusal, UnusableEnd};
use procession_sync::{EventCount, Fault, Nap, Patience, Stop, spin_until};
use procession_sys::cpu::{self, fence_after_rmw};
use procession_sys::{Deadline, Turn, TurnGuard};
use std::ops::RangeInclusive;

/// Between two looks of a waiter that does not sleep yet.
const PAUSES: RangeInclusive<u32> = 1..=4;
/// How often it looks before it begins to count the time.
const LOOKS: u32 = 40;

/// Why waiting ended without a reason to look again.
enum PipeBlocked {
    TimedOut,
    Interrupted,
    Refused(Refusal),
}

fn faulty(fault: Fault) -> PipeBlocked {
    PipeBlocked::Refused(fault.into())
}

/// One thread's waits during one operation.
struct PeerWaiter<'a> {
    end: &'a End,
    bell: &'a EventCount,
    deadline: Deadline,
    patience: Option<Patience>,
}

impl<'a> PeerWaiter<'a> {
    #[inline]
    fn new(end: &'a End, bell: &'a EventCount, deadline: Deadline) -> Self {
        Self { end, bell, deadline, patience: None }
    }

    /// Returns when it is worth looking again.
    #[cold]
    fn wait<T>(
        &mut self,
        turn: &mut TurnGuard<'_, T>,
        is_ready: impl Fn(&mut T) -> bool,
    ) -> Result<(), PipeBlocked> {
        let end = self.end;
        if end.is_closing() {
            return Err(PipeBlocked::Refused(UnusableEnd::Closed.into()));
        }
        if self.deadline.has_passed() {
            // Whoever waits again and again for less than a slice would otherwise never learn of a death.
            end.ask_seldom().map_err(faulty)?;
            return if end.peer() == Peer::Open { Err(PipeBlocked::TimedOut) } else { Ok(()) };
        }
        let is_ready = |turn: &mut T| is_ready(turn) || end.peer() != Peer::Open || end.is_closing();
        // An answer that is on its way comes sooner than a clock can be read a few times.
        let looks = if cpu::available() > 1 { LOOKS } else { 0 };
        for _ in 0..looks {
            if is_ready(turn) {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        if spin_until(PAUSES, || is_ready(turn)) {
            return Ok(());
        }
        turn.rest(true);
        let outcome = self.sleep(|| is_ready(turn));
        turn.rest(false);
        outcome
    }

    fn sleep(&mut self, is_ready: impl FnMut() -> bool) -> Result<(), PipeBlocked> {
        let deadline = self.deadline;
        let patience = self.patience.get_or_insert_with(|| Patience::new(deadline));
        let end = self.end;
        match self.bell.wait(Some(end.body.segment()), patience, is_ready, || end.peer_owner()) {
            // Without its file a pipe still has its two ends: what matters is whether the peer lives.
            Ok(Nap::Ask) | Err(Stop::Orphaned) => end.ask_about_peer().map_err(faulty),
            Ok(_) => Ok(()),
            Err(Stop::Interrupted) => Err(PipeBlocked::Interrupted),
        }
    }
}

/// Sends one message; all of it or nothing.
#[inline]
pub(super) fn send(
    end: &End,
    writer: &Turn<LaneWriter>,
    message: &[u8],
    deadline: Deadline,
) -> Result<(), SendError> {
    end.claim()?;
    let mut turn = writer.lock_until(deadline)?;
    turn.prepare();
    let sent = write(end, &mut turn, message, deadline);
    drop(turn);
    // SYNC: eventcount.dekker. The end of the turn was a read-modify-write.
    fence_after_rmw();
    end.outgoing().data().notify_one();
    sent
}

#[inline]
fn write(
    end: &End,
    turn: &mut TurnGuard<'_, LaneWriter>,
    message: &[u8],
    deadline: Deadline,
) -> Result<(), SendError> {
    // After the beginning of the turn: whoever closes the end waits for the turn, and nothing is written
    // after that.
    if end.is_closing() {
        return Err(UnusableEnd::Closed.into());
    }
    must_be_open(end)?;
    if message.len() <= turn.part() && turn.try_write(message) {
        return Ok(());
    }
    if deadline == Deadline::PASSED {
        return write_at_once(end, turn, message);
    }
    let sent = write_waiting(end, turn, message, deadline);
    if sent.is_err() {
        turn.abandon();
    }
    sent
}

#[inline]
fn must_be_open(end: &End) -> Result<(), SendError> {
    match end.peer() {
        Peer::Open => Ok(()),
        Peer::Closed => Err(SendError::PeerClosed),
        Peer::Died { pid } => Err(SendError::PeerDied { pid }),
    }
}

#[cold]
fn write_at_once(end: &End, turn: &mut TurnGuard<'_, LaneWriter>, message: &[u8]) -> Result<(), SendError> {
    if turn.try_write(message) {
        return Ok(());
    }
    // After the attempt: only then is it known whether there is a larger ring.
    if message.len() > turn.most() {
        return Err(SendError::TooLarge { len: message.len(), most: turn.most() });
    }
    // It would be full for ever if nobody ever asked.
    end.ask_seldom()?;
    must_be_open(end)?;
    Err(if turn.is_corrupt() { end.corrupt(IMPOSSIBLE).into() } else { SendError::TimedOut })
}

fn write_waiting(
    end: &End,
    turn: &mut TurnGuard<'_, LaneWriter>,
    message: &[u8],
    deadline: Deadline,
) -> Result<(), SendError> {
    let mut waiter = PeerWaiter::new(end, end.outgoing().room(), deadline);
    while !turn.write_some(message) {
        if turn.is_corrupt() {
            return Err(end.corrupt(IMPOSSIBLE).into());
        }
        // The reader may sleep, and has to make room.
        turn.notify_data();
        waiter.wait(turn, |writer| writer.has_room_for(message.len())).map_err(|blocked| match blocked {
            PipeBlocked::TimedOut => SendError::TimedOut,
            PipeBlocked::Interrupted => SendError::Interrupted,
            PipeBlocked::Refused(refusal) => refusal.into(),
        })?;
        must_be_open(end)?;
    }
    Ok(())
}

const IMPOSSIBLE: &str = "there is more in the ring than it can hold";

/// Receives one message, or looks at it.
#[inline]
pub(super) fn receive<K: Taker>(
    end: &End,
    reader: &Turn<LaneReader>,
    taker: &mut K,
    deadline: Deadline,
) -> Result<K::Taken, RecvError> {
    end.claim()?;
    let mut turn = reader.lock_until(deadline)?;
    let taken = read(end, &mut turn, taker, deadline);
    turn.keep(taker.place());
    drop(turn);
    // SYNC: eventcount.dekker. The end of the turn was a read-modify-write.
    fence_after_rmw();
    end.incoming().room().notify_one();
    taken
}

#[inline]
fn read<K: Taker>(
    end: &End,
    turn: &mut TurnGuard<'_, LaneReader>,
    taker: &mut K,
    deadline: Deadline,
) -> Result<K::Taken, RecvError> {
    if let Some(len) = next_len(end, turn, taker)? {
        return taker.take(end, turn, len);
    }
    read_waiting(end, turn, taker, deadline)
}

#[inline]
fn next_len<K: Taker>(end: &End, reader: &mut LaneReader, taker: &mut K) -> Result<Option<usize>, RecvError> {
    reader.next_len(taker.place()).map_err(|error| corrupt(end, error))
}

#[inline(never)]
fn read_waiting<K: Taker>(
    end: &End,
    turn: &mut TurnGuard<'_, LaneReader>,
    taker: &mut K,
    deadline: Deadline,
) -> Result<K::Taken, RecvError> {
    let mut waiter = PeerWaiter::new(end, end.incoming().data(), deadline);
    loop {
        // Before the ring: what the peer sent before it closed or died is seen by whoever sees that.
        let peer = end.peer();
        if let Some(len) = next_len(end, turn, taker)? {
            return taker.take(end, turn, len);
        }
        match peer {
            Peer::Open => {}
            // What was begun will never end; there is nobody who could go on with it.
            Peer::Closed => {
                turn.forget();
                return Err(RecvError::Eof);
            }
            Peer::Died { pid } => {
                turn.forget();
                return Err(RecvError::PeerDied { pid });
            }
        }
        // Parts of a long message were read: the writer may sleep for their room.
        turn.give_room();
        waiter.wait(turn, |reader| reader.has_data_soon()).map_err(|blocked| match blocked {
            PipeBlocked::TimedOut => RecvError::TimedOut,
            PipeBlocked::Interrupted => RecvError::Interrupted,
            PipeBlocked::Refused(refusal) => refusal.into(),
        })?;
    }
}

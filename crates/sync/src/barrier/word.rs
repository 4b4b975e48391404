//! The bits of a barrier's word, and of the words in its places; what they mean is described in `barrier.rs`.

use super::BreakCause;

pub(super) const WAITERS: u64 = 1;
pub(super) const RESETTING: u64 = 1 << 1;
pub(super) const STATE: u64 = 0b111 << STATE_SHIFT;
pub(super) const TIMED_OUT: u64 = 1 << STATE_SHIFT;
pub(super) const ABORTED: u64 = 2 << STATE_SHIFT;
pub(super) const ACTION_FAILED: u64 = 3 << STATE_SHIFT;
pub(super) const PEER_DIED: u64 = 4 << STATE_SHIFT;
pub(super) const RESET: u64 = 5 << STATE_SHIFT;
pub(super) const ACTING: u64 = 6 << STATE_SHIFT;
/// The state that goes with `RESETTING` when a thread that had arrived was interrupted: the others arrive
/// again.
pub(super) const WITHDRAWN: u64 = 7 << STATE_SHIFT;
pub(super) const ARRIVAL: u64 = 1 << 32;
pub(super) const ARRIVALS: u64 = 0xffff;

const STATE_SHIFT: u32 = 2;
const LOW_SHIFT: u32 = 5;
const LOW_BITS: u32 = 27;
const HIGH_SHIFT: u32 = 48;
const GENERATIONS: u64 = (1 << (LOW_BITS + 64 - HIGH_SHIFT)) - 1;

/// The bits of a place's `wait` besides the generation; all 0 if nobody waits here for it.
const CODES: u64 = 0b1111;
/// On its way: counted once the barrier's word is.
pub(super) const COMING: u64 = 1;
/// Has arrived at an elastic barrier.
pub(super) const ARRIVED: u64 = 2;
/// The generation will never trip; the low bits say why, as the barrier's state would.
const FAILED: u64 = 8;

pub(super) fn generation(word: u64) -> u64 {
    (word >> LOW_SHIFT) & ((1 << LOW_BITS) - 1) | word >> HIGH_SHIFT << LOW_BITS
}

pub(super) fn arrived(word: u64) -> u64 {
    (word / ARRIVAL) & ARRIVALS
}

pub(super) fn state(word: u64) -> u64 {
    word & STATE
}

pub(super) fn with_state(word: u64, state: u64) -> u64 {
    word & !STATE | state
}

/// Whether the generation goes on: nobody has broken or reset it.
pub(super) fn is_whole(word: u64) -> bool {
    word & RESETTING == 0 && matches!(state(word), 0 | ACTING)
}

/// The generation after this one.
pub(super) fn following(generation: u64) -> u64 {
    (generation + 1) & GENERATIONS
}

/// The word when the generation has ended: nobody has arrived, nobody waits.
pub(super) fn ended(word: u64) -> u64 {
    let next = following(generation(word));
    (next & ((1 << LOW_BITS) - 1)) << LOW_SHIFT | next >> LOW_BITS << HIGH_SHIFT
}

/// The word with one more arrival; beyond what can be counted, none: at an elastic barrier it is only the
/// order.
pub(super) fn with_arrival(word: u64) -> u64 {
    if arrived(word) == ARRIVALS { word } else { word + ARRIVAL }
}

pub(super) fn waiting(generation: u64, code: u64) -> u64 {
    generation << 4 | code
}

/// The `wait` of a place whose generation failed for the reason in `word`.
pub(super) fn failed(generation: u64, word: u64) -> u64 {
    waiting(generation, FAILED | state(word) >> STATE_SHIFT)
}

/// Why the generation that stands in a place failed, as a state, if it did.
pub(super) fn failure(wait: u64) -> Option<u64> {
    (wait & FAILED != 0).then_some((wait & (CODES & !FAILED)) << STATE_SHIFT)
}

/// Why a barrier in this state is broken; `died` is the pid of the last one that died.
pub(super) fn cause(state: u64, died: u32) -> BreakCause {
    match state {
        TIMED_OUT => BreakCause::TimedOut,
        ACTION_FAILED => BreakCause::ActionFailed,
        PEER_DIED => BreakCause::PeerDied { pid: died },
        RESET => BreakCause::Reset,
        _ => BreakCause::Aborted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_counts_through_both_parts_of_the_word_and_wraps() {
        let mut word = with_arrival(with_state(WAITERS | RESETTING, ABORTED));
        assert_eq!((generation(word), arrived(word), state(word)), (0, 1, ABORTED));
        word = ended(word);
        assert_eq!((generation(word), arrived(word), word & (WAITERS | RESETTING | STATE)), (1, 0, 0));
        let last_low = ((1 << LOW_BITS) - 1) << LOW_SHIFT;
        assert_eq!(generation(ended(last_low)), 1 << LOW_BITS);
        let last = last_low | 0xffff << HIGH_SHIFT;
        assert_eq!((generation(last), generation(ended(last))), (GENERATIONS, 0));
        assert_eq!(arrived(with_arrival(ARRIVALS * ARRIVAL)), ARRIVALS);
    }

    #[test]
    fn a_failure_says_its_generation_and_why() {
        let word = with_state(0, PEER_DIED);
        let wait = failed(GENERATIONS, word);
        assert_eq!((failure(wait), wait >> 4), (Some(PEER_DIED), GENERATIONS));
        assert_eq!((failure(waiting(7, COMING)), failure(waiting(7, ARRIVED))), (None, None));
    }
}

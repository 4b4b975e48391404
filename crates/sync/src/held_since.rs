//! How long a lock has been held, at least: a note for people, beside the lock word.
//!
//! Acquiring a free lock reads no clock, so a holder does not know when its hold began. Whoever waits for it
//! knows when it has seen it, and notes the earliest such time.
//!
//! | step | killed here leaves |
//! |---|---|
//! | a waiter announces itself in the word (`WAITERS`), and sleeps | nothing |
//! | at the end of its slice the same hold is there: it notes when the slice began, unless this hold has a note | a true note |
//! | it looks again: if the hold is over, it takes the note back | a note of a hold that is over |
//! | the holder releases: because of `WAITERS` not by the one CAS, and clears the note before | a true note of a dead holder's |
//!
//! A note names the hold in its low bits, so one of a hold that is over counts at most for a later hold of
//! that very thread, until a waiter was there again: it is a hint, and nothing depends on it.

use crate::hold::Hold;
use procession_sys::atomic::{AtomicU64, Ordering};
use procession_sys::{clock, shm_struct};
use std::time::Duration;

/// The bits of a note that name the hold; the others are milliseconds on the machine's monotonic clock.
const NAME: u64 = (1 << 24) - 1;

shm_struct! {
    /// Since when a lock has been held, at least; 0 where nobody knows.
    pub struct HeldSince {
        note: AtomicU64,
    }
}

impl HeldSince {
    /// Notes that `hold` was there at `since_ns` already, on this process's clock. `is_there` looks whether it still
    /// is.
    pub(crate) fn note(&self, hold: u64, since_ns: u64, is_there: impl FnOnce() -> bool) {
        // Where the machine's time is not known, nor is it known since when.
        let Some(since_ns) = clock::on_machine(since_ns) else { return };
        // Relaxed, here and below: a hint, which no other word goes with.
        let before = self.note.load(Ordering::Relaxed);
        let note = (since_ns / 1_000_000) << 24 | name(hold);
        if before & NAME != note & NAME
            && self.note.compare_exchange(before, note, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && !is_there()
        {
            let _: Result<u64, u64> =
                self.note.compare_exchange(note, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Clears the note; called by the holder before it releases, and by whoever frees the lock from the dead.
    pub(crate) fn clear(&self) {
        // Almost always there is none, and then there is no store that the release would have to wait for.
        if self.note.load(Ordering::Relaxed) != 0 {
            self.note.store(0, Ordering::Relaxed);
        }
    }

    /// How long `hold` has been there, at least; `None` if nobody has waited for it.
    pub(crate) fn duration(&self, hold: u64) -> Option<Duration> {
        let note = self.note.load(Ordering::Relaxed);
        let is_known = note != 0 && note & NAME == name(hold);
        let now_ns = if is_known { clock::machine_ns() } else { None };
        now_ns.map(|now_ns| Duration::from_millis((now_ns / 1_000_000).saturating_sub(note >> 24)))
    }
}

/// What a note calls a hold: of owners, threads and generations that are near each other all differ.
fn name(hold: u64) -> u64 {
    let hold = hold & Hold::MASK;
    (hold ^ hold >> 13 ^ hold >> 32) & NAME
}

#[cfg(test)]
mod tests {
    use super::HeldSince;
    use procession_sys::atomic::AtomicU64;
    use procession_sys::clock;
    use std::time::Duration;

    #[test]
    fn the_first_note_of_a_hold_counts_for_that_hold() {
        let since = HeldSince { note: AtomicU64::new(0) };
        assert_eq!(since.duration(1), None);
        let now = clock::now_ns();
        since.note(1, now - 5_000_000_000, || true);
        since.note(1, now, || true);
        assert!(since.duration(1) >= Some(Duration::from_millis(4_999)));
        assert_eq!(since.duration(2), None);
        since.note(2, now - 1_000_000_000, || true);
        assert!(since.duration(2) < Some(Duration::from_secs(4)) && since.duration(1).is_none());
        since.clear();
        assert_eq!(since.duration(2), None);
    }

    #[test]
    fn a_note_that_comes_too_late_is_taken_back() {
        let since = HeldSince { note: AtomicU64::new(0) };
        since.note(1, clock::now_ns(), || false);
        assert_eq!(since.duration(1), None);
    }
}

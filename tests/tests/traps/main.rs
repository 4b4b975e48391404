//! Traps that were found while the toolkit was designed: what looks right, and was seen to fail on a real
//! kernel. One file for each subject, one test or more for each trap; the name of a test says what must not
//! happen. `docs/traps.md` says of each what happens, and what is done instead.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

mod exclusion;
mod foreign;
mod forked;
mod liveness;
mod segments;
mod waking;

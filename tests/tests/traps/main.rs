//! Traps that were found while the toolkit was designed, one test or more for each, named by its number in the list
//! of traps. (Those about primitives that are not built yet, and about starting processes, are elsewhere or to come.)
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

mod exclusion;
mod foreign;
mod forked;
mod liveness;
mod segments;
mod waking;

//! What the tests share: actors, watchdogs, namespaces, and a look at the bytes behind the library's back.
//!
//! A test makes a [`Scratch`] namespace, starts some [`Actor`]s in it, and tells them what to do line by
//! line; an actor answers each line with one line. Nothing here sleeps to let something happen: it waits for
//! an answer, or asks again until a condition holds. A test that waits for ever is ended by its [`Watchdog`].
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "this is part of the tests: what fails here fails a test"
)]

mod actor;
mod case;
pub mod chaos;
pub mod cluster;
mod dice;
pub mod network;
pub mod pictures;
pub mod postgres;
mod processes;
pub mod raw;
mod scratch;
mod shell;
mod sources;
mod watchdog;

pub use actor::{Actor, program, signal_of};
pub use case::case_of;
pub use dice::Dice;
pub use processes::{
    children, descriptors, forkservers, in_fork, in_own_process, is_stopped, kill_child, runs, send, soaks,
    spares, started,
};
pub use scratch::{Scratch, isolate};
pub use shell::{can_unshare, in_own_shm, note, python, run, skip};
pub use sources::sources;
pub use watchdog::{Patience, Watchdog, until};

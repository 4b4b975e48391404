//! Coordination beyond one machine: locks, semaphores, events and queues of processes on several hosts.
//!
//! A [`Cluster`] is a PostgreSQL server that all hosts reach, or, for the processes of one host, shared memory
//! (`shm:`). The types are the same. They are types of their own, beside those for one machine, because here every
//! operation can be [`Unavailable`](ClusterError::Unavailable), and every hold can be
//! [`Lost`](ClusterError::Lost).
//!
//! ```
//! # procession::Namespace::private().enter();
//! let cluster = procession::cluster::connect("shm:")?; // or "postgres://user@host/database"
//! let guard = cluster.lock("deploy").acquire()?;
//! println!("write with token {}", guard.token());
//! assert!(!guard.is_lost());
//! guard.release()?;
//! # Ok::<(), procession::cluster::ClusterError>(())
//! ```

mod any_guard;
mod barrier;
mod cluster;
mod counter;
mod engine;
mod error;
mod event;
mod hold_face;
mod imap;
mod latch;
mod lock;
mod pool;
mod postgres;
mod queue;
mod report;
mod rwlock;
mod semaphore;
mod shm;
mod tally;
mod token;
mod worker;

pub use any_guard::AnyGuard;
pub use barrier::Barrier;
pub use cluster::{Cluster, ClusterOptions, connect};
pub use counter::Counter;
pub use error::{ClusterError, Subject};
pub use event::Event;
pub use imap::{Imap, ImapUnordered};
pub use latch::Latch;
pub use lock::{Lock, LockGuard};
pub use pool::{Future, Pool};
pub use procession_channel::LeaseToken;
pub use queue::{DeadLetter, JoinableQueue, Lease, Receipt, Redeemed};
pub use report::{ClusterDeadlock, ClusterObject, ClusterParticipant};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::{Permit, Semaphore};
pub use token::{InvalidToken, Token};
pub use worker::{WorkerOf, become_worker_if_started_as_one};

//! Queues between processes that lose nothing acknowledged.

pub mod codec;
mod joinable;
mod lane;
mod queue;
mod ring;

pub use joinable::{AckError, DeadLetter, JoinableQueue, JoinableQueueOptions, Lease, Leases};
#[doc(hidden)]
pub use lane::{Lane, LaneCorrupt, LaneReader, LaneWriter};
pub use queue::{GetError, PutError, Queue, QueueFault, QueueOptions};

//! Queues between processes that lose nothing acknowledged.

pub mod codec;
mod lane;
mod queue;
mod ring;

#[doc(hidden)]
pub use lane::{Lane, LaneCorrupt, LaneReader, LaneWriter};
pub use queue::{GetError, PutError, Queue, QueueFault, QueueOptions};

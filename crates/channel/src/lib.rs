//! Queues between processes that lose nothing acknowledged.

pub mod codec;
mod lane;
mod queue;
mod readiness;
mod ring;
mod wait;

#[doc(hidden)]
pub use lane::{Lane, LaneCorrupt, LaneReader, LaneWriter};
pub use queue::{GetError, PutError, Queue, QueueFault, QueueOptions};
pub use readiness::{Readiness, readiness};
pub use wait::{Waitable, Watch, wait};

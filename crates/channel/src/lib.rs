//! Queues between processes that lose nothing acknowledged.

pub mod codec;
mod queue;
mod ring;

pub use queue::{GetError, PutError, Queue, QueueFault, QueueOptions};

//! Queues and pipes between processes that lose nothing acknowledged.

pub mod codec;
mod joinable;
mod lane;
mod messages;
mod pipe;
mod pipe_end;
mod queue;
mod ring;
mod simple;
mod underway;
mod waiter;

pub use codec::{Bytes, Codec, Encoded};
pub use joinable::{
    AckError, DeadLetter, Finished, JoinError, JoinableBatch, JoinableBytes, JoinableQueue,
    JoinableQueueOptions, Lease, LeaseToken, LeasedItem, PeekedItem, Redeemed,
};
#[doc(hidden)]
pub use lane::{Lane, LaneCorrupt, LaneReader, LaneRings, LaneWriter};
pub use messages::Messages;
pub use pipe::{Connection, Pipe, PipeOptions, Receiver, RecvError, SendError, Sender, duplex, pipe};
pub use pipe_end::UnusableEnd;
pub use queue::{
    CloseError, ClosedQueue, Fullness, GetError, GetManyError, PutError, PutManyError, Queue, QueueBatch,
    QueueBytes, QueueOptions, QueueSlots, ReadSlot, SlotHeld, WriteSlot,
};
pub use simple::SimpleQueue;
#[doc(hidden)]
pub use underway::Parcel;

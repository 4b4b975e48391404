//! Named shared-memory segments, the registry of processes with their lifelines, inventory and garbage
//! collection.
//!
//! An object is one file in `/dev/shm` that appears whole and is removed once. Claims in it name their owner by
//! [`OwnerId`], and [`Registration::is_dead`] tells whether that owner's process is gone.

mod carry;
mod ended;
mod error;
mod found;
pub mod gc;
mod header;
mod inventory;
mod label;
mod namespace;
pub mod object;
mod owner;
mod plain;
mod registry;
mod segment;
mod shared;
mod spill;
mod waits;

pub use carry::{Carried, carry, carrying, carrying_to_child, owner_of_child};
#[doc(hidden)]
pub use ended::thread_ended;
pub use error::OpenError;
#[doc(hidden)]
pub use error::fmt_with_causes;
pub use header::{
    ANY_CODEC, CODECS, FORMAT_VERSION, HEADER_LEN, Header, InstanceId, Kind, Parameter, Shape, codec_name,
    element_tag, fnv,
};
pub use inventory::{Entry, list_all};
pub use label::Label;
pub use namespace::Namespace;
pub use object::{HANDLE_NAME, Handle, Object, Placement, Segment};
pub use owner::OwnerId;
pub use plain::PlainFile;
pub use registry::{
    DEFAULT_SLOTS, Myself, Participant, Registration, StartingProcess, Unknowable, leave, register,
    register_with_slots, set_process_name, take_over,
};
pub use shared::Shared;
#[doc(hidden)]
pub use spill::{Marks, Reference, Spill};
pub use waits::{ShownWait, WaitNote, Waiting, show_wait};

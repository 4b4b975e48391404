//! Named shared-memory segments, the registry of processes with their lifelines, inventory and garbage
//! collection.
//!
//! An object is one file in `/dev/shm` that appears whole and is removed once. Claims in it name their owner
//! by [`OwnerId`], and [`Registration::is_dead`] tells whether that owner's process is gone.

mod attached;
mod beginning;
mod carry;
mod codec;
mod ended;
mod error;
mod found;
pub mod gc;
mod header;
mod instance;
mod inventory;
mod kind;
mod label;
mod lost;
mod namespace;
pub mod object;
mod owner;
mod plain;
mod registry;
mod roll;
mod segment;
mod shared;
mod spill;
mod structure;
mod waits;

pub use attached::{HANDLE_NAME, Handle, Segment};
pub use carry::{Carried, carry, carrying, carrying_to_child, owner_of_child};
pub use codec::{ANY_CODEC, CODECS, codec_name};
#[doc(hidden)]
pub use ended::thread_ended;
pub use error::OpenError;
#[doc(hidden)]
pub use error::fmt_with_causes;
pub use header::{Element, FORMAT_VERSION, HEADER_LEN, Header, Parameter, STRUCTURE_MAX, Shape, element_tag};
pub use instance::{InstanceId, fnv};
pub use inventory::{Entry, list_all};
pub use kind::Kind;
pub use label::Label;
pub use namespace::{InvalidName, Namespace};
pub use object::{Object, Placement, View, look};
pub use owner::OwnerId;
pub use plain::PlainFile;
pub use registry::{
    DEFAULT_SLOTS, Myself, Participant, Registration, Sight, StartingProcess, Unknowable, is_registered,
    leave, leave_at_exit, register, register_with_slots, set_process_name, take_over,
};
pub use shared::Shared;
#[doc(hidden)]
pub use spill::{Marks, Reference, Spill};
pub use structure::{Difference, ONLY_BYTES, UNKNOWN, name_in_structure};
pub use waits::{ShownWait, WaitNote, Waiting, show_wait};

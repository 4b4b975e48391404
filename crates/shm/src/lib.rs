//! Named shared-memory segments, the registry of processes with their lifelines, inventory and garbage
//! collection.

mod carry;

pub use carry::{Carried, carry, carrying};

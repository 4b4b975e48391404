//! Maps and lists between processes that no `kill -9` can leave half-changed.
//!
//! They lie in shared memory, as the locks and queues do: there is no server that could be killed. Who reads
//! takes no lock, unless writers have disturbed it again and again; who writes takes one, and makes every change
//! by one store.

mod collection_error;
mod collection_face;
mod list;
mod map;
mod store;

pub use collection_error::CollectionError;
pub use collection_face::Snapshot;
pub use list::{List, ListOptions};
pub use map::{Map, MapOptions};

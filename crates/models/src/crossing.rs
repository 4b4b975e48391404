//! As `procession_shm`: handles, which cross from one process to another.

use crate::liveness::{OpenError, OwnerId, Registration};
use crate::memory::{Object, Segment, attach};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

std::thread_local! {
    /// The object that crosses, and the slot of the process that it reaches. All threads of a model run on
    /// one.
    static CROSSING: RefCell<(Option<Segment>, u32)> = const { RefCell::new((None, 0)) };
}

/// What serde calls a handle.
pub const HANDLE_NAME: &str = "Handle";

/// Of the object that crosses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handle;

impl Segment {
    pub fn handle(&self) -> Handle {
        CROSSING.with_borrow_mut(|(segment, _)| *segment = Some(self.clone()));
        Handle
    }
}

impl Handle {
    /// What is in a model lives as long as the model.
    pub fn is_lost(&self) -> bool {
        false
    }

    /// By the process that it reaches.
    pub fn open<O: Object>(&self, _: &O::Settings) -> Result<O, OpenError> {
        CROSSING.with_borrow(|(segment, slot)| match segment {
            Some(segment) => Ok(attach(segment, *slot)),
            None => Err(OpenError::Corrupt("nothing crosses")),
        })
    }
}

/// Sends something in a message to the process in `slot`. One thing at a time crosses in a model.
pub fn send<T: Serialize + DeserializeOwned>(thing: &T, slot: u32) -> T {
    let mut message = Vec::new();
    crate::codec::encode(thing, &mut message).expect("it can be sent");
    CROSSING.with_borrow_mut(|(_, to)| *to = slot);
    let arrived = crate::codec::decode(&message).expect("it arrives");
    CROSSING.with_borrow_mut(|(segment, _)| *segment = None);
    arrived
}

/// Nobody has children.
pub fn owner_of_child(_: &Registration) -> Option<Result<OwnerId, OpenError>> {
    None
}

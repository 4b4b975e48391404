//! Keeps the handles inside a message alive until its reader has them.
//!
//! A handle crosses as a name. Between the sender's drop and the receiver's open an ephemeral object would
//! have no attached process and be removed. Whoever encodes arguments for a child therefore encodes them
//! inside [`carrying`], and holds the [`Carried`] until the child says that it has decoded them.
//!
//! What is handed to one particular child ([`carrying_to_child`]) can be claimed in its name before it
//! exists: see [`StartingProcess`].

use crate::error::OpenError;
use crate::owner::OwnerId;
use crate::registry::{Registration, StartingProcess};
use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static COLLECTING: RefCell<Vec<Level>> = const { RefCell::new(Vec::new()) };
}

/// The handles in a message that is being encoded.
#[derive(Default)]
struct Level {
    kept: Vec<Arc<dyn Any + Send + Sync>>,
    /// The child's places in the registries, if it is known that one child alone gets the message.
    child: Option<Vec<StartingProcess>>,
}

/// The handles that one encoded message names; while it lives, their objects live.
#[derive(Default)]
#[must_use = "dropping it lets ephemeral objects named in the message go"]
pub struct Carried(Vec<Arc<dyn Any + Send + Sync>>);

impl Carried {
    /// How many handles the message names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the message names no handle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carried").field("handles", &self.0.len()).finish()
    }
}

/// Runs `encode` and returns, beside its result, every handle that was serialized in it by this thread.
pub fn carrying<R>(encode: impl FnOnce() -> R) -> (R, Carried) {
    let (result, level) = at_level(Level::default(), encode);
    (result, Carried(level.kept))
}

/// Collects handles as [`carrying`] does, for a message that exactly one process gets, which is about to be
/// started; the places in registries that were taken for it are returned too.
pub fn carrying_to_child<R>(encode: impl FnOnce() -> R) -> (R, Carried, Vec<StartingProcess>) {
    let level = Level { kept: Vec::new(), child: Some(Vec::new()) };
    let (result, level) = at_level(level, encode);
    (result, Carried(level.kept), level.child.unwrap_or_default())
}

fn at_level<R>(level: Level, encode: impl FnOnce() -> R) -> (R, Level) {
    struct Open;
    impl Drop for Open {
        fn drop(&mut self) {
            // Reached with a level still open only when `encode` panicked.
            COLLECTING.with_borrow_mut(|levels| drop(levels.pop()));
        }
    }
    COLLECTING.with_borrow_mut(|levels| levels.push(level));
    let open = Open;
    let result = encode();
    std::mem::forget(open);
    (result, COLLECTING.with_borrow_mut(Vec::pop).unwrap_or_default())
}

/// Called while a handle serializes itself: the innermost [`carrying`] of this thread, if any, keeps it.
pub fn carry(handle: Arc<dyn Any + Send + Sync>) {
    COLLECTING.with_borrow_mut(|levels| {
        if let Some(level) = levels.last_mut() {
            level.kept.push(handle);
        }
    });
}

/// Called while something that is claimed by one process serializes itself: the id that the process which
/// gets the message will have. `None` outside [`carrying_to_child`].
pub fn owner_of_child(registration: &'static Registration) -> Option<Result<OwnerId, OpenError>> {
    COLLECTING.with_borrow_mut(|levels| {
        let places = levels.last_mut()?.child.as_mut()?;
        let known = places.iter().find(|place| std::ptr::eq(place.registration(), registration));
        if let Some(place) = known {
            return Some(Ok(place.owner()));
        }
        Some(registration.prepare().map(|place| {
            let owner = place.owner();
            places.push(place);
            owner
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::{carry, carrying};
    use std::sync::Arc;

    #[test]
    fn handles_serialized_inside_are_kept_and_those_outside_are_not() {
        let handle = Arc::new(7_u32);
        carry(handle.clone());
        assert_eq!(Arc::strong_count(&handle), 1);
        let ((), kept) = carrying(|| carry(handle.clone()));
        assert_eq!((kept.len(), Arc::strong_count(&handle)), (1, 2));
        drop(kept);
        assert_eq!(Arc::strong_count(&handle), 1);
    }

    #[test]
    fn a_panic_while_encoding_keeps_nothing() {
        let handle = Arc::new(7_u32);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            carrying(|| {
                carry(handle.clone());
                panic!("while encoding");
            })
        }));
        assert!(caught.is_err());
        assert_eq!(Arc::strong_count(&handle), 1);
    }
}

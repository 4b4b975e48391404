//! Keeps the handles inside a message alive until its reader has them.
//!
//! A handle crosses as a name. Between the sender's drop and the receiver's open an ephemeral object would
//! have no attached process and be removed. Whoever encodes arguments for a child therefore encodes them
//! inside [`carrying`], and holds the [`Carried`] until the child says that it has decoded them.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static COLLECTING: RefCell<Vec<Vec<Arc<dyn Any + Send + Sync>>>> = const { RefCell::new(Vec::new()) };
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
    struct Level;
    impl Drop for Level {
        fn drop(&mut self) {
            // Reached with a level still open only when `encode` panicked.
            COLLECTING.with_borrow_mut(|levels| drop(levels.pop()));
        }
    }
    COLLECTING.with_borrow_mut(|levels| levels.push(Vec::new()));
    let level = Level;
    let result = encode();
    std::mem::forget(level);
    let kept = COLLECTING.with_borrow_mut(Vec::pop).unwrap_or_default();
    (result, Carried(kept))
}

/// Called while a handle serializes itself: the innermost [`carrying`] of this thread, if any, keeps it.
pub fn carry(handle: Arc<dyn Any + Send + Sync>) {
    COLLECTING.with_borrow_mut(|levels| {
        if let Some(kept) = levels.last_mut() {
            kept.push(handle);
        }
    });
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

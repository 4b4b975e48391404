//! Buffers in which messages are encoded, and from which they are decoded.

use std::cell::RefCell;

/// A buffer that grew beyond this is given back.
const KEEP: usize = 1 << 20;

/// Runs `work` with a buffer of this thread that is used again and again; what is in it is arbitrary. A
/// nested call (a message that puts another message while it is serialized) gets a buffer of its own.
pub fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEEP {
        // While the thread ends there is nowhere to keep it.
        drop(SCRATCH.try_with(|scratch| scratch.replace(buffer)));
    }
    result
}

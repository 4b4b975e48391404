//! Buffers in which messages are encoded, and from which they are decoded.

use std::cell::RefCell;

/// A buffer of so many bytes is kept in any case.
const SMALL: usize = 1 << 20;
/// A larger one than this is given back in any case.
const LARGEST: usize = 64 << 20;

/// Runs `work` with a buffer of this thread that is used again and again; what is in it is arbitrary. A
/// nested call (a message that puts another message while it is serialized) gets a buffer of its own.
///
/// A large buffer is kept by a thread whose last message was large, too: memory that is new for each message costs
/// more than to copy it. The first small message gives it back.
pub fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    let result = work(&mut buffer);
    if is_kept(&buffer) {
        // While the thread ends there is nowhere to keep it.
        drop(SCRATCH.try_with(|scratch| scratch.replace(buffer)));
    }
    result
}

fn is_kept(buffer: &Vec<u8>) -> bool {
    match buffer.capacity() {
        ..=SMALL => true,
        capacity => capacity <= LARGEST && buffer.len() >= capacity / 4,
    }
}

#[cfg(test)]
mod tests {
    use super::{LARGEST, SMALL, with_scratch};

    fn capacity() -> usize {
        with_scratch(|buffer| buffer.capacity())
    }

    #[test]
    fn a_large_buffer_is_kept_while_messages_are_large() {
        let large = 3 * SMALL;
        with_scratch(|buffer| buffer.resize(large, 0));
        with_scratch(|buffer| {
            assert!(buffer.capacity() >= large);
            buffer.clear();
            buffer.resize(large, 0);
        });
        assert!(capacity() >= large);
        with_scratch(|buffer| buffer.truncate(1));
        assert_eq!(capacity(), 0);
        with_scratch(|buffer| buffer.reserve_exact(SMALL));
        assert_eq!(capacity(), SMALL);
        with_scratch(|buffer| {
            buffer.reserve_exact(LARGEST + 1);
            buffer.resize(LARGEST, 0);
        });
        assert_eq!(capacity(), 0);
    }
}

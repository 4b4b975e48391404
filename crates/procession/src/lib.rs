//! Processes coordinate through shared memory and survive kill -9.

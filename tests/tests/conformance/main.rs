//! What CPython's own tests say of `multiprocessing`, said of these objects, as a user's program sees them:
//! through the facade alone, with functions in other processes.
//!
//! Each case runs twice under one name: in `named`, where a child opens the object by its name, and in
//! `anonymous`, where the object is an argument. Cases of processes and pools run by each start method. The
//! comment above a case names the test of CPython 3.13 (`Lib/test/_test_multiprocessing.py`) that it mirrors, and
//! says where we differ on purpose. Where Python's test sleeps and hopes, these wait until another process has
//! said that it is there, or has been seen asleep.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

mod array;
mod bad_input;
mod barrier;
mod bounded_semaphore;
mod condition;
mod connection;
mod event;
mod ground;
mod joinable_queue;
mod latch;
mod lock;
mod once;
mod poll;
mod pool;
mod process;
mod queue;
mod rlock;
mod semaphore;
mod shared_memory;
mod simple_queue;
mod value;
mod wait;

procession::test_support!();

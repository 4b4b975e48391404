//! A pool of worker processes does work that may crash: a worker that dies costs one item, and the rest is
//! done.
//!
//! ```console
//! $ cargo run --example parallel_map
//! ```
use procession::{Pool, TaskError};
use std::error::Error;

/// Stands for a decoder, a plugin or a call into a C library: one input in five kills the process.
fn decode(number: u32) -> u32 {
    if number % 5 == 3 {
        std::process::abort();
    }
    number * number
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let pool = Pool::new(2)?;
    let results = pool.try_map(decode, 0..10)?;

    let mut died = 0;
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(square) => println!("{number}: {square}"),
            Err(error @ TaskError::WorkerDied { .. }) => {
                died += 1;
                println!("{number}: {error}");
            }
            Err(other) => return Err(format!("{number}: {other}").into()),
        }
    }
    assert_eq!(died, 2);
    Ok(())
}

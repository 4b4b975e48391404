//! Tasks of tokio wait for a queue, a lock and a process, without a thread for each.
//!
//! ```console
//! $ cargo run --example tokio --features async
//! ```
use procession::{Process, Queue, Semaphore};
use std::error::Error;

/// Runs in another process, without a runtime.
fn produce(numbers: Queue<u64>, count: u64) {
    for number in 1..=count {
        numbers.put(&number).unwrap();
    }
}

async fn sum(numbers: Queue<u64>, count: u64) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for _ in 0..count {
        sum += numbers.get_async().await?;
    }
    Ok(sum)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let numbers: Queue<u64> = Queue::new()?;
    let places = Semaphore::new(1)?;
    // A future that is dropped, here by its time running out, has taken nothing.
    let _place = places.acquire_async().await?;
    let refused = tokio::time::timeout(std::time::Duration::from_millis(10), places.acquire_async()).await;
    assert!(refused.is_err());

    let producer = Process::spawn(produce, (numbers.clone(), 1000))?;
    let sum = sum(numbers, 1000).await?;
    let status = producer.wait_async().await?;
    println!("the sum of 1 to 1000 is {sum}; the producer {status}");
    assert_eq!(sum, 500_500);
    Ok(())
}

// Not `#[tokio::main]`: a child is to run its function, and not begin a runtime first.
fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

//! Jobs that outlive their workers: what a killed worker had begun is delivered to another one, and each job
//! counts once.
//!
//! ```console
//! $ cargo run --example work_queue
//! ```
use procession::{JoinableQueue, Process, Value};
use std::error::Error;

/// Takes jobs until the queue is closed, and adds them up. A worker that `stalls` stays in its first job.
fn work(jobs: JoinableQueue<u64>, sum: Value<u64>, stalls: bool) {
    for job in &jobs {
        let job = job.unwrap();
        if stalls {
            loop {
                std::thread::park();
            }
        }
        sum.update(|sum| *sum += *job).unwrap();
        job.task_done().unwrap();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let jobs = JoinableQueue::<u64>::new()?;
    let sum = Value::new(0)?;
    for job in 1..=100 {
        jobs.put(&job)?;
    }

    // The only worker takes a job, and is killed in the middle of it.
    let first = Process::spawn(work, (jobs.clone(), sum.clone(), true))?;
    while jobs.len() == 100 {
        std::thread::yield_now();
    }
    first.kill()?;
    println!("{} {}", first.label(), first.wait()?);

    let others = [
        Process::spawn(work, (jobs.clone(), sum.clone(), false))?,
        Process::spawn(work, (jobs.clone(), sum.clone(), false))?,
    ];
    jobs.join()?;
    jobs.close()?;
    for worker in others {
        worker.join()?;
    }
    println!("the sum of 1 to 100 is {}", sum.get()?);
    assert_eq!(sum.get()?, 5050);
    Ok(())
}

//! A queue of jobs between two programs that know nothing of each other but the queue's name.
//!
//! ```console
//! $ cargo run --example two_programs -- put resize crop rotate
//! $ cargo run --example two_programs -- work
//! ```
//!
//! Start `work` in several terminals, and kill one of them in the middle of a job: another one does it. Without
//! arguments, the example starts both.
use procession::JoinableQueue;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::Command;

/// Each of two real programs has this definition, or both take it from one crate.
#[derive(Serialize, Deserialize)]
struct Job {
    name: String,
    from: u32,
}

/// Whichever program comes first creates it. What is in it stays when all programs have ended.
fn jobs() -> Result<JoinableQueue<Job>, Box<dyn Error>> {
    Ok(JoinableQueue::options().type_tag("example.job.v1").open_or_create("two-programs")?)
}

fn put(names: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let jobs = jobs()?;
    for name in names {
        // Once `put` has returned, the job is safe, whoever is killed.
        jobs.put(&Job { name, from: std::process::id() })?;
    }
    Ok(())
}

fn work() -> Result<(), Box<dyn Error>> {
    let jobs = jobs()?;
    // Until the queue is empty; `for job in &jobs` would go on until somebody closes it.
    while let Ok(job) = jobs.try_get() {
        println!("process {} does `{}` for process {}", std::process::id(), job.name, job.from);
        // If this process is killed before this line, the job is given to another one.
        job.task_done()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("put") => put(arguments),
        Some("work") => work(),
        _ => {
            let (me, jobs) = (std::env::current_exe()?, jobs()?);
            assert!(Command::new(&me).args(["put", "resize", "crop", "rotate"]).status()?.success());
            // The first program has ended. What it put is there.
            assert_eq!(jobs.len(), 3);
            assert!(Command::new(&me).arg("work").status()?.success());
            assert_eq!(jobs.unfinished(), 0);
            // Only so that this example leaves nothing behind.
            Ok(jobs.unlink()?)
        }
    }
}

//! A worker that SIGTERM or Ctrl-C ends in order: it finishes the job in hand, and gives its lock back.
//!
//! ```console
//! $ cargo run --example graceful_end -- stay
//! ```
//!
//! Without `stay`, the example starts a worker and sends it SIGTERM itself.
//!
//! A program that a signal ends where it stands runs no destructors: to the others, the holder of its lock has died, and
//! its job is begun again by somebody else. Nothing is lost by that, but it is work for others.
use procession::{GetError, JoinableQueue, Lock, Process, interrupt};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn work(jobs: JoinableQueue<u32>, lock: Lock) -> u32 {
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ends)).unwrap();
    }
    // From here on, what this thread waits for ends with `Interrupted` when such a signal comes.
    let _hook = interrupt::on_signal({
        let ends = Arc::clone(&ends);
        move || ends.load(Ordering::Relaxed)
    });

    let _alone = lock.acquire().unwrap();
    let mut done = 0;
    loop {
        let job = match jobs.get() {
            Ok(job) => job,
            Err(GetError::Interrupted(_) | GetError::Closed(_)) => return done,
            Err(error) => panic!("{error}"),
        };
        // A signal that comes here is heard at the next `get`: the job is finished first.
        println!("process {} does job {}", std::process::id(), *job);
        job.task_done().unwrap();
        done += 1;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let (jobs, lock) = (JoinableQueue::new()?, Lock::new()?);
    for job in 1..=3 {
        jobs.put(&job)?;
    }
    if std::env::args().any(|argument| argument == "stay") {
        println!("did {} jobs", work(jobs, lock));
        return Ok(());
    }

    let worker = Process::spawn(work, (jobs.clone(), lock.clone()))?;
    jobs.join()?;
    worker.terminate()?;
    let done = worker.join()?;
    println!("SIGTERM came, and the worker had done {done} jobs");
    assert_eq!(done, 3);
    // It gave the lock back: nobody is told that a holder died.
    assert_eq!(lock.n_owner_deaths(), 0);
    drop(lock.acquire()?);
    Ok(())
}

//! Two workers that are kept running: one that crashes is started again, and all of them end when SIGTERM or Ctrl-C
//! comes.
//!
//! ```console
//! $ cargo run --example supervisor -- stay
//! ```
//!
//! Without `stay`, it stops by itself once a worker has come back.
use procession::{Event, JoinableQueue, Process, Supervisor, SupervisorEvent};
use std::error::Error;
use std::time::Duration;

/// Does jobs until the queue is closed. One job makes it crash the first time that it is tried.
fn work(jobs: JoinableQueue<u32>, ready: Event) {
    ready.set();
    for job in &jobs {
        let job = job.unwrap();
        if *job == 3 && job.attempt() == 1 {
            std::process::abort();
        }
        println!("process {} does job {}, attempt {}", std::process::id(), *job, job.attempt());
        job.task_done().unwrap();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let stays = std::env::args().any(|argument| argument == "stay");
    let jobs: JoinableQueue<u32> = JoinableQueue::new()?;
    for job in 1..=5 {
        jobs.put(&job)?;
    }
    // Whoever gets is told that there will be no more, and leaves: an ordinary end.
    if !stays {
        jobs.close()?;
    }

    let mut restarts = 0;
    let statuses = Supervisor::new(2)
        .back_off(Duration::from_millis(10), Duration::from_secs(1))
        .stop_on([15, 2]) // SIGTERM, SIGINT
        .on_event(|event| {
            println!("{event}");
            restarts += u32::from(matches!(event, SupervisorEvent::Restarting { .. }));
        })
        .run(|attempt| {
            let ready = attempt.ready()?;
            let name = format!("worker-{}", attempt.rank());
            let worker = Process::options().name(name).spawn(work, (jobs.clone(), ready))?;
            // It failed either to make the event, or to start the process: any error will do.
            Ok::<_, Box<dyn Error + Send + Sync>>(worker)
        })?;
    println!("all jobs are done; a worker was started again {restarts} times: {statuses:?}");
    assert_eq!((jobs.unfinished(), restarts), (0, 1));
    Ok(())
}

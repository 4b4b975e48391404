//! Signals for a supervisor, and its death.

use crate::{defy, park, pid_of, quick};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procession::{Event, Process, Queue};
use procession_tests::{Scratch, until};
use std::time::{Duration, Instant};

/// A process that supervises two workers until a signal comes, and says what happened.
fn supervise((pids, happened): (Queue<u32>, Queue<String>), defies: bool) -> usize {
    let statuses = quick(2)
        .stop_on([Signal::SIGTERM as i32, Signal::SIGINT as i32])
        .grace(Duration::from_secs(3600))
        .on_event(|event| {
            if let Some(pid) = pid_of(event) {
                pids.put(&pid.unsigned_abs()).unwrap();
            }
            happened.put(&event.to_string()).unwrap();
        })
        .run(|attempt| {
            let ready = attempt.ready()?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(if defies {
                Process::spawn(defy, ready)?
            } else {
                Process::spawn(
                    |ready: Event| {
                        ready.set();
                        park();
                    },
                    ready,
                )?
            })
        })
        .unwrap();
    statuses.len()
}

/// It, once its workers are ready; and their pids.
fn supervised(scratch: &Scratch, defies: bool) -> (Process<usize>, Vec<u32>, Queue<String>) {
    let pids = Queue::<u32>::options().namespace(scratch).anonymous().unwrap();
    let happened = Queue::<String>::options().namespace(scratch).anonymous().unwrap();
    let process = Process::spawn(supervise, ((pids.clone(), happened.clone()), defies)).unwrap();
    let mut ready = 0;
    while ready < 2 {
        ready += u32::from(happened.get().unwrap().ends_with("is ready"));
    }
    (process, vec![pids.get().unwrap(), pids.get().unwrap()], happened)
}

fn is_gone(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None).is_err()
}

#[test]
fn a_signal_stops_the_workers_and_is_an_event() {
    let scratch = Scratch::new();
    let (process, pids, happened) = supervised(&scratch, false);
    process.interrupt().unwrap();
    assert_eq!(process.join().unwrap(), 2);
    assert!(pids.into_iter().all(is_gone));
    assert_eq!(happened.get().unwrap(), "SIGINT came");
    assert_eq!(happened.get().unwrap(), "stopping");
}

#[test]
fn a_second_signal_kills_them() {
    let scratch = Scratch::new();
    let (process, pids, happened) = supervised(&scratch, true);
    process.terminate().unwrap();
    while happened.get().unwrap() != "stopping" {}
    assert!(!pids.iter().copied().any(is_gone));
    let begun = Instant::now();
    process.terminate().unwrap();
    assert_eq!(process.join().unwrap(), 2);
    assert!(pids.into_iter().all(is_gone) && begun.elapsed() < Duration::from_secs(600));
}

#[test]
fn workers_die_with_their_supervisor() {
    let scratch = Scratch::new();
    let (process, pids, _) = supervised(&scratch, true);
    process.kill().unwrap();
    assert!(process.wait().unwrap().signal().is_some());
    until("the workers are gone", || pids.iter().copied().all(is_gone));
}

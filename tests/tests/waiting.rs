//! Waiting for whichever of several things comes first, across processes: by `wait`, and by an event loop.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use procession::{Event, Process, Queue, Semaphore, WaitAnyError, Waitable, readiness, wait, wait_timeout};
use procession_tests::{Scratch, Watchdog};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

procession::test_support!();

/// One of each kind, in a namespace of the test's own.
fn things(scratch: &Scratch) -> (Event, Queue<u64>, Semaphore) {
    let event = Event::options().namespace(scratch).anonymous().unwrap();
    let queue = Queue::options().namespace(scratch).anonymous().unwrap();
    let semaphore = Semaphore::options().permits(1).namespace(scratch).anonymous().unwrap();
    (event, queue, semaphore)
}

#[test]
fn what_another_process_does_ends_the_wait() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let (event, queue, semaphore) = things(&scratch);
    let permit = semaphore.acquire().unwrap();
    let all: [&dyn Waitable; 3] = [&event, &queue, &semaphore];
    let set = Process::spawn(|event: Event| event.set(), event.clone()).unwrap();
    assert_eq!(wait(&all).unwrap(), [0]);
    set.join().unwrap();
    event.clear();
    let put = Process::spawn(|queue: Queue<u64>| queue.put(&7).unwrap(), queue.clone()).unwrap();
    assert_eq!(wait(&all).unwrap(), [1]);
    put.join().unwrap();
    assert_eq!(queue.get().unwrap(), 7);
    let signal = Process::spawn(|semaphore: Semaphore| semaphore.release(1).unwrap(), semaphore.clone());
    assert_eq!(wait(&all).unwrap(), [2]);
    signal.unwrap().join().unwrap();
    drop(permit);
}

#[test]
fn a_permit_of_a_process_that_is_killed_ends_the_wait() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let (event, queue, semaphore) = things(&scratch);
    let hold = |(semaphore, held): (Semaphore, Event)| {
        let _permit = semaphore.acquire().unwrap();
        held.set();
        loop {
            std::thread::park();
        }
    };
    let holder: Process<()> = Process::spawn(hold, (semaphore.clone(), event.clone())).unwrap();
    event.wait().unwrap();
    event.clear();
    let all: [&dyn Waitable; 3] = [&event, &queue, &semaphore];
    assert!(matches!(wait_timeout(&all, Duration::from_millis(30)), Err(WaitAnyError::TimedOut)));
    holder.kill().unwrap();
    assert_eq!(wait(&all).unwrap(), [2]);
    assert!(holder.join().is_err());
}

#[test]
fn the_end_of_a_process_is_waited_for_like_everything_else() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let (event, queue, _) = things(&scratch);
    let park = |(): ()| loop {
        std::thread::park();
    };
    let children: [Process<()>; 2] = [Process::spawn(park, ()).unwrap(), Process::spawn(park, ()).unwrap()];
    let all: [&dyn Waitable; 4] = [&event, &children[0], &queue, &children[1]];
    assert!(matches!(wait_timeout(&all, Duration::from_millis(10)), Err(WaitAnyError::TimedOut)));
    children[1].kill().unwrap();
    assert_eq!(wait(&all).unwrap(), [3]);
    queue.put(&1).unwrap();
    assert_eq!(wait(&all).unwrap(), [2, 3]);
    children[0].kill().unwrap();
    assert!(children.into_iter().all(|child| child.join().is_err()));
}

#[test]
fn more_than_a_hundred_queues_are_waited_for_at_once() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let queues: Vec<Queue<u64>> =
        (0..150).map(|_| Queue::options().bytes(4096).namespace(&scratch).anonymous().unwrap()).collect();
    let all: Vec<&dyn Waitable> = queues.iter().map(|queue| queue as &dyn Waitable).collect();
    let last = queues.last().unwrap().clone();
    let put = Process::spawn(|queue: Queue<u64>| queue.put(&7).unwrap(), last).unwrap();
    assert_eq!(wait(&all).unwrap(), [149]);
    put.join().unwrap();
}

#[test]
fn an_event_loop_waits_for_queues_events_and_processes() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let (event, queue, _) = things(&scratch);
    let (of_event, of_queue) = (readiness(&event).unwrap(), readiness(&queue).unwrap());
    let produce = |(queue, event): (Queue<u64>, Event)| {
        (0..100).for_each(|n| queue.put(&n).unwrap());
        event.set();
    };
    let child = Process::spawn(produce, (queue.clone(), event.clone())).unwrap();

    let mut poll = Poll::new().unwrap();
    let watch = |token: usize, file: std::os::fd::BorrowedFd<'_>| {
        let file = file.as_raw_fd();
        poll.registry().register(&mut SourceFd(&file), Token(token), Interest::READABLE).unwrap();
    };
    watch(0, of_queue.as_fd());
    watch(1, of_event.as_fd());
    watch(2, child.as_fd());
    let (mut got, mut is_set, mut has_ended) = (Vec::new(), false, false);
    let mut events = Events::with_capacity(8);
    while !(got.len() == 100 && is_set && has_ended) {
        poll.poll(&mut events, None).unwrap();
        for ready in &events {
            match ready.token() {
                Token(0) => {
                    // mio tells of edges: cleared first, so that what comes from now on rings anew.
                    of_queue.clear();
                    while let Ok(n) = queue.try_get() {
                        got.push(n);
                    }
                }
                Token(1) => is_set = event.is_set(),
                _ => has_ended = !child.is_alive(),
            }
        }
    }
    assert_eq!(got, (0..100).collect::<Vec<u64>>());
    child.join().unwrap();
}

#[test]
fn a_forked_childs_readiness_is_its_own() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let (event, _, _) = things(&scratch);
    let mine = readiness(&event).unwrap();
    let see = |event: Event| {
        let ready = readiness(&event).unwrap();
        event.set();
        let mut file = [nix::poll::PollFd::new(ready.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut file, 60_000_u16).unwrap()
    };
    assert_eq!(Process::spawn(see, event.clone()).unwrap().join().unwrap(), 1);
    let mut file = [nix::poll::PollFd::new(mine.as_fd(), nix::poll::PollFlags::POLLIN)];
    assert_eq!(nix::poll::poll(&mut file, 60_000_u16).unwrap(), 1);
}

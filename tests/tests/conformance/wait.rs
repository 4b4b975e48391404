//! `TestWait`, of `wait`.
//!
//! On purpose different from Python: what is waited for are ends of pipes, queues, events, semaphores and
//! processes instead of files, and the answer says their places, so that one thing may be there twice (there,
//! a KeyError). A `Duration` is never negative.

use crate::ground::{Ground, Handed, Line, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{
    Event, GetError, JoinableQueue, Process, Queue, Receiver, RecvError, Semaphore, Sender, WaitAnyError,
    Waitable, try_wait, wait, wait_timeout,
};
use std::time::{Duration, Instant};

conforms!(
    all_that_four_writers_send_is_received_and_then_their_ends,
    all_that_four_producers_put_is_got_and_then_the_end,
    it_says_that_the_time_is_over_and_answers_what_is_ready_at_once,
    exactly_what_is_ready_is_answered_in_order,
    who_waits_for_many_goes_on_with_any,
    what_two_wait_for_one_gets_and_the_other_waits_on,
    the_item_of_a_killed_holder_ends_the_wait,
    the_death_of_the_other_end_ends_the_wait,
);

/// Nothing of it is ready, and so it stays for a while.
fn times_out(all: &[&dyn Waitable]) -> bool {
    matches!(try_wait(all), Err(WaitAnyError::WouldBlock))
        && matches!(wait_timeout(all, SHORT), Err(WaitAnyError::TimedOut))
}

// test_wait
fn all_that_four_writers_send_is_received_and_then_their_ends(ground: &Ground) {
    let write = |end: Handed<Sender<(u32, u32)>>| {
        let (end, pid) = (end.take(), std::process::id());
        (0..10).for_each(|n| end.send(&(n, pid)).unwrap());
    };
    let mut readers = Vec::new();
    let mut writers: Vec<Process<()>> = Vec::new();
    for _ in 0..4 {
        let (writer, reader) = ground.pipes().bytes(64).pipe().unwrap();
        readers.push(reader);
        writers.push(child(write, ground.hand(writer)));
    }
    let mut got = Vec::new();
    while !readers.is_empty() {
        let all: Vec<&dyn Waitable> = readers.iter().map(|reader| reader as &dyn Waitable).collect();
        let ready = wait(&all).unwrap();
        assert!(!ready.is_empty());
        for index in ready.into_iter().rev() {
            match readers[index].try_recv() {
                Ok(message) => got.push(message),
                Err(RecvError::Eof) => drop(readers.remove(index)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    let pids: Vec<u32> = writers.iter().map(Process::pid).collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    got.sort_unstable();
    let mut sent: Vec<_> = (0..10).flat_map(|n| pids.iter().map(move |&pid| (n, pid))).collect();
    sent.sort_unstable();
    assert_eq!(got, sent);
}

// test_wait_socket: there are no sockets, so queues.
fn all_that_four_producers_put_is_got_and_then_the_end(ground: &Ground) {
    let produce = |queue: Sent<Queue<u32>>| {
        (0..10).for_each(|n| queue.put(&n).unwrap());
        queue.close().unwrap();
    };
    let made: Vec<_> = (0..4).map(|_| ground.make(Queue::<u32>::options().capacity(3))).collect();
    let producers: Vec<_> = made.iter().map(|queue| child(produce, queue.send())).collect();
    let mut queues: Vec<_> = made.iter().map(|queue| (queue.send(), Vec::new())).collect();
    let mut got = Vec::new();
    while !queues.is_empty() {
        let all: Vec<&dyn Waitable> = queues.iter().map(|(queue, _)| &**queue as &dyn Waitable).collect();
        let ready = wait(&all).unwrap();
        assert!(!ready.is_empty());
        for index in ready.into_iter().rev() {
            match queues[index].0.try_get() {
                Ok(n) => queues[index].1.push(n),
                Err(GetError::Closed(_)) => got.push(queues.remove(index).1),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(got.iter().all(|one| one.iter().copied().eq(0..10)), "{got:?}");
    producers.into_iter().for_each(|producer| producer.join().unwrap());
}

// test_wait_timeout, test_neg_timeout: there, an empty list.
fn it_says_that_the_time_is_over_and_answers_what_is_ready_at_once(ground: &Ground) {
    let (queue, event) = (ground.make(Queue::<u32>::options()), ground.make(Event::options()));
    let is_in_vain = |(queue, event): (Sent<Queue<u32>>, Sent<Event>)| {
        let start = Instant::now();
        assert!(times_out(&[&*queue, &*event]));
        assert!(times_out(&[]));
        start.elapsed() >= 2 * SHORT
    };
    assert!(is_in_vain((queue.send(), event.send())) && elsewhere(is_in_vain, (queue.send(), event.send())));
    elsewhere(|queue: Sent<Queue<u32>>| queue.put(&1).unwrap(), queue.send());
    let all: [&dyn Waitable; 3] = [&*event, &*queue, &*queue];
    assert_eq!(try_wait(&all).unwrap(), [1, 2]);
    for timeout in [Duration::ZERO, SHORT, Duration::MAX] {
        assert_eq!(wait_timeout(&all, timeout).unwrap(), [1, 2]);
    }
    assert_eq!(wait(&all).unwrap(), [1, 2]);
    // It was only looked at.
    assert_eq!(queue.try_get().unwrap(), 1);
}

// test_wait_integer, its sentinel
fn exactly_what_is_ready_is_answered_in_order(ground: &Ground) {
    let (a, b) = ground.pipes().duplex::<(), ()>().unwrap();
    let end = ground.make(Event::options());
    let process = child(|end: Sent<Event>| end.wait().unwrap(), end.send());
    let all: [&dyn Waitable; 3] = [&a, &process, &b];
    assert!(matches!(try_wait(&all), Err(WaitAnyError::WouldBlock)));
    end.set();
    assert_eq!(wait(&all).unwrap(), [1]);
    a.send(&()).unwrap();
    assert_eq!(wait(&all).unwrap(), [1, 2]);
    b.send(&()).unwrap();
    assert_eq!(wait(&all).unwrap(), [0, 1, 2]);
    b.recv().unwrap();
    assert_eq!(try_wait(&all).unwrap(), [0, 1]);
    process.join().unwrap();
}

/// One thing of each kind, made by a case.
type Things = (Sent<Queue<u32>>, Sent<JoinableQueue<u32>>, Sent<Event>, Sent<Semaphore>);

// None: the sockets of `test_wait_socket_slow` are waited for one after the other.
fn who_waits_for_many_goes_on_with_any(ground: &Ground) {
    let (queue, jobs) = (ground.make(Queue::options()), ground.make(JoinableQueue::options()));
    let (event, slots) = (ground.make(Event::options()), ground.make(Semaphore::options().permits(0)));
    let things = || (queue.send(), jobs.send(), event.send(), slots.send());
    let wait_for_one = |((queue, jobs, event, slots), pipe, line): (Things, Handed<Receiver<u32>>, Line)| {
        let pipe = pipe.take();
        line.waits_now();
        wait(&[&*queue, &*jobs, &*event, &*slots, &pipe]).unwrap()
    };
    for which in 0..5 {
        let (writer, reader) = ground.pipes().pipe().unwrap();
        let line = ground.line();
        let waiter = child(wait_for_one, (things(), ground.hand(reader), line.clone()));
        line.falls_asleep(&waiter);
        match which {
            0 => queue.put(&1).unwrap(),
            1 => jobs.put(&1).unwrap(),
            2 => event.set(),
            3 => slots.release(1).unwrap(),
            _ => writer.send(&1).unwrap(),
        }
        assert_eq!(waiter.join().unwrap(), [which]);
        drop(queue.try_get());
        drop(jobs.try_get().map(procession::Lease::task_done));
        event.clear();
        if which == 3 {
            slots.try_acquire().unwrap().forget();
        }
    }
}

// None: a file is ready for all who wait for it.
fn what_two_wait_for_one_gets_and_the_other_waits_on(ground: &Ground) {
    let queue = ground.make(Queue::<u32>::options());
    let get = |(queue, line): (Sent<Queue<u32>>, Line)| {
        let mut waits = 0;
        loop {
            line.waits_now();
            assert_eq!(wait(&[&*queue]).unwrap(), [0]);
            waits += 1;
            match queue.try_get() {
                Ok(n) => return (n, waits),
                Err(GetError::WouldBlock(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let lines = [ground.line(), ground.line()];
    let waiters = lines.each_ref().map(|line| child(get, (queue.send(), line.clone())));
    lines.iter().zip(&waiters).for_each(|(line, waiter)| line.falls_asleep(waiter));
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    let mut got = waiters.map(|waiter| waiter.join().unwrap().0);
    got.sort_unstable();
    assert_eq!(got, [1, 2]);
    assert!(queue.is_empty());
}

// None.
fn the_item_of_a_killed_holder_ends_the_wait(ground: &Ground) {
    let (jobs, held) = (ground.make(JoinableQueue::<u32>::options()), ground.make(Event::options()));
    jobs.put(&1).unwrap();
    let hold = |(jobs, held): (Sent<JoinableQueue<u32>>, Sent<Event>)| {
        let _lease = jobs.get().unwrap();
        held.set();
        for_ever();
    };
    let victim: Process<()> = child(hold, (jobs.send(), held.send()));
    held.wait().unwrap();
    assert!(times_out(&[&*jobs]));
    kill(&victim);
    assert_eq!(wait(&[&*jobs]).unwrap(), [0]);
    let lease = jobs.try_get().unwrap();
    assert_eq!((*lease, lease.attempt()), (1, 2));
    lease.task_done().unwrap();
}

// None: there, the end of a pipe that a killed process had is at its end.
fn the_death_of_the_other_end_ends_the_wait(ground: &Ground) {
    let started = ground.make(Event::options());
    let carry = |(end, started): (Handed<Sender<u32>>, Sent<Event>)| {
        let _end = end.take();
        started.set();
        for_ever();
    };
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let (_other, quiet) = ground.pipes().pipe::<u32>().unwrap();
    let victim: Process<()> = child(carry, (ground.hand(writer), started.send()));
    started.wait().unwrap();
    assert!(times_out(&[&quiet, &reader]));
    kill(&victim);
    assert_eq!(wait(&[&quiet, &reader]).unwrap(), [1]);
    assert!(matches!(reader.try_recv(), Err(RecvError::PeerDied { .. })));
}

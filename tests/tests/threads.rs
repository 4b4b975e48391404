//! The threads of a process share one handle of a queue, or one end of a pipe, with each other and with those
//! of another process: every message is one thread's, whole, and in the order of the thread that sent it;
//! what is closed under them they are told.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{
    Connection, GetError, JoinableQueue, Pipe, Process, PutError, Queue, Receiver, RecvError, SendError,
    UnusableEnd, WaitAnyError, Waitable, wait_timeout,
};
use procession_tests::Scratch;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

procession::test_support!();

const THREADS: u64 = 6;
const EACH: u64 = 150;
const A_WHILE: Duration = Duration::from_millis(5);

/// Which thread of which process sends it, the how manieth it is, and bytes that follow from both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    thread: u64,
    number: u64,
    bytes: Vec<u8>,
}

impl Message {
    /// Some are longer than the pipe.
    fn new(thread: u64, number: u64) -> Self {
        let len = [3, 40, 200, 1500][((thread + number) % 4) as usize];
        Self { thread, number, bytes: vec![(thread * 31 + number) as u8; len] }
    }
}

/// What `f` answers in each of some threads.
fn threads<R: Send>(f: impl Fn(u64) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let f = &f;
        let all: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || f(thread))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Each message came to one thread, whole, and no thread saw those of another out of order.
fn are_all(got: &[Vec<Message>], senders: impl Iterator<Item = u64>) {
    let mut count = 0;
    let mut all: Vec<(u64, u64)> = Vec::new();
    for one in got {
        for message in one {
            assert_eq!(*message, Message::new(message.thread, message.number), "torn");
            all.push((message.thread, message.number));
        }
        for thread in 0..2 * THREADS {
            let of_one = one.iter().filter(|message| message.thread == thread);
            assert!(of_one.is_sorted_by(|one, next| one.number < next.number), "{thread} is out of order");
        }
    }
    all.sort_unstable();
    for thread in senders {
        for number in 0..EACH {
            assert_eq!(all.get(count), Some(&(thread, number)));
            count += 1;
        }
    }
    assert_eq!(all.len(), count);
}

/// Half of the threads send, half receive until they were told of so many messages.
fn talk(end: &Connection<Message, Message>, first: u64) -> Vec<Vec<Message>> {
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in first..first + THREADS {
            scope.spawn(move || {
                (0..EACH).for_each(|number| end.send(&Message::new(thread, number)).unwrap());
            });
        }
        threads(|_| {
            let mut got = Vec::new();
            while received.fetch_add(1, SeqCst) < THREADS * EACH {
                got.push(end.recv().unwrap());
            }
            got
        })
    })
}

#[test]
fn both_directions_of_one_end_are_used_by_many_threads_of_two_processes() {
    let scratch = Scratch::new();
    let (here, there) = Pipe::options().namespace(&scratch).bytes(1024).duplex().unwrap();
    let other = Process::spawn(|end: Connection<Message, Message>| talk(&end, THREADS), there).unwrap();
    are_all(&talk(&here, 0), THREADS..2 * THREADS);
    are_all(&other.join().unwrap(), 0..THREADS);
}

/// Ways to receive, of which none may take what another has seen the beginning of, or take without telling.
fn receive_somehow(end: &Receiver<Message>, way: u64) -> Result<Message, RecvError> {
    match way % 5 {
        0 => end.recv(),
        1 => end.try_recv(),
        2 => end.recv_timeout(A_WHILE),
        3 => {
            let seen = end.poll_timeout(A_WHILE);
            assert!(matches!(seen, Ok(()) | Err(RecvError::TimedOut)), "{seen:?}");
            end.try_recv()
        }
        _ => {
            let ready = wait_timeout(&[end as &dyn Waitable], A_WHILE);
            assert!(matches!(ready, Ok(_) | Err(WaitAnyError::TimedOut)), "{ready:?}");
            end.recv_timeout(Duration::ZERO)
        }
    }
}

#[test]
fn threads_that_receive_in_every_way_leave_each_other_what_they_do_not_take() {
    let scratch = Scratch::new();
    let (sender, receiver) = Pipe::options().namespace(&scratch).bytes(512).pipe().unwrap();
    let send = |end: procession::Sender<Message>| {
        threads(|thread| (0..EACH).for_each(|number| end.send(&Message::new(thread, number)).unwrap()));
    };
    let other = Process::spawn(send, sender).unwrap();
    let got = threads(|thread| {
        let mut got = Vec::new();
        loop {
            match receive_somehow(&receiver, thread) {
                Ok(message) => got.push(message),
                Err(RecvError::WouldBlock | RecvError::TimedOut) => {}
                Err(RecvError::Eof) => return got,
                Err(error) => panic!("{error}"),
            }
        }
    });
    other.join().unwrap();
    are_all(&got, 0..THREADS);
}

#[test]
fn an_end_closed_under_many_threads_has_sent_exactly_what_was_acknowledged() {
    let scratch = Scratch::new();
    for round in 0..10 {
        let (sender, receiver) = Pipe::options().namespace(&scratch).bytes(512).pipe().unwrap();
        let count = |end: Receiver<Message>| {
            let mut got = Vec::new();
            loop {
                match end.recv() {
                    Ok(message) => got.push((message.thread, message.number)),
                    Err(RecvError::Eof) => return got,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let other = Process::spawn(count, receiver).unwrap();
        let sent = AtomicU64::new(0);
        let acknowledged = thread::scope(|scope| {
            scope.spawn(|| {
                while sent.load(SeqCst) < 20 * (round + 1) {
                    thread::yield_now();
                }
                sender.close();
            });
            threads(|thread| {
                for number in 0.. {
                    match sender.send(&Message::new(thread, number)) {
                        Ok(()) => _ = sent.fetch_add(1, SeqCst),
                        Err(SendError::Unusable(UnusableEnd::Closed)) => return number,
                        Err(error) => panic!("{error}"),
                    }
                }
                unreachable!("it is closed")
            })
        });
        let mut got = other.join().unwrap();
        got.sort_unstable();
        let expected: Vec<(u64, u64)> = (0..THREADS)
            .flat_map(|thread| (0..acknowledged[thread as usize]).map(move |number| (thread, number)))
            .collect();
        assert_eq!(got, expected);
    }
}

#[test]
fn one_handle_of_a_queue_is_used_by_many_threads_of_two_processes() {
    let scratch = Scratch::new();
    let queue = Queue::<Message>::options().namespace(&scratch).bytes(4096).anonymous().unwrap();
    let put = |(queue, first): (Queue<Message>, u64)| {
        threads(|thread| {
            for number in 0..EACH {
                let message = Message::new(first + thread, number);
                match number % 3 {
                    0 => queue.put(&message).unwrap(),
                    1 => while queue.put_timeout(&message, A_WHILE).is_err() {},
                    _ => while matches!(queue.try_put(&message), Err(PutError::WouldBlock(_))) {},
                }
            }
        });
    };
    let other = Process::spawn(put, (queue.clone(), THREADS)).unwrap();
    let got = thread::scope(|scope| {
        scope.spawn(|| {
            put((queue.clone(), 0));
            other.join().unwrap();
            queue.close().unwrap();
        });
        threads(|thread| {
            let mut got = Vec::new();
            loop {
                let outcome = match thread % 3 {
                    0 => queue.get(),
                    1 => queue.get_timeout(A_WHILE),
                    _ => queue.try_get(),
                };
                match outcome {
                    Ok(message) => got.push(message),
                    Err(GetError::WouldBlock(_) | GetError::TimedOut(_)) => {}
                    Err(GetError::Closed(_)) => return got,
                    Err(error) => panic!("{error}"),
                }
            }
        })
    });
    are_all(&got, 0..2 * THREADS);
}

#[test]
fn leases_go_from_thread_to_thread_and_each_item_is_done_once() {
    let scratch = Scratch::new();
    let queue = JoinableQueue::<Message>::options().namespace(&scratch).bytes(16384).anonymous().unwrap();
    let put = |queue: JoinableQueue<Message>| {
        threads(|thread| (0..EACH).for_each(|number| queue.put(&Message::new(thread, number)).unwrap()));
    };
    let other = Process::spawn(put, queue.clone()).unwrap();
    let is_done = AtomicBool::new(false);
    let (to_finish, leases) = mpsc::channel();
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            other.join().unwrap();
            queue.join().unwrap();
            is_done.store(true, SeqCst);
            assert_eq!(queue.unfinished(), 0);
            queue.close().unwrap();
        });
        let finishing = scope.spawn(|| {
            let mut done = Vec::new();
            for (count, lease) in (1..).zip(leases) {
                let lease: procession::Lease<Message> = lease;
                assert!(!is_done.load(SeqCst), "join returned, and there is a lease");
                // Given back by a thread that has not got it.
                if count % 10 == 0 && lease.attempt() < 3 {
                    drop(lease);
                    continue;
                }
                done.push((*lease).clone());
                lease.task_done().unwrap();
            }
            done
        });
        threads(|_| queue.iter().for_each(|lease| to_finish.send(lease.unwrap()).unwrap()));
        drop(to_finish);
        finishing.join().unwrap()
    });
    let mut numbers: Vec<(u64, u64)> = done.iter().map(|message| (message.thread, message.number)).collect();
    numbers.sort_unstable();
    let all: Vec<_> = (0..THREADS).flat_map(|thread| (0..EACH).map(move |number| (thread, number))).collect();
    assert_eq!(numbers, all);
    assert!(done.iter().all(|message| *message == Message::new(message.thread, message.number)));
}

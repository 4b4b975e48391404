//! What waits can be awaited: by tasks of tokio and of smol, which can be dropped at any time and then have
//! taken nothing.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{
    Event, GetError, JoinableQueue, Latch, Lock, LockError, Pipe, Process, Queue, RecvError, Semaphore,
    SendError, Stdio, Value, ready,
};
use procession_tests::{Scratch, until};
use std::future::{Future, IntoFuture};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

procession::test_support!();

/// Runs the same test under both executors; each has a namespace of its own.
macro_rules! under_both {
    ($($name:ident),* $(,)?) => {
        mod tokio {
            $(
                #[test]
                fn $name() {
                    let runtime = ::tokio::runtime::Builder::new_multi_thread()
                        .worker_threads(2)
                        .enable_time()
                        .build()
                        .unwrap();
                    let scratch = procession_tests::Scratch::new();
                    // A task of its own: what is awaited can be sent to other threads.
                    let task = super::$name(procession::Namespace::clone(&scratch));
                    runtime.block_on(runtime.spawn(task)).unwrap();
                    drop(runtime);
                }
            )*
        }
        mod smol {
            $(
                #[test]
                fn $name() {
                    let scratch = procession_tests::Scratch::new();
                    let task = super::$name(procession::Namespace::clone(&scratch));
                    ::smol::block_on(::smol::spawn(task));
                }
            )*
        }
    };
}

under_both!(
    messages_pass_between_tasks_and_processes,
    a_task_puts_when_there_is_room,
    a_lease_of_a_killed_process_comes_to_a_task,
    a_pipe_is_received_from_by_a_task,
    a_pipe_is_sent_into_by_a_task,
    events_latches_and_permits_are_awaited,
    a_lock_moves_with_its_task,
    a_holder_that_is_killed_is_told_to_a_task,
    processes_are_awaited,
    a_process_whose_descriptor_was_closed_is_awaited_without_spinning,
    many_tasks_of_one_object_all_come_through,
);

fn echo(from: Queue<u64>, to: Queue<u64>) {
    for message in &from {
        to.put(&(2 * message.unwrap())).unwrap();
    }
}

fn park() {
    loop {
        std::thread::park();
    }
}

async fn messages_pass_between_tasks_and_processes(namespace: procession::Namespace) {
    let [there, back] = [(); 2].map(|()| Queue::<u64>::options().namespace(&namespace).anonymous().unwrap());
    let child = Process::options().spawn(echo, (there.clone(), back.clone())).unwrap();
    for number in 0..100 {
        there.put_async(&number).await.unwrap();
        assert_eq!(back.get_async().await.unwrap(), 2 * number);
    }
    there.close().unwrap();
    child.await.unwrap();
    back.close().unwrap();
    assert!(matches!(back.get_async().await, Err(GetError::Closed(_))));
}

async fn a_task_puts_when_there_is_room(namespace: procession::Namespace) {
    let queue = Queue::<u64>::options().capacity(1).namespace(&namespace).anonymous().unwrap();
    let getter = queue.clone();
    let thread = std::thread::spawn(move || (0..50).map(|_| getter.get().unwrap()).sum::<u64>());
    for number in 0..50 {
        queue.put_async(&number).await.unwrap();
    }
    assert_eq!(thread.join().unwrap(), 49 * 50 / 2);
}

fn lease_and_park(jobs: JoinableQueue<u64>) {
    let _lease = jobs.get().unwrap();
    park();
}

async fn a_lease_of_a_killed_process_comes_to_a_task(namespace: procession::Namespace) {
    let jobs = JoinableQueue::<u64>::options().namespace(&namespace).anonymous().unwrap();
    jobs.put_async(&7).await.unwrap();
    let child = Process::options().spawn(lease_and_park, jobs.clone()).unwrap();
    until("the job is taken", || jobs.is_empty());
    let waiting = pin!(jobs.get_async());
    child.kill().unwrap();
    let lease = waiting.await.unwrap();
    assert_eq!((*lease, lease.attempt()), (7, 2));
    lease.task_done().unwrap();
    jobs.join().unwrap();
    child.wait_async().await.unwrap();
}

async fn a_process_whose_descriptor_was_closed_is_awaited_without_spinning(_: procession::Namespace) {
    let child = Process::spawn(|| std::thread::sleep(Duration::from_millis(500)), ()).unwrap();
    nix::unistd::close(child.as_raw_fd()).unwrap();
    let mut waiting = pin!(child.wait_async());
    let mut polls = 0;
    let status = std::future::poll_fn(|context| {
        polls += 1;
        waiting.as_mut().poll(context)
    });
    assert!(status.await.unwrap().success());
    // Each nap takes some tries.
    assert!(polls < 2000, "{polls}");
}

async fn a_pipe_is_received_from_by_a_task(namespace: procession::Namespace) {
    let (sender, receiver) = Pipe::options().namespace(&namespace).pipe::<Vec<u8>>().unwrap();
    let child = Process::options()
        .spawn(
            |sender: procession::Sender<Vec<u8>>| {
                // The second one comes in parts.
                for len in [3, 3 << 20, 5] {
                    sender.send(&vec![7; len]).unwrap();
                }
            },
            sender,
        )
        .unwrap();
    for len in [3, 3 << 20, 5] {
        assert_eq!(receiver.recv_async().await.unwrap(), vec![7; len]);
    }
    assert!(matches!(receiver.recv_async().await, Err(RecvError::Eof)));
    child.await.unwrap();
    let (sender, receiver) = Pipe::options().namespace(&namespace).pipe::<u8>().unwrap();
    let child = Process::options()
        .spawn(
            |sender: procession::Sender<u8>| {
                sender.send(&1).unwrap();
                park();
            },
            sender,
        )
        .unwrap();
    assert_eq!(receiver.recv_async().await.unwrap(), 1);
    child.kill().unwrap();
    assert!(matches!(receiver.recv_async().await, Err(RecvError::PeerDied { .. })));
    child.wait_async().await.unwrap();
}

fn add_up(receiver: procession::Receiver<Vec<u8>>) -> usize {
    receiver.iter().map(|message| message.unwrap().len()).sum()
}

async fn a_pipe_is_sent_into_by_a_task(namespace: procession::Namespace) {
    let pipe = || Pipe::options().namespace(&namespace).bytes(4096).pipe::<Vec<u8>>().unwrap();
    let (sender, receiver) = pipe();
    let child = Process::options().spawn(add_up, receiver).unwrap();
    // The pipe is full again and again.
    for len in (0..300).map(|n| n * 13) {
        sender.send_async(&vec![7; len]).await.unwrap();
    }
    assert!(matches!(sender.send_async(&vec![7; 5000]).await, Err(SendError::TooLarge { .. })));
    drop(sender);
    assert_eq!(child.await.unwrap(), (0..300).map(|n| n * 13).sum::<usize>());

    // Who waits for room learns of the death of the other side.
    let (sender, receiver) = pipe();
    let child = Process::options()
        .spawn(
            |receiver: procession::Receiver<Vec<u8>>| {
                receiver.recv().unwrap();
                park();
            },
            receiver,
        )
        .unwrap();
    sender.send_async(&vec![7; 10]).await.unwrap();
    until("it is received", || sender.try_send(&vec![7; 4000]).is_ok());
    let long = vec![7; 4000];
    let mut waiting = Box::pin(sender.send_async(&long));
    assert!(poll_once(waiting.as_mut()).is_pending());
    child.kill().unwrap();
    assert!(matches!(waiting.await, Err(SendError::PeerDied { .. })));
    child.wait_async().await.unwrap();

    let (left, right) = Pipe::options().namespace(&namespace).duplex::<u32, u32>().unwrap();
    left.send_async(&1).await.unwrap();
    right.send_async(&(right.recv_async().await.unwrap() + 1)).await.unwrap();
    assert_eq!(left.recv_async().await.unwrap(), 2);
}

async fn events_latches_and_permits_are_awaited(namespace: procession::Namespace) {
    let event = Event::options().namespace(&namespace).anonymous().unwrap();
    let setter = event.clone();
    // A pulse is for those who have come.
    let mut waiting = pin!(event.wait_async());
    assert!(poll_once(waiting.as_mut()).is_pending());
    setter.pulse();
    waiting.await.unwrap();
    assert!(!event.is_set());
    setter.set();
    event.wait_async().await.unwrap();

    let latch = Latch::options().count(2).namespace(&namespace).anonymous().unwrap();
    let arriving = latch.clone();
    let thread = std::thread::spawn(move || {
        arriving.arrive();
        arriving.arrive();
    });
    latch.wait_async().await.unwrap();
    ready(&latch).await;
    thread.join().unwrap();

    let semaphore = Semaphore::options().permits(1).namespace(&namespace).anonymous().unwrap();
    let permit = semaphore.acquire_async().await.unwrap();
    let mut waiting = pin!(semaphore.acquire_async());
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(permit);
    drop(waiting.await.unwrap());
    assert_eq!(semaphore.available(), 1);
}

async fn a_lock_moves_with_its_task(namespace: procession::Namespace) {
    let lock = Lock::options().namespace(&namespace).anonymous().unwrap();
    let guard = lock.acquire_async().await.unwrap();
    assert!(matches!(lock.try_acquire(), Err(LockError::WouldBlock(_))));
    let mut waiting = pin!(lock.acquire_async());
    assert!(poll_once(waiting.as_mut()).is_pending());
    // Threads wait for a task as for another thread.
    let other = lock.clone();
    let thread = std::thread::spawn(move || drop(other.acquire().unwrap()));
    // It is released by a thread that has not acquired it, and that ends.
    std::thread::spawn(move || drop(guard)).join().unwrap();
    let guard = waiting.await.unwrap();
    assert!(!guard.recovers() && lock.holder().is_some());
    drop(guard);
    thread.join().unwrap();
    assert!(lock.try_acquire().is_ok());

    // The thread that took it has ended: the process holds it all the same.
    let taken = lock.clone();
    let guard = std::thread::spawn(move || ::smol::block_on(taken.acquire_async()).unwrap()).join().unwrap();
    assert!(matches!(lock.acquire_timeout(Duration::from_millis(150)), Err(LockError::TimedOut(_))));
    drop(guard);

    // A panic in the task leaves the lock inconsistent.
    let panics = lock.clone();
    let outcome = std::thread::spawn(move || {
        let _guard = ::smol::block_on(panics.acquire_async()).unwrap();
        std::panic::panic_any(());
    });
    assert!(outcome.join().is_err());
    assert!(matches!(lock.acquire_async().await, Err(LockError::OwnerDied { .. })));
    assert!(lock.recover_async().await.unwrap().recovers());
    assert!(lock.try_acquire().is_ok());
}

fn hold_and_park(lock: Lock, held: Event) {
    let _guard = lock.acquire().unwrap();
    held.set();
    park();
}

async fn a_holder_that_is_killed_is_told_to_a_task(namespace: procession::Namespace) {
    let lock = Lock::options().namespace(&namespace).anonymous().unwrap();
    let held = Event::options().namespace(&namespace).anonymous().unwrap();
    let child = Process::options().spawn(hold_and_park, (lock.clone(), held.clone())).unwrap();
    held.wait_async().await.unwrap();
    let mut waiting = pin!(lock.acquire_async());
    assert!(poll_once(waiting.as_mut()).is_pending());
    child.kill().unwrap();
    assert!(matches!(waiting.await, Err(LockError::OwnerDied { .. })));
    drop(lock.recover_async().await.unwrap());
    child.wait_async().await.unwrap();
}

async fn processes_are_awaited(_: procession::Namespace) {
    let spawn = || Process::options().spawn(|n: u64| n + 1, 1).unwrap();
    let children: Vec<_> = (0..5).map(|_| spawn()).collect();
    for child in children {
        assert_eq!(child.await.unwrap(), 2);
    }
    // One that reads to the end of its input comes to an end, as when it is joined.
    let read = || std::io::read_to_string(std::io::stdin()).unwrap().len();
    assert_eq!(Process::options().stdin(Stdio::piped()).spawn(read, ()).unwrap().await.unwrap(), 0);
    // A future that is dropped leaves the process as it is.
    let child = Process::options().spawn(park, ()).unwrap();
    let mut waiting = Box::pin(child.wait_async());
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(waiting);
    assert!(child.is_alive());
    child.kill().unwrap();
    assert!(child.wait_async().await.unwrap().signal().is_some());
}

async fn many_tasks_of_one_object_all_come_through(namespace: procession::Namespace) {
    let queue = Queue::<u64>::options().namespace(&namespace).anonymous().unwrap();
    let sum = Value::<u64>::options().namespace(&namespace).anonymous().unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (queue, sum) = (queue.clone(), sum.clone());
            ::smol::spawn(async move {
                let message = queue.get_async().await.unwrap();
                sum.update(|sum| *sum += message).unwrap();
            })
        })
        .collect();
    for message in 1..=200 {
        queue.put_async(&message).await.unwrap();
    }
    for task in tasks {
        task.await;
    }
    assert_eq!(sum.get().unwrap(), 200 * 201 / 2);
}

/// Notes that it was woken.
struct Flag(AtomicUsize);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls until the future sleeps, and is not about to try again.
fn poll_once<F: Future + ?Sized>(mut future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    let flag = Arc::new(Flag(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&flag));
    loop {
        let before = flag.0.load(Ordering::Relaxed);
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || flag.0.load(Ordering::Relaxed) == before {
            return polled;
        }
    }
}

#[test]
fn a_future_that_is_dropped_has_taken_nothing() {
    let scratch = Scratch::new();
    let queue = Queue::<u64>::options().namespace(&scratch).anonymous().unwrap();
    let full = Queue::<u64>::options().capacity(1).namespace(&scratch).anonymous().unwrap();
    full.put(&0).unwrap();
    let jobs = JoinableQueue::<u64>::options().namespace(&scratch).anonymous().unwrap();
    let (sender, receiver) = Pipe::options().namespace(&scratch).pipe::<u64>().unwrap();
    let (full_sender, full_receiver) = Pipe::options().namespace(&scratch).bytes(64).pipe::<u64>().unwrap();
    while full_sender.try_send(&0).is_ok() {}
    let semaphore = Semaphore::options().permits(0).max(1).namespace(&scratch).anonymous().unwrap();
    let lock = Lock::options().namespace(&scratch).anonymous().unwrap();
    for round in 0..50 {
        let held = lock.acquire().unwrap();
        let mut futures: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = vec![
            Box::pin(async { drop(queue.get_async().await) }),
            Box::pin(async { full.put_async(&round).await.unwrap() }),
            Box::pin(async { drop(jobs.get_async().await) }),
            Box::pin(async { drop(receiver.recv_async().await) }),
            Box::pin(async { full_sender.send_async(&1).await.unwrap() }),
            Box::pin(async { drop(semaphore.acquire_async().await) }),
            Box::pin(async { drop(lock.acquire_async().await) }),
        ];
        for future in &mut futures {
            assert!(poll_once(future.as_mut()).is_pending());
        }
        queue.put(&round).unwrap();
        jobs.put(&round).unwrap();
        sender.send(&round).unwrap();
        semaphore.release(1).unwrap();
        drop(held);
        // They have been told, or are about to be.
        drop(futures);
        assert_eq!(queue.try_get().unwrap(), round);
        jobs.try_get().unwrap().task_done().unwrap();
        assert_eq!(receiver.try_recv().unwrap(), round);
        semaphore.try_acquire().unwrap().forget();
        assert_eq!(full.len(), 1);
        // Nothing was sent, and nothing is lost.
        assert_eq!(full_receiver.try_recv().unwrap(), 0);
        full_sender.try_send(&0).unwrap();
        drop(lock.try_acquire().unwrap());
    }
}

#[test]
fn a_wait_for_an_object_whose_file_was_removed_ends() {
    let scratch = Scratch::new();
    let event = Event::options().namespace(&scratch).create("gone").unwrap();
    let file = std::fs::read_dir("/dev/shm").unwrap().flatten().find(|file| {
        let name = file.file_name().into_string().unwrap();
        name.contains(scratch.name()) && name.contains("gone")
    });
    std::fs::remove_file(file.unwrap().path()).unwrap();
    assert!(::smol::block_on(event.wait_async()).is_err());
    // The same as a future that somebody else drives.
    drop(event.wait_async());
    let _: fn(Process<u8>) -> _ = IntoFuture::into_future;
}

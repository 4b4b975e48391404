//! Waits that a signal ends, or a word from another thread: each says that it was interrupted, and leaves
//! everything as if it had not begun.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use procession::{
    Barrier, BarrierError, BoundedSemaphore, Bytes, Condition, Event, EventError, GetError, JoinError,
    JoinTimeoutError, JoinableQueue, Latch, LatchError, Lock, LockError, Namespace, Once, OnceError, Pipe,
    Pool, PoolError, Process, ProcessError, PutError, Queue, RLock, RecvError, RwLock, Semaphore,
    SemaphoreError, SendError, TaskError, Value, WaitAnyError, WaitError, Waitable, interrupt, wait,
};
use procession_sys::exit_now;
use procession_sys::forking::{Forked, fork};
use procession_sys::pidfd::{EndFd, EndWait, Ended, Who, discard, reap};
use procession_tests::{Scratch, Watchdog, until};
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

procession::test_support!();

extern "C" fn do_nothing(_: libc::c_int) {}

/// Has SIGUSR1 interrupt system calls and do nothing else.
fn handle_signals() {
    // Without SA_RESTART.
    let action = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::empty(), SigSet::empty());
    #[expect(unsafe_code, reason = "a handler may do what it should not")]
    // SAFETY: this one does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
}

/// Runs `waits` in a thread whose hook says yes once it is to stop, and signals that thread until it has
/// ended.
fn interrupted<T: Send + 'static>(waits: impl FnOnce() -> T + Send + 'static) -> T {
    interrupted_when(|| true, waits)
}

/// As [`interrupted`], but the hook does not say yes before `is_time`.
fn interrupted_when<T: Send + 'static>(
    is_time: impl FnMut() -> bool,
    waits: impl FnOnce() -> T + Send + 'static,
) -> T {
    handle_signals();
    let stop = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&stop);
    let began = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&began);
    let thread = std::thread::spawn(move || {
        let _hook = interrupt::on_signal(move || hears.load(Ordering::Relaxed));
        begins.store(true, Ordering::Relaxed);
        waits()
    });
    until("the thread has begun", || began.load(Ordering::Relaxed));
    // A signal that is not meant for the wait does not end it.
    signal(&thread);
    std::thread::sleep(Duration::from_millis(5));
    until("it is time to interrupt", is_time);
    assert!(!thread.is_finished(), "nobody wanted it to end");
    stop.store(true, Ordering::Relaxed);
    while !thread.is_finished() {
        signal(&thread);
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.join().unwrap()
}

fn signal<T>(thread: &std::thread::JoinHandle<T>) {
    // SAFETY: the thread was not joined yet, so its handle is valid.
    #[expect(unsafe_code, reason = "pthread_kill")]
    let _: libc::c_int = unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
}

/// Counts that it has begun, and waits until the event is set.
fn wait_at((gate, begun): &(Event, Value<u64>), item: u64) -> u64 {
    begun.update(|n| *n += 1).unwrap();
    gate.wait().unwrap();
    item
}

/// Takes a moment to end when it gets SIGTERM.
fn end_slowly([ready, done]: [Latch; 2]) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: libc::c_int) {
        TOLD.store(true, Ordering::Relaxed);
    }
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    #[expect(unsafe_code, reason = "a handler may do what it should not")]
    // SAFETY: this one stores a word.
    unsafe { sigaction(Signal::SIGTERM, &action) }.unwrap();
    ready.arrive();
    until("SIGTERM comes", || TOLD.load(Ordering::Relaxed));
    std::thread::sleep(Duration::from_millis(50));
    done.arrive();
    std::process::exit(0);
}

/// A test of one thing that waits.
macro_rules! interrupts {
    ($($name:ident($scratch:ident) $body:block)*) => {$(
        #[test]
        fn $name() {
            let _watchdog = Watchdog::start();
            let $scratch = Scratch::new();
            $body
        }
    )*};
}

interrupts! {
    a_lock(scratch) {
        let lock = Lock::options().namespace(&scratch).anonymous().unwrap();
        let held = lock.acquire().unwrap();
        let same = lock.clone();
        assert!(matches!(interrupted(move || same.acquire().map(drop)), Err(LockError::Interrupted { .. })));
        let same = lock.clone();
        let timed = move || same.acquire_timeout(Duration::from_secs(3600)).map(drop);
        assert!(matches!(interrupted(timed), Err(LockError::Interrupted { .. })));
        drop(held);
        drop(lock.try_acquire().unwrap());
    }

    a_recursive_lock(scratch) {
        let lock = RLock::options().namespace(&scratch).anonymous().unwrap();
        let held = lock.acquire().unwrap();
        let same = lock.clone();
        assert!(matches!(interrupted(move || same.acquire().map(drop)), Err(LockError::Interrupted { .. })));
        drop(held);
        drop(lock.try_acquire().unwrap());
    }

    a_lock_of_readers_and_writers(scratch) {
        let lock = RwLock::options().namespace(&scratch).anonymous().unwrap();
        let reading = lock.read().unwrap();
        let same = lock.clone();
        assert!(matches!(interrupted(move || same.write().map(drop)), Err(LockError::Interrupted { .. })));
        drop(lock.try_read().unwrap());
        drop(reading);
        let writing = lock.write().unwrap();
        let same = lock.clone();
        assert!(matches!(interrupted(move || same.read().map(drop)), Err(LockError::Interrupted { .. })));
        drop(writing);
        drop(lock.try_write().unwrap());
    }

    a_semaphore(scratch) {
        let semaphore = Semaphore::options().permits(3).namespace(&scratch).anonymous().unwrap();
        let permit = semaphore.acquire().unwrap();
        let same = semaphore.clone();
        let many = move || same.acquire_many(3).map(drop);
        assert!(matches!(interrupted(many), Err(SemaphoreError::Interrupted { .. })));
        assert_eq!(semaphore.available(), 2);
        drop(permit);
        assert_eq!(semaphore.available(), 3);
        let bounded = BoundedSemaphore::options().permits(1).namespace(&scratch).anonymous().unwrap();
        let _permit = bounded.acquire().unwrap();
        let same = bounded.clone();
        assert!(matches!(interrupted(move || same.acquire().map(drop)), Err(SemaphoreError::Interrupted { .. })));
    }

    an_event_and_a_latch(scratch) {
        let event = Event::options().namespace(&scratch).anonymous().unwrap();
        assert!(matches!(interrupted(move || event.wait()), Err(EventError::Interrupted { .. })));
        let latch = Latch::options().count(1).namespace(&scratch).anonymous().unwrap();
        assert!(matches!(interrupted(move || latch.wait()), Err(LatchError::Interrupted { .. })));
    }

    a_once(scratch) {
        let once = Once::options().namespace(&scratch).anonymous().unwrap();
        let same = once.clone();
        let mut inner = None;
        once.run(|_| inner = Some(interrupted(move || same.run(|_| ())))).unwrap();
        assert!(once.is_done() && matches!(inner, Some(Err(OnceError::Interrupted { .. }))));
    }

    a_condition_and_the_lock_is_free_after_it(scratch) {
        let lock = Lock::options().namespace(&scratch).anonymous().unwrap();
        let condition = Condition::options().namespace(&scratch).anonymous().unwrap();
        let (same, changed) = (lock.clone(), condition.clone());
        let waits = move || changed.wait(same.acquire()?).map(drop);
        assert!(matches!(interrupted(waits), Err(LockError::Interrupted { .. })));
        assert_eq!(condition.waiters(), 0);
        drop(lock.try_acquire().unwrap());
    }

    a_condition_and_guards_further_out_hold_the_lock(scratch) {
        let lock = RLock::options().namespace(&scratch).anonymous().unwrap();
        let condition = Condition::options().namespace(&scratch).anonymous().unwrap();
        let (same, changed) = (lock.clone(), condition.clone());
        let depth = interrupted(move || {
            let outer = same.acquire().unwrap();
            let outcome = changed.wait(same.acquire().unwrap()).map(drop);
            assert!(matches!(outcome, Err(LockError::Interrupted { .. })));
            outer.depth()
        });
        assert_eq!(depth, 1);
        drop(lock.try_acquire().unwrap());
    }

    a_value(scratch) {
        let value: Value<u64> = Value::options().namespace(&scratch).anonymous().unwrap();
        let held = value.acquire().unwrap();
        let same = value.clone();
        assert!(matches!(interrupted(move || same.update(|n| *n += 1)), Err(LockError::Interrupted { .. })));
        drop(held);
        assert_eq!(value.get().unwrap(), 0);
    }

    a_barrier_whose_others_meet_nevertheless(scratch) {
        let barrier = Barrier::options().parties(3).namespace(&scratch).anonymous().unwrap();
        let same = barrier.clone();
        assert!(matches!(interrupted(move || same.wait()), Err(BarrierError::Interrupted { .. })));
        assert_eq!((barrier.n_waiting(), barrier.broken()), (0, None));
        // One of three has arrived before, and another one after the interrupted one.
        let meet = |barrier: &Barrier| {
            let barrier = barrier.clone();
            std::thread::spawn(move || barrier.wait().unwrap())
        };
        let first = meet(&barrier);
        until("one waits", || barrier.n_waiting() == 1);
        let same = barrier.clone();
        let outcome = interrupted(move || same.wait_timeout(Duration::from_secs(3600)));
        assert!(matches!(outcome, Err(BarrierError::Interrupted { .. })));
        until("one waits", || barrier.n_waiting() == 1);
        let second = meet(&barrier);
        let mut indices = vec![barrier.wait().unwrap(), first.join().unwrap(), second.join().unwrap()];
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2]);
    }

    members_of_barriers(scratch) {
        for elastic in [false, true] {
            let options = Barrier::options().parties(2).namespace(&scratch);
            let options = if elastic { options.elastic() } else { options };
            let barrier = options.anonymous().unwrap();
            let (mut mine, mut its) = (barrier.join().unwrap(), barrier.join().unwrap());
            let (outcome, mut its) = interrupted(move || (its.wait(), its));
            assert!(matches!(outcome, Err(BarrierError::Interrupted { .. })));
            assert_eq!((barrier.n_waiting(), barrier.broken()), (0, None));
            let other = std::thread::spawn(move || its.wait().unwrap());
            assert_eq!(mine.wait().unwrap() + other.join().unwrap(), 1);
        }
    }

    an_action_is_not_interrupted_for_those_who_wait_for_it(scratch) {
        let barrier = Barrier::options().parties(2).namespace(&scratch).anonymous().unwrap();
        let (acts, goes_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (began, may_end) = (Arc::clone(&acts), Arc::clone(&goes_on));
        let acting = barrier.clone().with_action(move || {
            began.store(true, Ordering::Relaxed);
            until("the action may end", || may_end.load(Ordering::Relaxed));
            Ok(())
        });
        let other = std::thread::spawn(move || {
            let _hook = interrupt::on_signal(move || acts.load(Ordering::Relaxed));
            barrier.wait()
        });
        let last = std::thread::spawn(move || acting.wait());
        std::thread::sleep(Duration::from_millis(150));
        goes_on.store(true, Ordering::Relaxed);
        assert_eq!(last.join().unwrap().unwrap() + other.join().unwrap().unwrap(), 1);
    }

    a_queue(scratch) {
        let queue: Queue<u8> = Queue::options().capacity(1).namespace(&scratch).anonymous().unwrap();
        let same = queue.clone();
        assert!(matches!(interrupted(move || same.get()), Err(GetError::Interrupted(_))));
        queue.put(&1).unwrap();
        let same = queue.clone();
        assert!(matches!(interrupted(move || same.put(&2)), Err(PutError::Interrupted(_))));
        assert_eq!((queue.get().unwrap(), queue.len()), (1, 0));
    }

    a_joinable_queue(scratch) {
        let queue: JoinableQueue<u8> = JoinableQueue::options().namespace(&scratch).anonymous().unwrap();
        let same = queue.clone();
        assert!(matches!(interrupted(move || same.get().map(drop)), Err(GetError::Interrupted(_))));
        queue.put(&1).unwrap();
        let same = queue.clone();
        assert!(matches!(interrupted(move || same.join()), Err(JoinError::Interrupted { .. })));
        queue.get().unwrap().task_done().unwrap();
        queue.join().unwrap();
    }

    a_pipe(scratch) {
        let options = Pipe::options().bytes(4096).namespace(&scratch);
        let (sender, receiver) = options.pipe::<Bytes>().unwrap();
        let (sender, receiver) = (Arc::new(sender), Arc::new(receiver));
        let same = Arc::clone(&receiver);
        assert!(matches!(interrupted(move || same.recv_bytes()), Err(RecvError::Interrupted)));
        let same = Arc::clone(&sender);
        let message = vec![7; 64 << 20];
        assert!(matches!(interrupted(move || same.send_bytes(&message)), Err(SendError::Interrupted)));
        // Nobody sees anything of it.
        sender.send_bytes(&[1]).unwrap();
        assert_eq!(receiver.recv_bytes().unwrap(), [1]);
        // Another thread has the end, and waits.
        let same = Arc::clone(&receiver);
        let waiting = std::thread::spawn(move || same.recv_bytes());
        std::thread::sleep(Duration::from_millis(20));
        let same = Arc::clone(&receiver);
        assert!(matches!(interrupted(move || same.recv_bytes()), Err(RecvError::Interrupted)));
        sender.send_bytes(&[2]).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), [2]);
    }

    several_things_at_once(scratch) {
        let event = Event::options().namespace(&scratch).anonymous().unwrap();
        let child = Arc::new(Process::spawn(|()| std::thread::sleep(Duration::from_secs(3600)), ()).unwrap());
        let same = Arc::clone(&child);
        let outcome = interrupted(move || {
            let words: [&dyn Waitable; 1] = [&event];
            let interrupted = |objects: &[&dyn Waitable]| {
                matches!(wait(objects), Err(WaitAnyError::Interrupted))
            };
            interrupted(&words) && interrupted(&[&event, &same])
        });
        assert!(outcome);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    a_process(scratch) {
        drop(scratch);
        let sleeper = || Process::spawn(|()| std::thread::sleep(Duration::from_secs(3600)), ()).unwrap();
        let child = sleeper();
        let (outcome, child) = interrupted(move || (child.wait(), child));
        assert!(matches!(outcome, Err(WaitError::Interrupted { .. })));
        let outcome = interrupted(move || child.join_timeout(Duration::from_secs(3600)));
        let Err(JoinTimeoutError::Interrupted(child)) = outcome else { panic!("{outcome:?}") };
        assert!(child.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        let child = sleeper();
        let pid = child.pid();
        let outcome = interrupted(move || child.join());
        assert!(matches!(outcome, Err(ProcessError::Interrupted { .. })));
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    }

    a_pool_that_maps_and_what_is_not_begun_is_not_run(scratch) {
        let pool = Pool::new(1).unwrap();
        let gate = Event::options().namespace(&scratch).anonymous().unwrap();
        let begun: Value<u64> = Value::options().namespace(&scratch).anonymous().unwrap();
        let state = (gate.clone(), begun.clone());
        // The worker has a chunk of ten items, of which it does the first, and ten more are offered to it.
        let has_begun = || begun.get().unwrap() == 1;
        let (outcome, pool) =
            interrupted_when(has_begun, move || (pool.map_with(&state, wait_at, 0..320), pool));
        assert!(matches!(outcome, Err(TaskError::Interrupted { .. })));
        gate.set();
        assert_eq!(pool.apply(|n: u64| n * n, 7).unwrap(), 49);
        assert_eq!(begun.get().unwrap(), 1);
    }

    a_pool_that_applies(scratch) {
        let pool = Pool::new(1).unwrap();
        let gate = Event::options().namespace(&scratch).anonymous().unwrap();
        let same = gate.clone();
        let (outcome, pool) = interrupted(move || (pool.apply(|gate: Event| gate.wait().unwrap(), same), pool));
        assert!(matches!(outcome, Err(TaskError::Interrupted { .. })));
        gate.set();
        assert_eq!(pool.apply(|n: u64| n * n, 7).unwrap(), 49);
    }

    a_result_of_a_pool_and_it_comes_later(scratch) {
        let pool = Pool::new(1).unwrap();
        let gate = Event::options().namespace(&scratch).anonymous().unwrap();
        let mut result = pool.apply_async(|gate: Event| gate.wait().is_ok(), gate.clone());
        let (outcome, mut result) = interrupted(move || (result.get(), result));
        assert!(matches!(outcome, Err(TaskError::Interrupted { .. })));
        let (outcome, mut result) = interrupted(move || (result.get_timeout(Duration::from_secs(3600)), result));
        assert!(matches!(outcome, Err(TaskError::Interrupted { .. })));
        gate.set();
        assert!(result.get().unwrap() && result.get().unwrap());
    }

    results_one_by_one_and_none_is_lost(scratch) {
        let gate = Event::options().namespace(&scratch).anonymous().unwrap();
        let begun: Value<u64> = Value::options().namespace(&scratch).anonymous().unwrap();
        let outcomes = interrupted(move || {
            let pool = Pool::new(2).unwrap();
            let items = (0..20).map(|n| (n, (gate.clone(), begun.clone())));
            let mut results = pool.imap_unordered(|(n, state): (u64, _)| wait_at(&state, n), items);
            let first = results.next().unwrap().1;
            assert!(matches!(first, Err(TaskError::Interrupted { .. })));
            gate.set();
            // The hook goes on saying yes.
            results.filter_map(|(index, outcome)| Some((index, outcome.ok()?))).collect::<Vec<_>>()
        });
        let mut indices: Vec<usize> = outcomes.iter().map(|(index, n)| {
            assert_eq!(*index as u64, *n);
            *index
        }).collect();
        indices.sort_unstable();
        assert!(indices.iter().copied().eq(0..20));
    }

    a_pool_whose_workers_leave(scratch) {
        let pool = Pool::new(1).unwrap();
        let gate = Event::options().namespace(&scratch).anonymous().unwrap();
        let mut result = pool.apply_async(|gate: Event| gate.wait().is_ok(), gate.clone());
        pool.close();
        let (outcome, mut pool) = interrupted(move || {
            let mut pool = pool;
            (pool.join(), pool)
        });
        assert!(matches!(outcome, Err(PoolError::Interrupted)));
        gate.set();
        pool.join().unwrap();
        assert!(result.get().unwrap() && pool.workers().is_empty());
    }

    not_the_second_that_a_terminated_worker_has(scratch) {
        let pool = Pool::new(1).unwrap();
        let latches: [Latch; 2] =
            [(); 2].map(|()| Latch::options().count(1).namespace(&scratch).anonymous().unwrap());
        let [ready, done] = latches.clone();
        let _result = pool.apply_async(end_slowly, latches);
        ready.wait().unwrap();
        handle_signals();
        let thread = std::thread::spawn(move || {
            let _hook = interrupt::on_signal(|| true);
            pool.terminate();
        });
        while !thread.is_finished() {
            signal(&thread);
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.join().unwrap();
        assert!(done.is_open());
    }

    no_signal_but_a_word_from_another_thread(scratch) {
        let queue: Queue<u8> = Queue::options().namespace(&scratch).anonymous().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let hears = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let _hook = interrupt::on_signal(move || hears.load(Ordering::Relaxed));
            queue.get()
        });
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(thread.join().unwrap(), Err(GetError::Interrupted(_))));
    }
}

/// Waits, with a hook that forks once: whether the copy was interrupted, and what the wait has come to here.
fn forking_in<T: std::fmt::Debug, E: std::fmt::Debug>(
    wait: impl FnOnce() -> Result<T, E>,
    meanwhile: impl FnOnce() + 'static,
    is_interrupted: impl FnOnce(&E) -> bool,
) -> Result<T, E> {
    let parent = std::process::id();
    let mut meanwhile = Some(meanwhile);
    let is_forked = std::cell::Cell::new(false);
    let fork_once = std::cell::RefCell::new(move || {
        if is_forked.replace(true) {
            return;
        }
        if let Forked::Parent(child, _) = fork().unwrap() {
            let end = EndFd::of_child(child).unwrap();
            if end.wait(Some(Duration::from_secs(30))).unwrap() != EndWait::Ended {
                discard(child);
                panic!("the copy goes on with the wait");
            }
            assert_eq!(
                reap(Who::Pid(child)).unwrap(),
                Some(Ended::Exited(0)),
                "the copy was not interrupted"
            );
            meanwhile.take().unwrap()();
        }
    });
    let _hook = interrupt::on_signal(move || {
        (fork_once.borrow_mut())();
        false
    });
    let outcome = wait();
    if std::process::id() != parent {
        exit_now(i32::from(!outcome.as_ref().is_err_and(is_interrupted)));
    }
    outcome
}

#[test]
fn a_process_that_a_hook_forks_leaves_the_wait_to_its_parent() {
    let _dog = Watchdog::start();
    let namespace = Namespace::private();
    let lock = RwLock::options().namespace(&namespace).anonymous().unwrap();
    let reads = lock.clone();
    let ((held, is_held), (let_go, lets_go)) = (channel(), channel::<()>());
    let reader = std::thread::spawn(move || {
        let _reading = reads.read().unwrap();
        held.send(()).unwrap();
        lets_go.recv().unwrap();
    });
    is_held.recv().unwrap();
    let (waited, pid) = (lock.clone(), std::process::id());
    let meanwhile = move || {
        assert_eq!(waited.writer().map(|writer| writer.pid), Some(pid), "its parent waits to write");
        let_go.send(()).unwrap();
    };
    let is_interrupted = |error: &LockError| matches!(error, LockError::Interrupted { .. });
    drop(forking_in(|| lock.write(), meanwhile, is_interrupted).unwrap());
    reader.join().unwrap();

    let value = Value::<u32>::options().namespace(&namespace).anonymous().unwrap();
    let changed = Condition::options().namespace(&namespace).anonymous().unwrap();
    let (waiting, notifies) = (value.acquire().unwrap(), changed.clone());
    let notify = move || {
        assert_eq!(notifies.waiters(), 1);
        notifies.notify(1);
    };
    drop(forking_in(|| changed.wait(waiting), notify, is_interrupted).unwrap());

    let barrier = Barrier::options().namespace(&namespace).parties(2).anonymous().unwrap();
    let other = barrier.clone();
    let arrive = move || {
        assert_eq!(other.n_waiting(), 1);
        drop(std::thread::spawn(move || other.wait()));
    };
    let order =
        forking_in(|| barrier.wait(), arrive, |error| matches!(error, BarrierError::Interrupted { .. }));
    assert_eq!(order.unwrap(), 0);
}

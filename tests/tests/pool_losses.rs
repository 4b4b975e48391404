//! The ways in which a pool's worker can fail: each is an error of its own, which names the item and the
//! worker, and each costs that item alone.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![expect(unsafe_code, reason = "fork is a C function")]

use nix::sys::signal::{SigHandler, Signal, kill, raise};
use nix::unistd::{Pid, Uid};
use procession::{Array, Pool, PoolOptions, Process, ProcessLabel, TaskError, TaskItem, Value};
use procession_tests::{Watchdog, is_stopped, isolate, note, until};
use std::time::Duration;

procession::test_support!();

fn options(workers: usize) -> (PoolOptions, Watchdog) {
    isolate();
    (Pool::options().processes(workers), Watchdog::start())
}

/// Fails in the way that its number says.
fn fail(n: u32) -> u32 {
    match n {
        2 => raise(Signal::SIGKILL).unwrap(),
        4 => raise(Signal::SIGILL).unwrap(),
        6 => std::process::exit(7),
        8 => std::process::abort(),
        10 => panic!("ten is bad"),
        12 => {
            // The pool sees that it does not go on, and lets it be.
            let me = Pid::this();
            let command = format!("sleep 0.3; kill -CONT {me}");
            let mut waker = std::process::Command::new("sh").args(["-c", &command]).spawn().unwrap();
            raise(Signal::SIGSTOP).unwrap();
            waker.wait().unwrap();
        }
        14 => panic_twice(),
        16 => no_unwinding(),
        _ => {}
    }
    n
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

/// Which aborts.
fn panic_twice() {
    let _bomb = PanicsInDrop;
    panic!("first");
}

extern "C" fn no_unwinding() {
    panic!("through C");
}

fn is_worker(worker: &ProcessLabel, of: &TaskItem) -> bool {
    worker.name().starts_with("PoolWorker-") && worker.pid() > 1 && worker.function() == of.function
}

#[test]
fn each_way_to_fail_is_its_own_error() {
    let (options, _dog) = options(2);
    let pool = options.start().unwrap();
    let outcomes = pool.chunk_size(5).try_map(fail, 0..20).unwrap();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let error = match outcome {
            Ok(result) => {
                assert_eq!(result as usize, n);
                assert!(n % 2 == 1 || n == 12 || n == 0 || n == 18, "{n}");
                continue;
            }
            Err(error) => error,
        };
        match (n, &error) {
            (2, TaskError::WorkerDied { item, worker, signal: 9 })
            | (4, TaskError::WorkerDied { item, worker, signal: 4 })
            | (6, TaskError::WorkerExited { item, worker, code: 7 })
            | (8, TaskError::WorkerDied { item, worker, signal: 6 }) => {
                assert!(item.index == n && is_worker(worker, item), "{error}");
            }
            (10 | 14 | 16, TaskError::Panicked { item, worker, message, location, .. }) => {
                let text = [(10, "ten is bad"), (14, "in a drop"), (16, "through C")];
                let (_, text) = text.into_iter().find(|(number, _)| *number == n).unwrap();
                assert!(item.index == n && is_worker(worker, item) && message.contains(text), "{error}");
                assert!(location.as_ref().unwrap().contains("pool_losses.rs"), "{error}");
            }
            _ => panic!("{n}: {error}"),
        }
    }
    until("all are replaced", || pool.workers().len() == 2);
    assert_eq!(pool.map(|n: u32| n, 0..10).unwrap().len(), 10);
}

/// Stops a process, which takes the kernel a moment.
fn stop(pid: Pid) {
    kill(pid, Signal::SIGSTOP).unwrap();
    until("it is stopped", || is_stopped(pid.as_raw().cast_unsigned()));
}

#[test]
fn a_stopped_worker_is_no_dead_one() {
    let (options, _dog) = options(1);
    let pool = options.start().unwrap();
    let worker = pool.workers()[0];
    let pid = Pid::from_raw(worker.cast_signed());
    assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    stop(pid);
    let mut later = pool.apply_async(|| 2, ());
    assert!(matches!(later.get_timeout(Duration::from_millis(300)), Err(TaskError::TimedOut { .. })));
    assert_eq!(pool.workers(), [worker]);
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(later.get().unwrap(), 2);
    // Killed while it is stopped, it is dead.
    stop(pid);
    let mut later = pool.apply_async(|| 3, ());
    kill(pid, Signal::SIGKILL).unwrap();
    assert_eq!(later.get().unwrap(), 3);
}

/// What a worker forks runs on with a copy of all that the worker has, and lets the function return.
#[test]
fn a_copy_of_a_worker_answers_nothing_and_runs_nothing() {
    let (options, _dog) = options(2);
    let pool = options.start().unwrap();
    let runs = Array::<u32>::new(40).unwrap();
    let work = |runs: &Array<u32>, n: usize| {
        runs.fetch_add(n, 1).unwrap();
        if n % 8 == 3 {
            #[expect(clippy::disallowed_methods, reason = "this is the test of what becomes of it")]
            // SAFETY: both processes go on with what they had.
            let pid = unsafe { libc::fork() };
            if pid != 0 {
                nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap();
            }
        }
        n
    };
    assert!(pool.map_with(&runs, work, 0..40).unwrap().into_iter().eq(0..40));
    assert!((0..40).all(|n| runs.get(n).unwrap() == 1));
    // Also one that panics, or outlives its worker.
    let ended = Value::new(0_u32).unwrap();
    let forks = |ended: &Value<u32>, how: u32| {
        #[expect(clippy::disallowed_methods, reason = "this is the test of what becomes of it")]
        // SAFETY: both processes go on with what they had.
        let pid = unsafe { libc::fork() };
        match (pid == 0, how) {
            (true, 0) => panic!("in the copy"),
            (true, _) => {
                std::thread::sleep(Duration::from_millis(20));
                ended.fetch_add(1).unwrap();
            }
            (false, 2) => std::process::abort(),
            (false, _) => {}
        }
        how
    };
    let outcomes: Vec<_> = pool.imap_with(&ended, forks, [0, 1, 2, 3]).collect();
    assert!(
        matches!(outcomes[..], [Ok(0), Ok(1), Err(TaskError::WorkerDied { signal: 6, .. }), Ok(3)]),
        "{outcomes:?}"
    );
    assert_eq!(pool.map(|n: u32| n, 0..100).unwrap().len(), 100);
    until("the copies have ended", || ended.get().unwrap() == 3);
}

/// As root makes its pool, and then becomes the user who it serves.
#[test]
fn a_pool_whose_owner_became_another_user_says_so_at_once() {
    if !Uid::effective().is_root() {
        return note("SKIPPED: only root can become another user");
    }
    let (_, _dog) = options(1);
    let told = Value::new(0_u32).unwrap();
    let child = Process::spawn(
        |told: Value<u32>| {
            let mut pool = Pool::new(2).unwrap();
            assert_eq!(pool.map(|n: u32| n, 0..4).unwrap().len(), 4);
            let mut early = pool.apply_async(|| 5, ());
            nix::unistd::setuid(Uid::from_raw(65_534)).unwrap();
            let is_told = |error: TaskError| matches!(error, TaskError::UserChanged { was: 0, now: 65_534 });
            assert!(is_told(pool.map(|n: u32| n, 0..4).unwrap_err()));
            assert!(is_told(pool.apply(|| 1, ()).unwrap_err()));
            assert!(is_told(pool.apply_async(|| 1, ()).get().unwrap_err()));
            assert!(is_told(pool.imap(|n: u32| n, 0..4).next().unwrap().unwrap_err()));
            assert_eq!(early.get().unwrap(), 5);
            pool.close();
            pool.join().unwrap();
            told.set(1).unwrap();
        },
        told.clone(),
    );
    child.unwrap().join().unwrap();
}

/// Kills its worker when it runs for the first time.
fn is_killed_once(runs: Value<u32>) {
    if runs.fetch_add(1).unwrap() == 0 {
        raise(Signal::SIGKILL).unwrap();
    }
}

/// What a pool makes of workers whose ends nobody can learn: `SIGCHLD` is ignored.
fn without_sigchld((): ()) {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
    let runs = Value::new(0_u32).unwrap();
    let mut pool = Pool::options().processes(1).initializer(is_killed_once, runs.clone()).start().unwrap();
    let outcomes = pool.try_map(fail, [0, 2, 6, 8, 10]).unwrap();
    let is_lost = |outcome: &Result<_, _>| matches!(outcome, Err(TaskError::WorkerLost { worker, item }) if is_worker(worker, item));
    assert!(matches!(outcomes[0], Ok(0)), "{outcomes:?}");
    assert!(outcomes[1..4].iter().all(is_lost), "{outcomes:?}");
    assert!(matches!(outcomes[4], Err(TaskError::Panicked { .. })), "{outcomes:?}");
    // The one that was killed, its successor, and one after each worker that an item ended.
    assert_eq!(runs.get().unwrap(), 5);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_lost_exit_status_costs_no_more_than_a_known_one() {
    let (_options, _dog) = options(1);
    Process::spawn(without_sigchld, ()).unwrap().join().unwrap();
}

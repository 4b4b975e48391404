//! A process forked without `exec` uses the pools and processes of its parent: it is told so at once, and
//! waits for nothing.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]
#![expect(unsafe_code, reason = "a fork that exits is made by a C function")]

use procession::futures::as_completed;
use procession::{
    Array, Barrier, Bytes, Fault, GetError, List, Map, Once, Pool, PoolError, Process, Queue, RecvError,
    SendError, StartMethod, TaskError, UnusableEnd, Value, WaitError, active_children, pipe,
};
use procession_tests::{Watchdog, forkservers, in_fork, isolate, runs, until};
use serde::{Deserialize, Deserializer, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

procession::test_support!();

fn double(n: u32) -> u32 {
    2 * n
}

fn is_forked<T>(result: Result<T, TaskError>) -> bool {
    matches!(result, Err(TaskError::Forked))
}

/// A pool that has answered a call, and half a minute for the test.
fn used_pool() -> (Watchdog, Pool) {
    isolate();
    let dog = Watchdog::start();
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
    (dog, pool)
}

#[test]
fn no_call_of_a_pool_hangs_in_a_forked_child() {
    let (_dog, mut pool) = used_pool();
    assert!(in_fork("map", || is_forked(pool.map(double, 0..3))));
    assert!(in_fork("map of nothing", || is_forked(pool.map(double, []))));
    assert!(in_fork("map_with", || is_forked(pool.map_with(&1, |state, n: u32| state + n, 0..3))));
    assert!(in_fork("apply", || is_forked(pool.apply(double, 1))));
    assert!(in_fork("apply_async", || {
        let mut result = pool.apply_async(double, 1);
        result.is_ready() && is_forked(result.get_timeout(Duration::from_secs(60))) && is_forked(result.get())
    }));
    assert!(in_fork("imap_unordered", || {
        let results: Vec<_> = pool.imap_unordered(double, 0..3).collect();
        results.len() == 3 && results.into_iter().all(|(_, result)| is_forked(result))
    }));
    assert!(in_fork("workers", || pool.workers().is_empty()));
    assert!(in_fork("close", || {
        pool.close();
        true
    }));
    assert!(in_fork("terminate", || {
        pool.terminate();
        true
    }));
    assert!(in_fork("join", || matches!(pool.join(), Err(PoolError::Forked))));
    assert!(in_fork("the text", || {
        pool.apply(double, 1).unwrap_err().to_string().contains("make the pool after the fork")
    }));
    // To its own process it is what it was.
    assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
    assert_eq!(pool.workers().len(), 2);
}

#[test]
fn what_a_pool_has_given_out_does_not_hang_in_a_forked_child() {
    let (_dog, pool) = used_pool();
    let sleep = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
    let mut pending = pool.apply_async(sleep, 2_000);
    assert!(in_fork("get_timeout", || is_forked(pending.get_timeout(Duration::from_secs(60)))));
    assert!(in_fork("drop and get", || {
        let mut results = pool.imap_unordered(double, 0..3);
        drop(results.next());
        drop(results);
        true
    }));
    let mut results = pool.imap_unordered(double, 0..20);
    let first = results.next().unwrap();
    let seen = in_fork("next", || {
        let rest: Vec<(usize, bool)> = results.by_ref().map(|(index, one)| (index, is_forked(one))).collect();
        rest
    });
    assert!(seen.iter().all(|(_, forked)| *forked), "{seen:?}");
    let mut indices: Vec<usize> = seen.into_iter().map(|(index, _)| index).chain([first.0]).collect();
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..20), "each item comes once");
    assert_eq!(results.filter(|(_, result)| result.is_ok()).count(), 19);
    // A fork in the middle of a call: the caller's own iterator does it.
    let items = (0..100_u32).inspect(|n| {
        if *n == 50 {
            assert!(in_fork("a call inside a call", || is_forked(pool.map(double, 0..1))));
        }
    });
    assert_eq!(pool.map(double, items).unwrap().len(), 100);
}

#[test]
fn what_comes_as_it_is_completed_comes_to_an_end_in_a_forked_child() {
    let (_dog, pool) = used_pool();
    let other = Pool::new(1).unwrap();
    let sleep = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
    for pools in [[&pool, &pool], [&pool, &other]] {
        let mut results = as_completed(pools.map(|pool| pool.apply_async(sleep, 500)));
        let seen = in_fork("as_completed", || results.by_ref().map(is_forked).collect::<Vec<_>>());
        assert_eq!(seen, [true]);
        assert_eq!(results.filter(Result::is_ok).count(), 2);
    }
}

#[test]
fn a_callback_is_called_at_once_in_a_forked_child() {
    let (_dog, pool) = used_pool();
    let pending = pool.apply_async(|ms: u64| std::thread::sleep(Duration::from_millis(ms)), 500);
    assert!(in_fork("add_done_callback", || {
        static WAS_FORKED: AtomicBool = AtomicBool::new(false);
        pending.add_done_callback(|outcome| WAS_FORKED.store(is_forked(outcome), Relaxed));
        WAS_FORKED.load(Relaxed)
    }));
}

#[test]
fn a_forked_child_that_exits_waits_for_the_children_that_it_has_started() {
    isolate();
    let _dog = Watchdog::start();
    // So that the handlers for the exit are there before the fork.
    assert_eq!(Process::spawn(double, 1).unwrap().join().unwrap(), 2);
    let done = Queue::<u32>::new().unwrap();
    // The exit handlers of the harness are the fork's, too: it is the fork of a process of its own.
    let fork_and_exit = |done: Queue<u32>| {
        #[expect(clippy::disallowed_methods, reason = "this is the test of what such a child does")]
        // SAFETY: the process has one thread that does anything.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            Process::spawn(
                |done: Queue<u32>| {
                    std::thread::sleep(Duration::from_millis(200));
                    done.put(&1).unwrap();
                },
                done,
            )
            .unwrap();
            std::process::exit(0);
        }
        // SAFETY: a null status is allowed.
        assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
    };
    Process::spawn(fork_and_exit, done.clone()).unwrap().join().unwrap();
    assert_eq!(done.try_get().unwrap(), 1);
}

#[test]
fn a_pool_dropped_in_a_forked_child_stays_whole_for_its_process() {
    let (_dog, pool) = used_pool();
    let mut pool = Some(pool);
    assert!(in_fork("drop", || pool.take().is_some()));
    assert_eq!(pool.unwrap().map(double, 0..3).unwrap(), [0, 2, 4]);
}

#[test]
fn a_forked_child_makes_a_pool_and_processes_of_its_own() {
    let (_dog, pool) = used_pool();
    let answer = in_fork("a pool of its own", || {
        let own = Pool::new(1).unwrap();
        let child = Process::spawn(double, 21).unwrap();
        (own.map(double, 1..3).unwrap(), child.join().unwrap(), is_forked(pool.apply(double, 1)))
    });
    assert_eq!(answer, (vec![2, 4], 42, true));
}

#[test]
fn a_forked_child_neither_waits_for_its_parents_children_nor_ends_them() {
    isolate();
    let child = Process::spawn(|()| std::thread::sleep(Duration::from_secs(600)), ()).unwrap();
    let told = in_fork("a handle of a process", || {
        let errors = [
            child.wait().map(drop).map_err(|error| match error {
                WaitError::Kernel(error) => error,
                other => panic!("{other}"),
            }),
            child.try_wait().map(drop),
            child.terminate(),
            child.kill(),
            child.signal(0),
        ];
        let all_say_so = errors.iter().all(|error| {
            let error = error.as_ref().unwrap_err();
            error.raw_os_error() == Some(libc::ECHILD) && error.to_string().contains("forked")
        });
        (all_say_so, child.is_alive(), child.exit_status().is_none(), active_children().len())
    });
    assert_eq!(told, (true, true, true, 0));
    let mut child = Some(child);
    let joined = in_fork("join", || child.take().unwrap().join().unwrap_err().to_string());
    assert!(joined.contains("forked"), "{joined}");
    let child = child.unwrap();
    assert!(child.is_alive());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_child_forked_while_threads_start_and_list_children_finds_no_lock_taken() {
    isolate();
    let stop = AtomicBool::new(false);
    let sleeper = Process::spawn(|()| std::thread::sleep(Duration::from_secs(600)), ()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    drop(active_children());
                    assert!(sleeper.is_alive());
                }
            });
        }
        for round in 0..300 {
            let (listed, alive) =
                in_fork("active_children", || (active_children().len(), sleeper.is_alive()));
            assert_eq!((listed, alive), (0, true), "round {round}");
        }
        assert_eq!(in_fork("spawn", || Process::spawn(double, 4).unwrap().join().unwrap()), 8);
        stop.store(true, Relaxed);
    });
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

/// The server that its parent has could start no process for it: it would be its parent's child.
#[test]
fn a_forked_child_has_a_forkserver_of_its_own() {
    isolate();
    let options = || Process::options().start_method(StartMethod::Forkserver);
    assert_eq!(options().spawn(double, 1).unwrap().join().unwrap(), 2);
    let own = forkservers(std::process::id());
    let (waits, servers) = in_fork("a process by forkserver", || {
        let child = options().spawn(std::os::unix::process::parent_id, ()).unwrap();
        let me = std::process::id();
        (child.join().unwrap() == me, forkservers(me))
    });
    assert!(waits && servers.len() == 1 && servers != own);
    until("it has ended with its process", || !runs(servers[0]));
    // To this process its own is what it was.
    assert_eq!(options().spawn(double, 2).unwrap().join().unwrap(), 4);
    assert_eq!(forkservers(std::process::id()), own);
}

/// A binding of another language has ends of pipes in processes that fork: the child claims the one that is its own.
#[test]
fn an_end_of_a_pipe_is_claimed_by_a_forked_child_and_its_death_is_told() {
    isolate();
    let _dog = Watchdog::start();
    let (sender, receiver) = pipe::<u32>().unwrap();
    assert!(in_fork("an end", || {
        let unclaimed = matches!(sender.send(&1), Err(SendError::Fault(Fault::Inherited { .. })));
        let mine = sender.claim_in_fork().unwrap();
        mine.send(&7).unwrap();
        // As if killed: it closes nothing.
        std::mem::forget(mine);
        unclaimed
    }));
    // It does nothing any more, and closes nothing when it goes.
    sender.leave_to_fork();
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 7);
    assert!(matches!(receiver.recv(), Err(RecvError::PeerDied { .. })));

    let (sender, receiver) = pipe::<u32>().unwrap();
    sender.send(&1).unwrap();
    assert!(in_fork("a used end", || matches!(
        sender.claim_in_fork(),
        Err(RecvError::Unusable(UnusableEnd::InUse { .. }))
    )));
    sender.leave_to_fork();
    sender.send(&2).unwrap();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Result<Vec<_>, _>>().unwrap(), [1, 2]);

    // Nobody claims it, but it was left: the other side waits for it, as long as this process lives.
    let (sender, receiver) = pipe::<u32>().unwrap();
    sender.leave_to_fork();
    assert!(matches!(sender.send(&1), Err(SendError::Unusable(_))));
    drop(sender);
    assert!(matches!(receiver.try_recv(), Err(RecvError::WouldBlock)));
}

/// Whether this is a child that [`fork_here`] made.
static IS_CHILD: AtomicBool = AtomicBool::new(false);
/// Whether the next [`Forking`] that is decoded forks.
static FORKS: AtomicBool = AtomicBool::new(false);

/// Copies this process in the middle of a call that holds something. The child goes on first, and says by
/// [`parents_alone`] what came of it.
fn fork_here() {
    #[expect(clippy::disallowed_methods, reason = "this is the test of what such a child may do")]
    // SAFETY: the child goes on in the test's thread, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        return IS_CHILD.store(true, Relaxed);
    }
    let mut status = 0;
    // SAFETY: the status is there for the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0, "the child was not told that it holds nothing");
}

/// What a call has answered in which this process was forked, to the parent. A child whose call was not refused, or
/// did not panic, fails the parent.
fn parents_alone<T, E: std::fmt::Display>(call: impl FnOnce() -> Result<T, E>) -> T {
    let answer = catch_unwind(AssertUnwindSafe(call));
    if IS_CHILD.load(Relaxed) {
        let is_told = answer.map_or(true, |answer| {
            answer.is_err_and(|error| error.to_string().contains("the process that it was forked from"))
        });
        // SAFETY: it ends this process and touches nothing.
        unsafe { libc::_exit(i32::from(!is_told)) };
    }
    answer.unwrap().unwrap_or_else(|error| panic!("{error}"))
}

/// A value whose `Deserialize` forks when that is asked of it.
#[derive(Serialize, Debug, PartialEq)]
struct Forking(u32);

impl<'de> Deserialize<'de> for Forking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u32::deserialize(deserializer)?;
        if FORKS.swap(false, Relaxed) {
            fork_here();
        }
        Ok(Self(value))
    }
}

#[test]
fn the_child_of_a_fork_while_a_map_or_list_decodes_changes_nothing() {
    isolate();
    let _dog = Watchdog::start();
    let map = Map::<u32, Forking>::new().unwrap();
    let list = List::<Forking>::new().unwrap();
    map.insert(&1, &Forking(1)).unwrap();
    list.extend(&[Forking(1), Forking(2), Forking(3)]).unwrap();
    FORKS.store(true, Relaxed);
    assert_eq!(parents_alone(|| map.insert(&1, &Forking(2))), Some(Forking(1)));
    FORKS.store(true, Relaxed);
    assert_eq!(parents_alone(|| list.pop()), Some(Forking(3)));
    FORKS.store(true, Relaxed);
    assert_eq!(parents_alone(|| list.remove(0)), Forking(1));
    assert_eq!(list.iter().unwrap().collect::<Result<Vec<_>, _>>().unwrap(), [Forking(2)]);
    assert_eq!((map.get(&1).unwrap(), map.holder().is_none()), (Some(Forking(2)), true));
}

#[test]
fn the_child_of_a_fork_while_a_queue_asks_for_room_takes_nothing_and_lets_nothing_go() {
    isolate();
    let _dog = Watchdog::start();
    let queue = Queue::<Bytes>::new().unwrap();
    let is_held = || {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| queue.try_get());
            matches!(other.join().unwrap(), Err(GetError::WouldBlock(_)))
        })
    };
    for panics in [false, true] {
        queue.put(&[7][..]).unwrap();
        let frame = parents_alone(|| {
            queue.bytes().try_get_as(|len| {
                fork_here();
                let is_child = IS_CHILD.load(Relaxed);
                assert!(!(panics && is_child), "as it is to");
                assert!(is_child || is_held());
                vec![0; len]
            })
        });
        assert_eq!((frame, queue.is_empty()), (vec![7], true));
    }
}

#[test]
fn the_child_of_a_fork_in_a_barriers_action_lets_nobody_pass() {
    isolate();
    let _dog = Watchdog::start();
    let forks = || {
        fork_here();
        Ok(())
    };
    let barrier = Barrier::new(1).unwrap().with_action(forks);
    assert_eq!(parents_alone(|| barrier.wait()), 0);
    let elastic = Barrier::elastic().unwrap().with_action(forks);
    let mut member = elastic.join().unwrap();
    assert_eq!(parents_alone(|| member.wait()), 0);
    assert!(barrier.broken().is_none() && elastic.broken().is_none());
}

/// There the change, which is the caller's own, has an answer, and the child has it too.
#[test]
fn the_child_of_a_fork_in_an_update_commits_nothing() {
    isolate();
    let _dog = Watchdog::start();
    let value = Value::new(0_u32).unwrap();
    let array = Array::<u32>::new(2).unwrap();
    let map = Map::<u32, u32>::new().unwrap();
    let list = List::<u32>::new().unwrap();
    let once = Once::new().unwrap();
    list.push(&0).unwrap();
    let is_untouched = || {
        (
            value.get().unwrap(),
            array.get(0).unwrap(),
            map.get(&0).unwrap(),
            list.get(0).unwrap(),
            once.is_done(),
        ) == (0, 0, None, Some(0), false)
    };
    // The parent sees what the child has left of its own change: nothing.
    let fork_and_look = || {
        fork_here();
        assert!(IS_CHILD.load(Relaxed) || is_untouched());
    };
    let end_child = || {
        if IS_CHILD.load(Relaxed) {
            // SAFETY: it ends this process and touches nothing.
            unsafe { libc::_exit(0) };
        }
    };
    value
        .update(|value| {
            *value = 1;
            fork_and_look();
        })
        .unwrap();
    end_child();
    value.set(0).unwrap();
    array
        .update(0..2, |part| {
            part.fill(1);
            fork_and_look();
        })
        .unwrap();
    end_child();
    array.write(0, &[0, 0]).unwrap();
    map.update(&0, |value| {
        *value = Some(1);
        fork_and_look();
    })
    .unwrap();
    end_child();
    map.clear().unwrap();
    list.update(0, |value| {
        *value = 1;
        fork_and_look();
    })
    .unwrap();
    end_child();
    list.set(0, &0).unwrap();
    once.run(|_| fork_and_look()).unwrap();
    end_child();
    assert!(once.is_done());
}

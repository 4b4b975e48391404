//! `_TestCondition`.
//!
//! On purpose different from Python: to wait takes a guard, so that "wait without the lock" (AssertionError)
//! does not compile; to notify needs no lock; and who notifies never waits for the notified. A signal that
//! interrupts a wait does not end it: in Rust a handler cannot raise.

use crate::ground::{Ground, Made, SHORT, Sent, child, conforms, elsewhere, kill};
use procession::{Condition, Latch, Lock, LockError, RLock, RLockGuard, Value};
use procession_tests::until;
use std::time::{Duration, Instant};

conforms!(
    notify_wakes_one_process_or_thread,
    notify_all_wakes_all_after_waits_that_timed_out,
    notify_wakes_as_many_as_it_says_and_no_more_than_wait,
    a_notification_of_nobody_is_not_remembered,
    a_wait_times_out_having_the_lock_again,
    wait_for_sees_each_change,
    wait_for_with_a_timeout_answers_what_was_asked_last,
    wait_says_whether_it_was_notified,
    waiting_lets_a_recursive_lock_go_over_all_levels_and_restores_them,
    waiting_commits_a_value_and_lets_it_go,
    a_killed_waiter_holds_nobody_up,
);

/// A condition, its lock, and a number that each waiter reads when it has the lock again.
struct Scene {
    condition: Made<Condition>,
    lock: Made<RLock>,
    phase: Made<Value<u32>>,
}

type SentScene = (Sent<Condition>, Sent<RLock>, Sent<Value<u32>>);

impl Scene {
    fn new(ground: &Ground) -> Self {
        Self {
            condition: ground.make(Condition::options()),
            lock: ground.make(RLock::options()),
            phase: ground.make(Value::options()),
        }
    }

    fn send(&self) -> SentScene {
        (self.condition.send(), self.lock.send(), self.phase.send())
    }

    /// Notifies `n` when exactly `waiting` wait, in the next phase.
    fn notify(&self, waiting: usize, n: usize) {
        until("so many wait", || self.condition.waiters() == waiting);
        // Whoever is counted has let the lock go once this has it.
        let _guard = self.lock.acquire().unwrap();
        self.phase.fetch_add(1).unwrap();
        self.condition.notify(n);
    }
}

/// Waits once; in which phase it went on.
fn wait((condition, lock, phase): SentScene) -> u32 {
    let _guard = condition.wait(lock.acquire().unwrap()).unwrap();
    phase.get().unwrap()
}

/// What `f` answers in so many processes, and in as many threads of this one, while `meanwhile` is done.
fn in_processes_and_threads<R>(
    count: usize,
    scene: &Scene,
    f: fn(SentScene) -> R,
    process: impl Fn() -> procession::Process<R>,
    meanwhile: impl FnOnce(),
) -> Vec<R>
where
    R: Send + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let processes: Vec<_> = (0..count).map(|_| process()).collect();
    let sent: Vec<_> = (0..count).map(|_| scene.send()).collect();
    let threads: Vec<_> = sent.into_iter().map(|sent| std::thread::spawn(move || f(sent))).collect();
    meanwhile();
    let from_processes = processes.into_iter().map(|process| process.join().unwrap());
    from_processes.chain(threads.into_iter().map(|thread| thread.join().unwrap())).collect()
}

/// The phases in which so many processes and as many threads went on.
fn phases(count: usize, scene: &Scene, meanwhile: impl FnOnce()) -> Vec<u32> {
    let process = || child(wait, scene.send());
    let mut phases = in_processes_and_threads(count, scene, wait, process, meanwhile);
    phases.sort_unstable();
    phases
}

// test_notify
fn notify_wakes_one_process_or_thread(ground: &Ground) {
    let scene = Scene::new(ground);
    let phases = phases(1, &scene, || {
        scene.notify(2, 1);
        scene.notify(1, 1);
    });
    assert_eq!(phases, [1, 2]);
    assert_eq!(scene.condition.waiters(), 0);
}

// test_notify_all
fn notify_all_wakes_all_after_waits_that_timed_out(ground: &Ground) {
    let scene = Scene::new(ground);
    let time_out = |(condition, lock, _): SentScene| {
        condition.wait_timeout(lock.acquire().unwrap(), SHORT).unwrap().1.timed_out()
    };
    let process = || child(time_out, scene.send());
    assert_eq!(in_processes_and_threads(3, &scene, time_out, process, || ()), [true; 6]);
    assert_eq!(scene.condition.waiters(), 0);
    assert_eq!(phases(3, &scene, || scene.notify(6, usize::MAX)), [1; 6]);
}

// test_notify_n
fn notify_wakes_as_many_as_it_says_and_no_more_than_wait(ground: &Ground) {
    let scene = Scene::new(ground);
    let phases = phases(3, &scene, || {
        scene.notify(6, 2);
        scene.notify(4, 4);
        scene.notify(0, 3);
    });
    assert_eq!(phases, [1, 1, 2, 2, 2, 2]);
}

// test_notify_n, "3 extra"
fn a_notification_of_nobody_is_not_remembered(ground: &Ground) {
    let scene = Scene::new(ground);
    scene.notify(0, 3);
    scene.condition.notify_all();
    let (_guard, waited) = scene.condition.wait_timeout(scene.lock.acquire().unwrap(), SHORT).unwrap();
    assert!(waited.timed_out());
}

// test_timeout
fn a_wait_times_out_having_the_lock_again(ground: &Ground) {
    let scene = Scene::new(ground);
    let time_out = |(condition, lock, _): SentScene| {
        let start = Instant::now();
        let (guard, waited) = condition.wait_timeout(lock.acquire().unwrap(), SHORT).unwrap();
        let is_over = start.elapsed() >= SHORT;
        let (guard, at_once) = condition.wait_timeout(guard, Duration::ZERO).unwrap();
        is_over && waited.timed_out() && at_once.timed_out() && guard.depth() == 1
    };
    assert!(time_out(scene.send()) && elsewhere(time_out, scene.send()));
}

// test_waitfor
fn wait_for_sees_each_change(ground: &Ground) {
    let scene = Scene::new(ground);
    scene.phase.set(9).unwrap();
    let follow = |(condition, lock, state): SentScene| {
        let guard = lock.acquire().unwrap();
        state.set(0).unwrap();
        condition.notify(1);
        let _guard = condition.wait_for(guard, |_| state.get().unwrap() == 4).unwrap();
        state.get().unwrap()
    };
    let other = child(follow, scene.send());
    let guard = scene.lock.acquire().unwrap();
    drop(scene.condition.wait_for(guard, |_| scene.phase.get().unwrap() == 0).unwrap());
    for _ in 0..4 {
        scene.notify(1, 1);
    }
    assert_eq!(other.join().unwrap(), 4);
}

// test_waitfor_timeout
fn wait_for_with_a_timeout_answers_what_was_asked_last(ground: &Ground) {
    let scene = Scene::new(ground);
    let follow = |(condition, lock, state): SentScene| {
        let start = Instant::now();
        let holds = |_: &RLockGuard<'_>| state.get().unwrap() == 4;
        let (guard, before) = condition.wait_for_timeout(lock.acquire().unwrap(), 5 * SHORT, holds).unwrap();
        let is_over = start.elapsed() >= 5 * SHORT;
        state.set(4).unwrap();
        // What holds after the deadline holds.
        let (_guard, after) = condition.wait_for_timeout(guard, Duration::ZERO, holds).unwrap();
        (before.timed_out(), is_over, after.timed_out())
    };
    let other = child(follow, scene.send());
    for _ in 0..3 {
        scene.phase.fetch_add(1).unwrap();
        scene.condition.notify(1);
    }
    assert_eq!(other.join().unwrap(), (true, true, false));
}

// test_wait_result
fn wait_says_whether_it_was_notified(ground: &Ground) {
    let scene = Scene::new(ground);
    let wait = |(condition, lock, _): SentScene| {
        !condition.wait_timeout(lock.acquire().unwrap(), Duration::MAX).unwrap().1.timed_out()
    };
    let other = child(wait, scene.send());
    scene.notify(1, 1);
    assert!(other.join().unwrap());
}

// None: that the default RLock is released over all levels is not tested.
fn waiting_lets_a_recursive_lock_go_over_all_levels_and_restores_them(ground: &Ground) {
    let scene = Scene::new(ground);
    let guards = [scene.lock.acquire().unwrap(), scene.lock.acquire().unwrap()];
    let innermost = scene.lock.acquire().unwrap();
    let enter = |(condition, lock, _): SentScene| {
        let _guard = lock.acquire().unwrap();
        condition.notify(1);
    };
    let other = child(enter, scene.send());
    let innermost = scene.condition.wait(innermost).unwrap();
    assert_eq!((innermost.depth(), guards[0].depth()), (3, 3));
    other.join().unwrap();
    let is_refused =
        |(_, lock, _): SentScene| matches!(lock.try_acquire(), Err(LockError::WouldBlock { .. }));
    assert!(elsewhere(is_refused, scene.send()));
}

// None: Python's values have no conditions.
fn waiting_commits_a_value_and_lets_it_go(ground: &Ground) {
    let scene = Scene::new(ground);
    let mut guard = scene.phase.acquire().unwrap();
    *guard = 5;
    let answer = |(condition, _, value): SentScene| {
        let mut guard = condition.wait_for(value.acquire().unwrap(), |value| *value == 5).unwrap();
        *guard = 6;
        drop(guard);
        condition.notify_all();
    };
    let other = child(answer, scene.send());
    let guard = scene.condition.wait_for(guard, |value| *value == 6).unwrap();
    assert_eq!(*guard, 6);
    other.join().unwrap();
}

// None: in Python, notify waits for the dead to answer (gh-75158).
fn a_killed_waiter_holds_nobody_up(ground: &Ground) {
    let scene = Scene::new(ground);
    let lock = ground.make(Lock::options());
    let ready = ground.make(Latch::options().count(1));
    let die = |(condition, lock): (Sent<Condition>, Sent<Lock>)| {
        drop(condition.wait(lock.acquire().unwrap()));
    };
    let victim = child(die, (scene.condition.send(), lock.send()));
    until("it waits", || scene.condition.waiters() == 1);
    drop(lock.acquire().unwrap());
    let live = |(condition, lock, ready): (Sent<Condition>, Sent<Lock>, Sent<Latch>)| {
        let guard = lock.acquire().unwrap();
        ready.arrive();
        !condition.wait_timeout(guard, Duration::MAX).unwrap().1.timed_out()
    };
    let other = child(live, (scene.condition.send(), lock.send(), ready.send()));
    ready.wait().unwrap();
    // The one that has waited longest is dead: one notification is for the one that lives.
    drop(lock.acquire().unwrap());
    kill(&victim);
    scene.condition.notify(1);
    assert!(other.join().unwrap());
}

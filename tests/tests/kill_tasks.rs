//! Thousands of tasks (`make soak`: ten thousand for each start method) while workers, forkservers and the pool's own
//! process are killed: each task ends once, as done, as failed or as cancelled. When all is over there is no
//! process, no descriptor more than before, and nothing in `/dev/shm`.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use procession::{Executor, Pool, Process, RawArray, StartMethod, TaskError, set_start_method};
use procession_sys::clock;
use procession_tests::{
    Dice, children, descriptors, forkservers, in_own_process, kill_child, note, soaks, started, until,
};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

procession::test_support!();

const SECONDS: u64 = 250;
const WORKERS: usize = 4;
/// How many tasks one call is given.
const BLOCK: usize = 250;

fn tasks() -> usize {
    if soaks() { 10_000 } else { 2_000 }
}

/// How often each task was begun, and how often it came to its end: the tasks say so themselves, each in its own
/// places.
type Witness = (RawArray<u32>, RawArray<u32>);

static WITNESS: OnceLock<Witness> = OnceLock::new();

fn witness(tasks: usize) -> Witness {
    (RawArray::new(tasks).unwrap(), RawArray::new(tasks).unwrap())
}

/// What each worker does first.
fn remember(begun: RawArray<u32>, ended: RawArray<u32>) -> Result<(), String> {
    WITNESS.set((begun, ended)).map_err(|_| "it is a new process".to_owned())
}

fn work(n: usize) -> usize {
    let (begun, ended) = WITNESS.get().unwrap();
    begun.set(n, begun.get(n).unwrap() + 1).unwrap();
    std::thread::sleep(Duration::from_micros(30 * (n % 11) as u64));
    ended.set(n, ended.get(n).unwrap() + 1).unwrap();
    n
}

/// What became of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Done,
    Failed,
    Cancelled,
}

/// What became of all of them.
#[derive(Default)]
struct Fates(BTreeMap<usize, Fate>);

impl Fates {
    fn note(&mut self, n: usize, outcome: Result<usize, TaskError>) {
        let fate = match outcome {
            Ok(result) => {
                assert_eq!(result, n);
                Fate::Done
            }
            Err(TaskError::WorkerDied { signal: libc::SIGKILL, .. }) => Fate::Failed,
            Err(TaskError::Cancelled) => Fate::Cancelled,
            Err(error) => panic!("{n}: {error}"),
        };
        assert_eq!(self.0.insert(n, fate), None, "{n} has ended twice");
        ENDED.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is what the tasks say; those from `last` on were taken from their workers.
    fn check(&self, (begun, ended): &Witness, last: usize) {
        for n in 0..begun.len() {
            let (fate, times) = (self.0[&n], (begun.get(n).unwrap(), ended.get(n).unwrap()));
            let may_be = match fate {
                Fate::Done => times == (1, 1),
                Fate::Cancelled if n < last => times == (0, 0),
                Fate::Failed | Fate::Cancelled => times.0 <= 1 && times.1 <= times.0,
            };
            assert!(may_be, "{n} is {fate:?}, was begun and ended {times:?} times");
        }
        let count = |fate| self.0.values().filter(|one| **one == fate).count();
        note(&format!(
            "tasks: {} done, {} failed, {} cancelled",
            count(Fate::Done),
            count(Fate::Failed),
            count(Fate::Cancelled)
        ));
        assert!(
            count(Fate::Done) > count(Fate::Failed) && count(Fate::Failed) > 0 && count(Fate::Cancelled) > 0
        );
    }
}

/// How many tasks have ended until now.
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Kills workers and forkservers, as fast as tasks end beside that: in peace, workers come up. How many of each.
fn strike(pool: &Pool, is_over: &AtomicBool, dice: &mut Dice) -> [u32; 2] {
    let own = std::process::id();
    let (mut seen, mut kills) = (0, [0, 0]);
    while !is_over.load(Ordering::Relaxed) {
        let now = ENDED.load(Ordering::Relaxed);
        if now >= seen + 6 {
            seen = now;
            let is_server = dice.below(6) == 0;
            let victims = if is_server { forkservers(own) } else { pool.workers() };
            if !victims.is_empty() {
                kills[usize::from(is_server)] += 1;
                kill_child(victims[dice.below(victims.len() as u64) as usize]);
            }
        }
        std::thread::sleep(Duration::from_micros(dice.below(800)));
    }
    kills
}

fn start_pool(witness: &Witness) -> Pool {
    Pool::options().processes(WORKERS).initializer(remember, witness.clone()).start().unwrap()
}

/// Gives a pool all tasks, one half as a stream, the other one by one, of which some are cancelled.
fn do_all(executor: &Executor, fates: &mut Fates, tasks: usize) {
    for first in (0..tasks).step_by(BLOCK) {
        let block = first..(first + BLOCK).min(tasks);
        if (first / BLOCK).is_multiple_of(2) {
            let results = executor.pool().chunk_size(5).imap_unordered(work, block);
            results.for_each(|(index, outcome)| fates.note(first + index, outcome));
        } else {
            let mut all: Vec<_> = block.clone().map(|n| executor.submit(work, n)).collect();
            all.iter().skip(3).step_by(10).for_each(|one| _ = one.cancel());
            block.zip(&mut all).for_each(|(n, one)| fates.note(n, one.get()));
        }
    }
}

fn tasks_under_kills() {
    let before = {
        // What is kept: the thread that starts processes, a forkserver.
        let mut pool = Pool::new(1).unwrap();
        pool.close();
        pool.join().unwrap();
        drop(pool);
        Process::spawn(|| (), ()).unwrap().join().unwrap();
        descriptors()
    };
    let (seed, tasks) = (clock::wall_ns(), tasks());
    let terminated = tasks - BLOCK;
    let witness = witness(tasks);
    let with_witness = descriptors();
    let mut executor = Executor::from(start_pool(&witness));
    let (is_over, mut fates) = (AtomicBool::new(false), Fates::default());
    std::thread::scope(|scope| {
        let striking = scope.spawn(|| strike(executor.pool(), &is_over, &mut Dice::new(seed)));
        do_all(&executor, &mut fates, terminated);
        let mut last: Vec<_> = (terminated..tasks).map(|n| executor.submit(work, n)).collect();
        last[20].wait().unwrap();
        executor.terminate();
        is_over.store(true, Ordering::Relaxed);
        let [workers, servers] = striking.join().unwrap();
        note(&format!("tasks: {workers} workers and {servers} forkservers were killed"));
        (terminated..).zip(&mut last).for_each(|(n, one)| fates.note(n, one.get()));
    });
    executor.shutdown(true).unwrap();
    drop(executor);
    fates.check(&witness, terminated);
    assert_eq!(descriptors(), with_witness, "seed {seed}");
    drop(witness);
    assert_eq!(descriptors(), before, "seed {seed}");
    let own = std::process::id();
    // What a server leaves that was killed last, and its spares, the next start removes.
    forkservers(own).into_iter().for_each(kill_child);
    Process::spawn(|| (), ()).unwrap().join().unwrap();
    until("nobody is left but the forkserver and its spares", || started(own).is_empty());
    assert!(forkservers(own).len() <= 1);
}

#[test]
fn each_task_ends_once_by_spawn() {
    in_own_process(SECONDS, tasks_under_kills);
}

#[test]
fn each_task_ends_once_by_forkserver() {
    in_own_process(SECONDS, || {
        set_start_method(StartMethod::Forkserver);
        tasks_under_kills();
    });
}

/// The owner of a pool that is to be killed.
fn own_pool(witness: Witness, method: StartMethod, first: usize) {
    set_start_method(method);
    let pool = start_pool(&witness);
    let tasks = first..witness.0.len();
    pool.chunk_size(3).imap_unordered(work, tasks).for_each(drop);
}

/// How many have been begun; each at most once, and ended if at all.
fn begun(witness: &Witness) -> usize {
    // In this order: the tasks go on meanwhile.
    let [ended, begun] = [&witness.1, &witness.0].map(|one| one.read(0..one.len()).unwrap());
    assert!(
        begun.iter().zip(&ended).all(|(begun, ended)| *begun <= 1 && ended <= begun),
        "one was run twice"
    );
    begun.iter().sum::<u32>() as usize
}

fn owners_under_kills(method: StartMethod) {
    // Whom the owner leaves behind would be this process's.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let (mut dice, tasks) = (Dice::new(clock::wall_ns()), tasks());
    let witness = witness(tasks);
    let (mut first, mut kills) = (0, 0);
    Process::spawn(|| (), ()).unwrap().join().unwrap();
    let before = descriptors();
    while first < tasks {
        let so_far = begun(&witness);
        let owner = Process::spawn(own_pool, (witness.clone(), method, first)).unwrap();
        let some = dice.below(80) as usize;
        until("some tasks have been begun", || begun(&witness) >= so_far + some || !owner.is_alive());
        std::thread::sleep(Duration::from_micros(dice.below(2_000)));
        owner.kill().unwrap();
        kills += usize::from(owner.wait().unwrap().signal() == Some(libc::SIGKILL));
        drop(owner);
        until("nobody is left", || {
            while matches!(
                waitpid(None, Some(WaitPidFlag::WNOHANG)),
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            ) {}
            children(std::process::id()).is_empty()
        });
        // What was begun is at its end, one way or the other: nobody is there who could go on with it.
        first = (0..tasks).rev().find(|&n| witness.0.get(n).unwrap() > 0).map_or(0, |last| last + 1);
        assert_eq!(descriptors(), before);
    }
    note(&format!("tasks: {} begun under {kills} owners that were killed", begun(&witness)));
    assert!(kills > tasks / 400);
}

#[test]
fn nothing_is_left_of_an_owner_that_is_killed_by_spawn() {
    in_own_process(SECONDS, || owners_under_kills(StartMethod::Spawn));
}

#[test]
fn nothing_is_left_of_an_owner_that_is_killed_by_forkserver() {
    in_own_process(SECONDS, || owners_under_kills(StartMethod::Forkserver));
}

#[test]
fn nothing_is_left_of_an_owner_that_is_killed_by_fork() {
    in_own_process(SECONDS, || owners_under_kills(StartMethod::Fork));
}

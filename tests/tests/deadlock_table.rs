//! The table of what must not hang: each way to fail, at each moment of an item's life, in each kind of call,
//! has its error, and the pool can be used afterwards.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use procession::{Executor, Pool, Process, StartMethod, TaskError, set_start_method};
use procession_tests::{Watchdog, isolate, runs, until};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

procession::test_support!();

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum How {
    Error,
    Exit,
    Panic,
    Abort,
    Kill,
    /// Stopped first, and killed then.
    StopAndKill,
}

const WAYS: [How; 6] = [How::Error, How::Exit, How::Panic, How::Abort, How::Kill, How::StopAndKill];

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum When {
    EncodingTask,
    DecodingTask,
    Running,
    EncodingResult,
    DecodingResult,
}

const MOMENTS: [When; 5] =
    [When::EncodingTask, When::DecodingTask, When::Running, When::EncodingResult, When::DecodingResult];

/// Which call it happens to.
#[derive(Clone, Copy, Debug)]
enum Call {
    Apply,
    Map,
    Imap,
    Executor,
}

const CALLS: [Call; 4] = [Call::Apply, Call::Map, Call::Imap, Call::Executor];

/// Fails so; an error is for the caller to make.
fn fail(how: How) {
    match how {
        How::Error => {}
        How::Exit => std::process::exit(3),
        How::Panic => panic!("as the table says"),
        How::Abort => std::process::abort(),
        How::Kill => raise(Signal::SIGKILL).unwrap(),
        How::StopAndKill => {
            let me = Pid::this();
            // Somebody else kills it, once it is stopped.
            let script = format!(
                "while ! grep -q '^State:.T' /proc/{me}/status; do sleep 0.01; done; kill -KILL {me}"
            );
            let mut killer = Command::new("sh").args(["-c", &script]).spawn().unwrap();
            raise(Signal::SIGSTOP).unwrap();
            // It comes no further.
            killer.wait().unwrap();
        }
    }
}

/// What is given to the function, and what it returns: it fails when it is told to.
struct Fragile {
    plan: Option<(When, How)>,
    is_result: bool,
}

impl Fragile {
    fn fails(&self, when: When) -> Option<How> {
        self.plan.filter(|(at, _)| *at == when).map(|(_, how)| how)
    }
}

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let when = if self.is_result { When::EncodingResult } else { When::EncodingTask };
        if let Some(how) = self.fails(when) {
            fail(how);
            return Err(S::Error::custom("as the table says"));
        }
        (self.plan, self.is_result).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (plan, is_result) = Deserialize::deserialize(deserializer)?;
        let fragile = Self { plan, is_result };
        let when = if is_result { When::DecodingResult } else { When::DecodingTask };
        match fragile.fails(when) {
            Some(how) => {
                fail(how);
                Err(D::Error::custom("as the table says"))
            }
            None => Ok(fragile),
        }
    }
}

/// The function returns an error by having no result to return.
fn run(task: Fragile) -> Fragile {
    if let Some(how) = task.fails(When::Running) {
        assert_ne!(how, How::Error, "as the table says");
        fail(how);
    }
    Fragile { plan: task.plan, is_result: true }
}

fn task(plan: Option<(When, How)>) -> Fragile {
    Fragile { plan, is_result: false }
}

/// The outcome of the call's item that fails; the others are all right.
fn outcome(executor: &Executor, call: Call, plan: (When, How)) -> Result<Fragile, TaskError> {
    let pool = executor.pool();
    let items = || [None, Some(plan), None].map(task);
    match call {
        Call::Apply => pool.apply(run, task(Some(plan))),
        Call::Map => pool.map(run, items()).map(|mut results| results.swap_remove(1)),
        Call::Imap => {
            let mut results: Vec<_> = pool.imap(run, items()).collect();
            assert!(results.len() == 3 && results[0].is_ok() && results[2].is_ok());
            results.swap_remove(1)
        }
        Call::Executor => {
            let mut results = items().map(|item| executor.submit(run, item));
            assert!(results[0].get().is_ok() && results[2].get().is_ok());
            results[1].get()
        }
    }
}

/// Whether the error is the one that says what has happened.
fn is_right(error: &TaskError, (when, how): (When, How)) -> bool {
    match (error, when, how) {
        (TaskError::Encode { reason, .. }, When::EncodingTask, How::Error)
        | (TaskError::Undecodable { reason, .. }, When::DecodingTask, How::Error)
        | (TaskError::Unencodable { reason, .. }, When::EncodingResult, How::Error)
        | (TaskError::Decode { reason, .. }, When::DecodingResult, How::Error) => {
            reason.contains("as the table says")
        }
        (TaskError::Panicked { message, .. }, When::Running, How::Error)
        | (TaskError::Panicked { message, .. }, _, How::Panic) => message.contains("as the table says"),
        (TaskError::WorkerExited { code: 3, .. }, _, How::Exit)
        | (TaskError::WorkerDied { signal: libc::SIGABRT, .. }, _, How::Abort)
        | (TaskError::WorkerDied { signal: libc::SIGKILL, .. }, _, How::Kill | How::StopAndKill) => true,
        _ => false,
    }
}

/// Whether the calling process itself does what fails: then nobody is left to be told of anything but an error
/// and a panic.
fn is_the_callers(when: When) -> bool {
    matches!(when, When::EncodingTask | When::DecodingResult)
}

/// A namespace for the test program, and half a minute for the test.
fn watched() -> Watchdog {
    isolate();
    Watchdog::start()
}

fn play(call: Call) {
    let _dog = watched();
    let executor = Executor::from(Pool::new(2).unwrap());
    for when in MOMENTS {
        for how in WAYS {
            if is_the_callers(when) && !matches!(how, How::Error | How::Panic) {
                continue;
            }
            let told = catch_unwind(AssertUnwindSafe(|| outcome(&executor, call, (when, how))));
            match told {
                Ok(Err(error)) => {
                    assert!(is_right(&error, (when, how)), "{call:?} {when:?} {how:?}: {error}");
                    assert!(error.to_string().contains("item "), "{error}");
                }
                Ok(Ok(_)) => panic!("{call:?} {when:?} {how:?}: no error"),
                // The caller's own code has panicked, in the caller.
                Err(_) => assert!(is_the_callers(when) && how == How::Panic, "{call:?} {when:?} {how:?}"),
            }
            // And it can be used.
            assert!(outcome_of_good(&executor), "{call:?} {when:?} {how:?}: the pool is no good");
        }
    }
    until("all workers are there", || executor.pool().workers().len() == 2);
}

fn outcome_of_good(executor: &Executor) -> bool {
    executor.pool().map(run, [None, None, None].map(task)).is_ok_and(|results| results.len() == 3)
}

#[test]
fn apply_has_its_error() {
    play(Call::Apply);
}

#[test]
fn map_has_its_error() {
    play(Call::Map);
}

#[test]
fn imap_has_its_error() {
    play(Call::Imap);
}

#[test]
fn an_executor_has_its_error() {
    play(Call::Executor);
}

#[test]
fn each_has_its_error_by_a_forkserver() {
    let all = || {
        set_start_method(StartMethod::Forkserver);
        CALLS.into_iter().for_each(play);
    };
    let _dog = watched();
    Process::spawn(all, ()).unwrap().join().unwrap();
}

/// Between two items nothing is lost, and nothing is to be told.
#[test]
fn workers_that_end_between_items_cost_nothing() {
    let _dog = watched();
    let executor = Executor::from(Pool::new(2).unwrap());
    for signals in
        [&[Signal::SIGKILL][..], &[Signal::SIGSTOP, Signal::SIGKILL], &[Signal::SIGTERM], &[Signal::SIGABRT]]
    {
        for call in CALLS {
            assert!(outcome_of_good(&executor));
            let pids = executor.pool().workers();
            for &signal in signals {
                // The pool may see one end, and reap it, before the next is sent something.
                for pid in &pids {
                    let sent = kill(Pid::from_raw(pid.cast_signed()), signal);
                    assert!(matches!(sent, Ok(()) | Err(Errno::ESRCH)), "{sent:?}");
                }
            }
            // The first thread of a program of tests is not the one that works: until it has the CPU, and takes
            // a signal that dumps core, the worker does one item after the other.
            until("none of them runs", || !pids.iter().any(|&pid| runs(pid)));
            match call {
                Call::Apply => drop(executor.pool().apply(run, task(None)).unwrap()),
                Call::Map => assert!(outcome_of_good(&executor)),
                Call::Imap => assert!(executor.pool().imap(run, [task(None)]).all(|one| one.is_ok())),
                Call::Executor => drop(executor.submit(run, task(None)).get().unwrap()),
            }
            until("all workers are there", || executor.pool().workers().len() == 2);
        }
    }
}

fn set_up(how: How) -> Result<(), String> {
    match how {
        How::Error => Err("as the table says".to_owned()),
        // From outside, which is tried again: once more after each time, and never for ever.
        how => {
            fail(how);
            Ok(())
        }
    }
}

#[test]
fn an_initializer_that_fails_is_an_error_of_every_call() {
    let _dog = watched();
    for (how, text) in [
        (How::Error, "as the table says"),
        (How::Exit, "exited with code 3"),
        (How::Panic, "as the table says"),
        (How::Abort, "SIGABRT"),
        (How::Kill, "SIGKILL"),
        (How::StopAndKill, "SIGKILL"),
    ] {
        let executor = Executor::from(Pool::options().processes(1).initializer(set_up, how).start().unwrap());
        for call in CALLS {
            let pool = executor.pool();
            let told = match call {
                Call::Apply => pool.apply(run, task(None)).err(),
                Call::Map => pool.map(run, [task(None)]).err(),
                Call::Imap => pool.imap(run, [task(None)]).next().unwrap().err(),
                Call::Executor => executor.submit(run, task(None)).get().err(),
            };
            let is_told = matches!(&told, Some(TaskError::Broken { reason }) if reason.contains(text));
            assert!(is_told, "{how:?} {call:?}: {told:?}");
        }
    }
}

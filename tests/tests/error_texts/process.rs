//! What errors of processes and pools say: an error names the process or the item, and says what to do.

use procession::codec::{DecodeError, EncodeError};
use procession::shm::Kind;
use procession::{
    JoinTimeoutError, KernelError, Label, LogError, Namespace, OpenError, PoolError, Process, ProcessError,
    ProcessLabel, RemoteError, SpawnError, StartMethod, SupervisorError, TaskError, TaskItem, TeamError,
    WaitAnyError, WaitError,
};
use procession_tests::isolate;
use std::error::Error;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

/// The process of the tables ends before it has read them.
fn read_words(_: ()) {
    std::thread::sleep(Duration::from_secs(3600));
}

/// Stands in the tables as `R`, and its function as `F`.
fn child() -> &'static Process<()> {
    static CHILD: OnceLock<Process<()>> = OnceLock::new();
    CHILD.get_or_init(|| {
        isolate();
        Process::options().name("reader").daemon(true).spawn(read_words, ()).unwrap()
    })
}

fn process() -> ProcessLabel {
    child().label().clone()
}

fn function() -> &'static str {
    child().label().function()
}

fn item() -> TaskItem {
    TaskItem { index: 7, function: function() }
}

fn reason() -> String {
    "not UTF-8".to_owned()
}

fn place() -> Option<String> {
    Some("src/main.rs:3:5".to_owned())
}

fn told(error: &dyn Error) -> String {
    format!("{error:?}").replace(&process().to_string(), "R").replace(function(), "F")
}

#[test]
fn people_know_a_process_by_name_pid_and_function() {
    assert_eq!(function(), "error_texts::process::read_words");
    assert_eq!(process().to_string(), format!("process \"reader\" (pid {}, {})", child().pid(), function()));
}

#[test]
fn ends_of_processes() {
    says!(
        ProcessError::Panicked {
            process: process(),
            message: "no words".to_owned(),
            location: place(),
            backtrace: Some("   0: error_texts::process::read_words".to_owned()),
        },
        "R panicked at src/main.rs:3:5: no words\nstack of the process:\n   0: F"
    );
    says!(
        ProcessError::Exited { process: process(), code: 3 },
        "R exited with code 3 before the function returned"
    );
    says!(
        ProcessError::Killed { process: process(), signal: 9 },
        "R was killed by SIGKILL before the function returned"
    );
    let status = Process::<()>::spawn(|()| std::process::exit(3), ()).unwrap().wait().unwrap();
    says!(
        ProcessError::NeverStarted { process: process(), status },
        "R ended (exit code 3) before it reached procession::init(); is that the first line of main?"
    );
    let error = RemoteError::from(vec!["no number".to_owned(), "invalid digit".to_owned()]);
    says!(ProcessError::Failed { process: process(), error }, "R failed: no number: invalid digit");
    says!(ProcessError::Refused { process: process(), reason: reason() }, "R refused its task: not UTF-8");
    says!(
        ProcessError::Arguments { process: process(), reason: reason() },
        "R could not decode its arguments: not UTF-8"
    );
    says!(
        ProcessError::Encode { process: process(), reason: reason() },
        "R could not hand back its result: not UTF-8"
    );
    says!(
        ProcessError::Decode { process: process(), source: DecodeError::UnexpectedEnd },
        "the result of R could not be decoded: the bytes end in the middle of the value"
    );
    says!(
        ProcessError::ReportClosed { process: process() },
        "the result of R is lost: this program has closed the descriptor through which it was to come"
    );
    says!(
        ProcessError::StatusLost { process: process() },
        "R ended without a result, and its exit status was lost: SIGCHLD is ignored, or other code of this program waits for \
         any child"
    );
    says!(ProcessError::Interrupted { process: process() }, "the wait for R was interrupted; it runs on");
    says!(WaitError::TimedOut { process: process() }, "R still runs");
    says!(WaitError::Interrupted { process: process() }, "the wait for R was interrupted; it runs on");
    let other = || Process::options().name("other").daemon(true).spawn(read_words, ()).unwrap();
    let name = |other: &Process<()>| other.label().to_string();
    let running = other();
    let text = format!("{} still runs", name(&running));
    says!(JoinTimeoutError::TimedOut(running), text.replace(function(), "F"));
    let running = other();
    let text = format!("the wait for {} was interrupted; it runs on", name(&running));
    says!(JoinTimeoutError::Interrupted(running), text.replace(function(), "F"));
}

#[test]
fn start_methods() {
    says!(
        SpawnError::ForkWithThreads { threads: vec!["one".to_owned(), "two".to_owned()] },
        "this process has other threads (one, two), of which a copy may find things half-done: start the process by spawn or \
         forkserver, or by fork before there are threads"
    );
    says!(
        SpawnError::ForkWithHolds { holds: 2 },
        "this thread holds 2 locks, whose guards a copy of the process would have, too: drop them first, or start the process by \
         spawn or forkserver"
    );
    says!(
        SpawnError::Method { method: StartMethod::Fork, reason: "it is late" },
        "a process cannot be started by fork here: it is late"
    );
    says!(
        SpawnError::Forkserver { source: Box::new(ProcessError::Killed { process: process(), signal: 9 }) },
        "the forkserver could not start the process: R was killed by SIGKILL before the function returned"
    );
}

#[test]
fn starts_of_processes() {
    let function = function();
    says!(
        SpawnError::NotInitialised,
        "procession is not initialised: make `procession::init();` the first line of main, or in a test put \
         `procession::test_support!();` once into the test file"
    );
    says!(
        SpawnError::Bootstrapping,
        "this process is itself still starting: it decodes its arguments, or runs a preload function, and can start others only \
         from its function"
    );
    says!(
        SpawnError::Exiting,
        "this process is exiting, and would not wait for a process that is started now"
    );
    says!(
        SpawnError::TooDeep { depth: 64 },
        "this process has 64 ancestors that started one another, and starts no further one: does the function start itself?"
    );
    says!(
        SpawnError::Secure,
        "this program has more rights than its caller (set-user-id, or file capabilities) and starts no processes this way: \
         take those rights from the file"
    );
    says!(
        SpawnError::RunByLoader,
        "the program was started through the dynamic loader, so it cannot be started again; run it directly"
    );
    says!(
        SpawnError::NotInExecutable { function },
        "F is not in the main executable but in a shared library, where a child may not find it: hand over a function of the \
         program that calls it"
    );
    says!(
        SpawnError::Encode { function, source: EncodeError::Unsupported("it is a socket".to_owned()) },
        "the arguments of F could not be encoded: the value cannot be encoded: it is a socket"
    );
    says!(
        SpawnError::TooLong { function, reason: "9 bytes".to_owned() },
        "the arguments of F cannot be handed over: 9 bytes"
    );
    says!(
        SpawnError::Directory {
            directory: "/there/is/none".into(),
            source: io::Error::from_raw_os_error(libc::ENOENT)
        },
        "no process can begin in /there/is/none: name a directory that is there and may be entered: No such file or directory (os error 2)"
    );
    says!(
        SpawnError::InvalidString("a=b".to_owned()),
        "\"a=b\" cannot be handed to a process: it contains a zero byte, or is no name of an environment variable"
    );
    says!(
        KernelError { .. },
        child().signal(12345),
        "sending a signal failed for R: Invalid argument (os error 22)"
    );
    let kernel = child().signal(12345).unwrap_err();
    assert_eq!(
        told(&ProcessError::from(kernel)),
        "sending a signal failed for R: Invalid argument (os error 22)"
    );
}

#[test]
fn items_of_pools() {
    let (item, function) = (item(), function());
    says!(
        TaskError::WorkerDied { item, worker: process(), signal: 11 },
        "item 7 of F: its worker, R, was killed by SIGSEGV"
    );
    says!(
        TaskError::WorkerExited { item, worker: process(), code: 3 },
        "item 7 of F: its worker, R, exited with code 3"
    );
    says!(
        TaskError::WorkerLost { item, worker: process() },
        "item 7 of F: its worker, R, ended, and its exit status was lost: SIGCHLD is ignored, or other code of this program \
         waits for any child"
    );
    let (worker, message, location) = (process(), "no words".to_owned(), place());
    says!(
        TaskError::Panicked { item, worker, message, location, backtrace: None },
        "item 7 of F panicked in R at src/main.rs:3:5: no words"
    );
    says!(
        TaskError::TooSlow { item, worker: process(), timeout: Duration::from_millis(1500) },
        "item 7 of F took longer than 1.5s: its worker, R, was killed"
    );
    says!(
        TaskError::NeverBegun { function, reason: "the last of 4".to_owned() },
        "worker after worker ended before it began an item of F: the last of 4"
    );
    says!(TaskError::Encode { item, reason: reason() }, "item 7 of F cannot be encoded: not UTF-8");
    says!(
        TaskError::EncodeState { function, reason: reason() },
        "the state for F cannot be encoded: not UTF-8"
    );
    says!(
        TaskError::Undecodable { item, worker: process(), reason: reason() },
        "item 7 of F: R cannot decode the item: not UTF-8"
    );
    says!(
        TaskError::Unencodable { item, worker: process(), reason: reason() },
        "item 7 of F: R cannot encode the result: not UTF-8"
    );
    says!(
        TaskError::Refused { item, worker: process(), reason: reason() },
        "item 7 of F was refused by R: not UTF-8"
    );
    says!(
        TaskError::Decode { item, worker: process(), reason: reason() },
        "item 7 of F: the result of R cannot be decoded: not UTF-8"
    );
    says!(TaskError::WouldBlock { item }, "item 7 of F has no result yet");
    says!(TaskError::TimedOut { item }, "item 7 of F had no result until the timeout");
    says!(TaskError::Interrupted { function }, "the wait for results of F was interrupted");
    says!(TaskError::NotRunnable { reason: reason() }, "no worker can run the function: not UTF-8");
    says!(TaskError::Cancelled, "the item was not done: the pool was terminated, or the item was cancelled");
    says!(TaskError::Closed, "the pool is closed, and takes no more work: make another one");
    says!(
        TaskError::Broken { reason: reason() },
        "the pool is broken, and no worker of it can be started any more: not UTF-8"
    );
    says!(
        TaskError::Forked,
        "this process was forked from the one that made the pool, and the workers belong to that one: make the pool after \
         the fork"
    );
    says!(
        TaskError::UserChanged { was: 0, now: 1000 },
        "this process was user 0 when it made the pool and is user 1000 now, and the workers are still user 0's: make the \
         pool after the change"
    );
}

#[test]
fn pools() {
    says!(
        PoolError::NoTasks,
        "a worker needs to be given at least one item: max_tasks_per_child(0) or chunk_size(0) was asked for"
    );
    says!(
        PoolError::Initializer { function: function(), reason: reason() },
        "no worker can run the initializer F: not UTF-8"
    );
    says!(PoolError::Closed, "the pool is closed: make another one");
    says!(
        PoolError::Broken { reason: reason() },
        "the pool is broken, and no worker of it can be started any more: not UTF-8"
    );
    says!(PoolError::NoWorkers, "a pool needs at least one worker: processes(0) was asked for");
    says!(
        PoolError::Spawn(SpawnError::Exiting),
        "a worker of the pool could not be started: this process is exiting, and would not wait for a process that is started \
         now"
    );
    let object = Label::new(Kind::POOL_WORKER, "link", &Namespace::new("default").unwrap());
    says!(
        PoolError::Memory(OpenError::NoSpace { object, bytes: 4096 }),
        "the memory shared with a worker of the pool could not be made: /dev/shm has no space for 4096 bytes of pool \
         worker \"link\": remove something (`procession gc`, `df /dev/shm`), or mount it with a larger size"
    );
    says!(
        PoolError::Kernel(io::Error::from(io::ErrorKind::OutOfMemory)),
        "the pool could not be set up: out of memory"
    );
    says!(PoolError::StillOpen, "the pool is still open: call close() or terminate() before join()");
    says!(
        PoolError::Interrupted,
        "the wait for the workers of the pool to leave was interrupted: they leave all the same"
    );
    says!(
        PoolError::NotEnded { pids: vec![1, 2] },
        "workers [1, 2] could not be ended: they are another user's now, or hang inside the kernel"
    );
    says!(
        PoolError::Forked,
        "this process was forked from the one that made the pool, and the workers belong to that one: make the pool after \
         the fork"
    );
}

#[test]
fn supervisors() {
    let (within, reason) = (Duration::from_secs(10), "Process-1: killed by SIGABRT".to_owned());
    says!(
        SupervisorError::GaveUp { rank: 1, most: 5, within, reason },
        "worker 1 was to be started again more than 5 times within 10.0 s, and so all workers were stopped; the last time: \
         Process-1: killed by SIGABRT"
    );
    says!(
        SupervisorError::NotStarted { rank: 0, reason: "it may not".to_owned() },
        "worker 0 could not be started, and so all workers were stopped: it may not"
    );
    says!(
        SupervisorError::Os(io::Error::other("no descriptor")),
        "this process cannot supervise workers now: no descriptor"
    );
}

#[test]
fn teams() {
    let killed = ProcessError::Killed { process: process(), signal: 9 };
    let failed = ProcessError::Failed {
        process: process(),
        error: vec!["no bread".to_owned(), "closed".to_owned()].into(),
    };
    says!(
        TeamError::Failed { failures: vec![killed, failed], ended: vec![process()] },
        "R was killed by SIGKILL before the function returned; R failed: no bread: closed; ended because of that: R"
    );
    says!(
        TeamError::Wait(WaitAnyError::Interrupted),
        "this process cannot wait for its team now: the wait for one of several objects was interrupted"
    );
}

#[test]
fn logs() {
    says!(
        LogError::Level { level: "loud".to_owned() },
        "\"loud\" is no level of events: say error, warn, info, debug or trace"
    );
    says!(LogError::AlreadySet, "this process has a subscriber for events already");
}

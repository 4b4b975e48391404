//! What errors of processes and pools say.

use procession::{PoolError, Process, ProcessError, SpawnError, TaskError, TaskItem, WaitError};
use std::error::Error;

/// It is killed before it has read them.
fn read_words(_: ()) {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

/// The whole table, so that whoever changes a text sees what its neighbours say: an error names the process
/// or the item, and says what to do. `PID` stands for the number.
#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn errors_of_processes_and_pools_read_so() {
    let child = Process::options().name("reader").spawn(read_words, ()).unwrap();
    let process = || child.label().clone();
    let function = process().function();
    let item = TaskItem { index: 7, function };
    let place = || Some("src/main.rs:3:5".to_owned());
    let reason = || "not UTF-8".to_owned();
    let exited = Process::<()>::spawn(|()| std::process::exit(3), ()).unwrap().wait().unwrap();
    let kernel = || child.signal(12345).unwrap_err();
    let table: Vec<(Box<dyn Error>, &str)> = vec![
        (
            Box::new(ProcessError::Panicked {
                process: process(),
                message: "no words".to_owned(),
                location: place(),
                backtrace: Some("   0: error_texts::process::read_words".to_owned()),
            }),
            "R panicked at src/main.rs:3:5: no words\nstack of the process:\n   0: F",
        ),
        (
            Box::new(ProcessError::Exited { process: process(), code: 3 }),
            "R exited with code 3 before the function returned",
        ),
        (
            Box::new(ProcessError::Killed { process: process(), signal: 9 }),
            "R was killed by SIGKILL before the function returned",
        ),
        (
            Box::new(ProcessError::NeverStarted { process: process(), status: exited }),
            "R ended (exit code 3) before it reached procession::init(); is that the first line of main?",
        ),
        (
            Box::new(ProcessError::Refused { process: process(), reason: reason() }),
            "R refused its task: not UTF-8",
        ),
        (
            Box::new(ProcessError::Arguments { process: process(), reason: reason() }),
            "R could not decode its arguments: not UTF-8",
        ),
        (
            Box::new(ProcessError::Encode { process: process(), reason: reason() }),
            "R could not hand back its result: not UTF-8",
        ),
        (
            Box::new(ProcessError::ReportClosed { process: process() }),
            "the result of R is lost: this program has closed the descriptor through which it was to come",
        ),
        (
            Box::new(ProcessError::StatusLost { process: process() }),
            "R ended without a result, and its exit status was lost: SIGCHLD is ignored, or other code of this \
             program waits for any child",
        ),
        (
            Box::new(ProcessError::from(kernel())),
            "sending a signal failed for R: Invalid argument (os error 22)",
        ),
        (Box::new(WaitError::TimedOut { process: process() }), "R still runs"),
        (
            Box::new(SpawnError::NotInitialised),
            "procession is not initialised: make `procession::init();` the first line of main, or in a test put \
             `procession::test_support!();` once into the test file",
        ),
        (
            Box::new(SpawnError::NotInExecutable { function }),
            "F is not in the main executable but in a shared library",
        ),
        (
            Box::new(SpawnError::TooLong { function, reason: "9 bytes".to_owned() }),
            "the arguments of F cannot be handed over: 9 bytes",
        ),
        (
            Box::new(TaskError::WorkerDied { item, worker: process(), signal: 11 }),
            "item 7 of F: its worker, R, was killed by SIGSEGV",
        ),
        (
            Box::new(TaskError::WorkerExited { item, worker: process(), code: 3 }),
            "item 7 of F: its worker, R, exited with code 3",
        ),
        (
            Box::new(TaskError::Panicked {
                item,
                message: "no words".to_owned(),
                location: place(),
                backtrace: None,
            }),
            "item 7 of F panicked at src/main.rs:3:5: no words",
        ),
        (
            Box::new(TaskError::NeverBegun { function, reason: "the last of 4".to_owned() }),
            "worker after worker ended before it began an item of F: the last of 4",
        ),
        (Box::new(TaskError::Encode { item, reason: reason() }), "item 7 of F cannot be encoded: not UTF-8"),
        (
            Box::new(TaskError::EncodeState { function, reason: reason() }),
            "the state for F cannot be encoded: not UTF-8",
        ),
        (Box::new(TaskError::Refused { item, reason: reason() }), "item 7 of F: not UTF-8"),
        (
            Box::new(TaskError::Decode { item, reason: reason() }),
            "item 7 of F: the result cannot be decoded: not UTF-8",
        ),
        (Box::new(TaskError::Cancelled), "the pool was terminated before the item was done"),
        (Box::new(TaskError::Closed), "the pool is closed: it takes no more work"),
        (Box::new(TaskError::Broken { reason: reason() }), "the pool is broken: not UTF-8"),
        (Box::new(TaskError::WouldBlock { item }), "item 7 of F has no result yet"),
        (Box::new(TaskError::TimedOut { item }), "item 7 of F had no result until the timeout"),
        (Box::new(PoolError::NoWorkers), "a pool needs at least one worker: processes(0) was asked for"),
        (
            Box::new(PoolError::from(SpawnError::Exiting)),
            "a worker of the pool could not be started: this process is exiting",
        ),
        (Box::new(PoolError::StillOpen), "the pool is still open: call close() or terminate() before join()"),
        (
            Box::new(PoolError::NotEnded { pids: vec![1, 2] }),
            "workers [1, 2] could not be ended: they are another user's now, or hang inside the kernel",
        ),
    ];
    assert_eq!(function, "error_texts::process::read_words");
    let label = format!("process \"reader\" (pid {}, {function})", child.pid());
    for (error, text) in table {
        let said = format!("{error:?}").replace(&label, "R").replace(function, "F");
        assert_eq!(said, text);
    }
    child.kill().unwrap();
    drop(child.join());
}

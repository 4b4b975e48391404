//! A function in another process: its result, its end, and who ends with whom.
#![expect(unsafe_code, reason = "signal actions and resource limits are set by C functions")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what tests share is part of the tests")]

/// Runs tests of a module, which run by `spawn`, under the other start methods too: in a process of their own,
/// where that method is the one by which processes are started.
macro_rules! under_other_methods {
    ($($test:ident)*; only by forkserver: $($server:ident)*) => {
        $(mod $test {
            #[test]
            fn by_forkserver() {
                under!(procession::StartMethod::Forkserver, super::$test);
            }

            #[test]
            fn by_fork() {
                under!(procession::StartMethod::Fork, super::$test);
            }
        })*
        $(mod $server {
            #[test]
            fn by_forkserver() {
                under!(procession::StartMethod::Forkserver, super::$server);
            }
        })*
    };
}

/// Calls the test in a process of its own, which starts others by `method`.
macro_rules! under {
    ($method:expr, $test:path) => {
        let test = |method| {
            procession::set_start_method(method);
            $test();
        };
        crate::end(procession::Process::spawn(test, $method).unwrap()).unwrap();
    };
}

mod crossing;
mod ends;
mod lineage;
mod methods;
mod names;
mod results;
mod settings;
mod spares;
mod surroundings;

use procession::{ExitStatus, JoinTimeoutError, Process, ProcessError};
use procession_tests::until;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

procession::test_support!();

const WATCHDOG: Duration = Duration::from_secs(120);

/// Joins, but not for ever.
fn end<R: DeserializeOwned + 'static>(process: Process<R>) -> Result<R, ProcessError> {
    match process.join_timeout(WATCHDOG) {
        Ok(result) => Ok(result),
        Err(JoinTimeoutError::Ended(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn status<R>(process: &Process<R>) -> ExitStatus {
    process.wait_timeout(WATCHDOG).expect("ends in time")
}

/// Leaves a complete file.
fn say(file: &Path, what: impl ToString) {
    let partial = file.with_extension("partial");
    fs::write(&partial, what.to_string()).unwrap();
    fs::rename(&partial, file).unwrap();
}

fn hear(file: &Path) -> String {
    until("a file is there", || file.exists());
    fs::read_to_string(file).unwrap()
}

fn for_ever<T>(_: T) {
    loop {
        thread::park();
    }
}

/// What careless daemons do.
fn close_files() {
    for fd in 3..64 {
        // SAFETY: the callers use no descriptor that they did not open afterwards.
        unsafe { libc::close(fd) };
    }
}

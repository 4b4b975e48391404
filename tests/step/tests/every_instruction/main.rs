//! A process is killed at every instruction of an operation, and the survivors must finish and find all as
//! promised.
//!
//! A scene is one operation of one object, alone or with another process asleep on it. It is played again and
//! again with new objects. Its victim is single-stepped by `ptrace` and killed by SIGKILL before the first
//! instruction of the operation, then after one, after two, and so on to its end, and inside each system call
//! that blocks. (`ptrace` stops behind a system call, so before and after it are steps like others.)
//!
//! Of interest is what the release build executes: in others there are no tests here.
//!
//! ```sh
//! cargo test --release -p procession-step -- lock/     # what the names contain; a choice of the instructions
//! PROCESSION_EVERY_INSTRUCTION=1 cargo test --release -p procession-step    # all of them
//! ```
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

#[cfg(target_arch = "x86_64")]
mod run;
#[cfg(target_arch = "x86_64")]
mod scenes;
#[cfg(target_arch = "x86_64")]
mod stage;
#[cfg(target_arch = "x86_64")]
mod watchdog;

use libtest_mimic::{Arguments, Trial};
use std::io::Write;

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // On the main thread: a process with more than one cannot be forked.
    arguments.test_threads = Some(1);
    let namespace = procession_shm::Namespace::private();
    assert!(namespace.enter());
    libtest_mimic::run(&arguments, trials()).exit_code()
}

#[cfg(target_arch = "x86_64")]
fn trials() -> Vec<Trial> {
    if cfg!(debug_assertions) {
        return none();
    }
    scenes::all().map(|scene| Trial::test(scene.name, move || Ok(run::run(scene)?))).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn trials() -> Vec<Trial> {
    none()
}

/// No tests, and says so.
fn none() -> Vec<Trial> {
    // A test without stderr has nobody to tell.
    drop(writeln!(
        std::io::stderr(),
        "note: instructions are stepped on x86-64 and in the release build only"
    ));
    Vec::new()
}

//! What cannot cross, and the starts that fail: each is an error of its own, and leaves nothing behind.

use crate::{close_files, end, for_ever, hear, say, status, until};
use procession::{Bytes, Process, ProcessError, SendError, WaitError, active_children, pipe};
use procession_tests::started;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

under_other_methods! {
    arguments_and_results_that_do_not_cross_are_errors_of_their_own
    no_process_is_started_by_one_that_is_still_starting
    endless_nesting_ends
    without_files_to_open_spawning_is_an_error_and_leaves_no_child
    without_files_to_open_a_pipe_goes_on
    without_init_the_error_says_which_line_is_missing
    a_child_that_never_reaches_init_is_told_from_one_that_exits
    a_function_that_closes_all_files_costs_its_result_and_harms_no_other_file
    a_variable_that_somebody_else_set_is_refused
    a_program_run_by_the_loader_says_so
    handles_in_arguments_are_kept_until_the_child_has_its_own;
    only by forkserver:
}

#[derive(Debug)]
struct Unreadable;

impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        7_u8.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no such thing"))
    }
}

#[derive(Debug)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not even once"))
    }
}

impl<'de> Deserialize<'de> for Unwritable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn arguments_and_results_that_do_not_cross_are_errors_of_their_own() {
    let child = Process::spawn(|_: Unreadable| (), Unreadable).unwrap();
    assert!(
        matches!(end(child), Err(ProcessError::Arguments { reason, .. }) if reason.contains("no such thing"))
    );
    let child = Process::spawn(|()| Unwritable, ()).unwrap();
    assert!(
        matches!(end(child), Err(ProcessError::Encode { reason, .. }) if reason.contains("not even once"))
    );
    let child = Process::spawn(|()| Unreadable, ()).unwrap();
    assert!(matches!(end(child), Err(ProcessError::Decode { .. })));
    assert!(Process::spawn(|_: Unwritable| (), Unwritable).is_err());
    assert!(Process::options().env("A=B", "").spawn(|()| (), ()).is_err());
    assert!(Process::options().env("A", "nul \0").spawn(|()| (), ()).is_err());
}

/// Tries to start a process while it is being decoded.
struct Bomb(String);

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        let attempt = Process::spawn(|_: Bomb| (), Bomb(String::new()));
        Ok(Self(attempt.map(|_| String::new()).unwrap_or_else(|error| error.to_string())))
    }
}

#[test]
fn no_process_is_started_by_one_that_is_still_starting() {
    let child = Process::spawn(|bomb: Bomb| bomb.0, Bomb(String::new())).unwrap();
    assert!(end(child).unwrap().contains("still starting"));
}

fn dive(depth: u32) -> String {
    match Process::spawn(dive, depth + 1) {
        Ok(child) => child.join().unwrap(),
        Err(error) => format!("{depth}: {error}"),
    }
}

#[test]
fn endless_nesting_ends() {
    let said = end(Process::spawn(dive, 1).unwrap()).unwrap();
    let words = ": this process has 64 ancestors that started one another, and starts no further one: does the function start itself?";
    assert!(said.ends_with(words) && said.len() == words.len() + 2, "{said}");
}

#[test]
fn without_files_to_open_spawning_is_an_error_and_leaves_no_child() {
    fn in_a_process_of_its_own((): ()) -> (Option<i32>, usize, Vec<u32>) {
        let few = libc::rlimit { rlim_cur: 30, rlim_max: 30 };
        // SAFETY: the limit is a valid structure for the whole call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) }, 0);
        let mut children = Vec::new();
        let error = loop {
            match Process::spawn(for_ever::<()>, ()) {
                Ok(child) => children.push(child),
                Err(procession::SpawnError::Kernel(error)) => break error,
                Err(other) => panic!("{other}"),
            }
        };
        for child in &children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let count = children.len();
        drop(children);
        drop(active_children());
        let own = std::process::id();
        // The forkserver, if there is one, goes on.
        (error.raw_os_error(), count, started(own))
    }
    let (errno, count, left) = end(Process::spawn(in_a_process_of_its_own, ()).unwrap()).unwrap();
    assert_eq!(errno, Some(libc::EMFILE));
    assert!(count >= 3, "{count}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn without_files_to_open_a_pipe_goes_on() {
    fn in_a_process_of_its_own((): ()) -> bool {
        let few = libc::rlimit { rlim_cur: 60, rlim_max: 60 };
        // SAFETY: the limit is a valid structure for the whole call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) }, 0);
        let (sender, receiver) = pipe::<Bytes>().unwrap();
        let mut files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        sender.try_send_bytes(&[1; 200_000]).unwrap();
        assert_eq!(receiver.recv_bytes().unwrap(), [1; 200_000]);
        // From Linux 5.14 on the memory of the larger ring is had without opening its file.
        match sender.try_send_bytes(&[2; 300_000]) {
            Ok(()) => assert_eq!(receiver.recv_bytes().unwrap(), [2; 300_000]),
            Err(error) => assert!(matches!(error, SendError::WouldBlock), "{error}"),
        }
        files.clear();
        sender.try_send_bytes(&[3; 300_000]).unwrap();
        receiver.recv_bytes().unwrap() == [3; 300_000]
    }
    assert!(end(Process::spawn(in_a_process_of_its_own, ()).unwrap()).unwrap());
}

#[test]
fn without_init_the_error_says_which_line_is_missing() {
    let output = Command::new(env!("CARGO_BIN_EXE_no_init")).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("procession::init();") && message.contains("procession::test_support!();"));
}

#[test]
fn a_child_that_never_reaches_init_is_told_from_one_that_exits() {
    let output = Command::new(env!("CARGO_BIN_EXE_no_init")).arg("astray").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("exit code 5") && message.contains("is that the first line of main?"),
        "{message}"
    );
}

#[test]
fn a_function_that_closes_all_files_costs_its_result_and_harms_no_other_file() {
    fn close_all(file: PathBuf) {
        close_files();
        let reopened: Vec<_> = (0..16).map(|_| fs::File::open(&file).unwrap()).collect();
        let writable: Vec<_> =
            (0..16).map(|_| fs::OpenOptions::new().write(true).open(&file).unwrap()).collect();
        std::mem::forget((reopened, writable));
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("precious");
    say(&file, "precious content");
    let child = Process::spawn(close_all, file.clone()).unwrap();
    let error = end(child).unwrap_err();
    assert!(matches!(error, ProcessError::Exited { code: 1, .. }), "{error}");
    assert_eq!(hear(&file), "precious content");
}

#[test]
fn a_variable_that_somebody_else_set_is_refused() {
    let place = tempfile::tempdir().unwrap();
    for value in ["3,4,5", "", "x"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_leaves_children"));
        let output = program.arg(place.path()).env("PROCESSION_CHILD", value).output().unwrap();
        assert_eq!(output.status.code(), Some(101));
        assert!(String::from_utf8(output.stderr).unwrap().contains("unset it"));
    }
}

#[test]
fn a_program_run_by_the_loader_says_so() {
    let place = tempfile::tempdir().unwrap();
    let mut loader = Command::new("/lib64/ld-linux-x86-64.so.2");
    let output = loader.arg(env!("CARGO_BIN_EXE_leaves_children")).arg(place.path()).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("through the dynamic loader"));
}

/// A stand-in for a handle: it is decoded only when a file is there.
struct Handle(Arc<()>, PathBuf);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        procession_shm::carry(self.0.clone());
        self.1.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = PathBuf::deserialize(deserializer)?;
        hear(&file);
        Ok(Self(Arc::new(()), file))
    }
}

#[test]
fn handles_in_arguments_are_kept_until_the_child_has_its_own() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("decode");
    let handle = Arc::new(());
    let child = Process::spawn(for_ever::<Handle>, Handle(handle.clone(), file.clone())).unwrap();
    assert!(matches!(child.wait_timeout(Duration::from_millis(50)), Err(WaitError::TimedOut { .. })));
    assert_eq!(Arc::strong_count(&handle), 2);
    say(&file, "");
    until("the child has decoded it", || child.is_alive() && Arc::strong_count(&handle) == 1);
    child.kill().unwrap();
    status(&child);
    let stuck = place.path().join("never");
    let child = Process::spawn(for_ever::<Handle>, Handle(handle.clone(), stuck)).unwrap();
    child.kill().unwrap();
    status(&child);
    assert_eq!(Arc::strong_count(&handle), 1);
}

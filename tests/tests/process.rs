//! A function in another process: its result, its end, and who ends with whom.
#![expect(unsafe_code, reason = "signal actions and resource limits are set by C functions")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what tests share is part of the tests")]

use procession::{
    Bytes, ExitStatus, JoinTimeoutError, Process, ProcessError, SendError, WaitError, active_children,
    current_process, parent_process, pipe, take_inherited,
};
use procession_tests::runs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

procession::test_support!();

const WATCHDOG: Duration = Duration::from_secs(120);

/// Asks again and again until `condition` holds.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

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

// Results

#[test]
fn the_result_comes_back() {
    assert_eq!(end(Process::spawn(|n: u64| n * n, 12).unwrap()).unwrap(), 144);
}

#[test]
fn it_is_another_process() {
    let child = Process::spawn(|()| std::process::id(), ()).unwrap();
    let pid = child.pid();
    assert_eq!(end(child).unwrap(), pid);
    assert_ne!(pid, std::process::id());
}

fn join_words(words: (String, Option<Vec<String>>, char)) -> Result<String, usize> {
    let (first, rest, separator) = words;
    rest.map(|rest| format!("{first}{separator}{}", rest.join(&separator.to_string()))).ok_or(first.len())
}

#[test]
fn several_arguments_are_a_tuple() {
    let rest = Some(vec!["b".to_owned(), "c".to_owned()]);
    let child = Process::spawn(join_words, ("a".to_owned(), rest, '-')).unwrap();
    assert_eq!(end(child).unwrap(), Ok("a-b-c".to_owned()));
    let child = Process::spawn(join_words, ("four".to_owned(), None, '-')).unwrap();
    assert_eq!(end(child).unwrap(), Err(4));
}

fn generic<T: Default + PartialEq>(value: T) -> bool {
    value == T::default()
}

#[test]
fn generic_functions_and_closures_of_one_scope_are_told_apart() {
    assert!(end(Process::spawn(generic::<u8>, 0).unwrap()).unwrap());
    assert!(!end(Process::spawn(generic::<String>, "x".to_owned()).unwrap()).unwrap());
    let more = Process::spawn(|n: u32| n + 1, 10).unwrap();
    let less = Process::spawn(|n: u32| n - 1, 10).unwrap();
    assert_eq!((end(more).unwrap(), end(less).unwrap()), (11, 9));
}

#[test]
fn big_arguments_and_results_cross_and_the_child_waits_for_nobody() {
    const BIG: usize = 50_000_000;
    let text = "x".repeat(BIG);
    let child = Process::spawn(|text: String| text + "y", text).unwrap();
    // Nobody has joined: a child that wrote into a pipe would still be stuck.
    assert!(status(&child).success());
    let back = end(child).unwrap();
    assert_eq!(back.len(), BIG + 1);
    assert!(back.ends_with("xy"));
}

#[test]
fn many_start_and_all_end() {
    let children: Vec<_> = (0..40_u64).map(|n| Process::spawn(|n: u64| n * n, n).unwrap()).collect();
    let sum: u64 = children.into_iter().map(|child| end(child).unwrap()).sum();
    assert_eq!(sum, (0..40).map(|n| n * n).sum::<u64>());
}

// Ends

#[test]
fn a_panic_crosses_with_message_and_place_and_with_the_stack_if_that_is_wanted() {
    let panics = |backtrace| {
        let options = Process::options().name("panics").env("RUST_BACKTRACE", backtrace);
        let child = options.spawn(|n: u32| assert!(n > 40, "only {n}"), 7).unwrap();
        assert_eq!(status(&child).code(), Some(1));
        end(child).unwrap_err()
    };
    let error = panics("0");
    let ProcessError::Panicked { process, message, location: Some(location), backtrace: None } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((process.name(), message.as_str()), ("panics", "only 7"));
    assert!(location.contains("process.rs:"), "{location}");
    let text = format!(
        "process \"panics\" (pid {}, {}) panicked at {location}: only 7",
        process.pid(),
        process.function()
    );
    assert_eq!((error.to_string(), format!("{error:?}")), (text.clone(), text));
    assert!(process.function().contains("a_panic_crosses_with_message_and_place"), "{process}");

    let error = panics("1");
    let text = format!("{error:?}");
    let ProcessError::Panicked { backtrace: Some(backtrace), .. } = &error else { panic!("{text}") };
    assert!(text.ends_with(backtrace) && text.starts_with(&error.to_string()), "{text}");
    assert!(backtrace.contains("a_panic_crosses_with_message_and_place"), "{backtrace}");
    // Neither how a panic works nor how a function comes into a process is the user's business.
    let frames = backtrace.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(frames.count(), 1, "{backtrace}");
    let full = format!("{:?}", panics("full"));
    assert!(full.contains("procession_process::child::") && full.len() > text.len(), "{full}");
}

#[test]
fn a_panic_that_was_caught_is_none_and_a_strange_one_has_no_place() {
    let caught = Process::spawn(|()| std::panic::catch_unwind(|| panic!("caught")).is_err(), ()).unwrap();
    assert!(end(caught).unwrap());
    let strange = |()| {
        drop(std::panic::catch_unwind(|| panic!("another")));
        std::panic::resume_unwind(Box::new(7_u8))
    };
    let child: Process<()> = Process::options().env("RUST_BACKTRACE", "1").spawn(strange, ()).unwrap();
    assert!(matches!(end(child), Err(ProcessError::Panicked { location: None, backtrace: None, .. })));
}

#[test]
fn exit_before_the_end_is_an_error_even_with_code_zero() {
    for code in [7, 0] {
        let child: Process<u32> = Process::spawn(|code| std::process::exit(code), code).unwrap();
        assert_eq!((status(&child).code(), status(&child).as_python()), (Some(code), code));
        assert!(matches!(end(child), Err(ProcessError::Exited { code: seen, .. }) if seen == code));
    }
}

#[test]
fn a_killed_child_is_an_error_at_once() {
    let child = Process::spawn(for_ever::<()>, ()).unwrap();
    assert!(child.is_alive());
    assert_eq!(child.exit_status(), None);
    child.kill().unwrap();
    let status = status(&child);
    assert_eq!((status.signal(), status.as_python(), status.success()), (Some(9), -9, false));
    assert_eq!(child.exit_status(), Some(status));
    assert!(!child.is_alive());
    // It is gone: nothing to do, and no error.
    child.kill().unwrap();
    child.terminate().unwrap();
    assert!(matches!(end(child), Err(ProcessError::Killed { signal: 9, .. })));
}

#[test]
fn waiting_ends_with_the_time_and_terminate_ends_the_process() {
    let child = Process::spawn(for_ever::<()>, ()).unwrap();
    assert!(matches!(child.wait_timeout(Duration::ZERO), Err(WaitError::TimedOut { .. })));
    assert!(matches!(child.wait_timeout(Duration::from_millis(20)), Err(WaitError::TimedOut { .. })));
    assert_eq!(child.try_wait().unwrap(), None);
    let child = match child.join_timeout(Duration::from_millis(20)) {
        Err(JoinTimeoutError::TimedOut(child)) => child,
        other => panic!("{other:?}"),
    };
    assert!(child.signal(12345).is_err());
    child.terminate().unwrap();
    assert!(matches!(end(child), Err(ProcessError::Killed { signal: 15, .. })));
}

#[test]
fn many_threads_wait_and_all_learn_the_status() {
    let child = Process::spawn(for_ever::<()>, ()).unwrap();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| status(&child).signal())).collect();
        child.kill().unwrap();
        for waiter in waiting {
            assert_eq!(waiter.join().unwrap(), Some(9));
        }
    });
}

#[test]
fn an_ignored_sigchld_loses_the_status_but_not_the_result() {
    fn grandchild_status((): ()) -> Option<i32> {
        let child: Process<()> = Process::spawn(|()| std::process::exit(3), ()).unwrap();
        child.wait().unwrap().code()
    }
    fn in_a_process_of_its_own((): ()) -> (Option<i32>, bool, i32, bool) {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let result = Process::spawn(grandchild_status, ()).unwrap();
        let silent: Process<()> = Process::spawn(|()| std::process::exit(3), ()).unwrap();
        let status = silent.wait().unwrap();
        let error = silent.join().unwrap_err();
        (
            result.join().unwrap(),
            status.is_lost(),
            status.as_python(),
            matches!(error, ProcessError::StatusLost { .. }),
        )
    }
    let child = Process::spawn(in_a_process_of_its_own, ()).unwrap();
    assert_eq!(end(child).unwrap(), (Some(3), true, 255, true));
}

// What cannot cross

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
    assert_eq!(
        end(Process::spawn(dive, 1).unwrap()).unwrap(),
        "64: this process has 64 ancestors that started one another, and starts no further one: does the function start itself?"
    );
}

#[test]
fn without_files_to_open_spawning_is_an_error_and_leaves_no_child() {
    fn in_a_process_of_its_own((): ()) -> (Option<i32>, usize, String) {
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
        let left = fs::read_dir("/proc/self/task")
            .unwrap()
            .map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
        (error.raw_os_error(), count, left.collect())
    }
    let (errno, count, left) = end(Process::spawn(in_a_process_of_its_own, ()).unwrap()).unwrap();
    assert_eq!(errno, Some(libc::EMFILE));
    assert!(count >= 5, "{count}");
    assert_eq!(left, "");
}

#[test]
fn without_files_to_open_a_pipe_stays_in_its_first_ring_until_there_are_some() {
    fn in_a_process_of_its_own((): ()) -> bool {
        let few = libc::rlimit { rlim_cur: 60, rlim_max: 60 };
        // SAFETY: the limit is a valid structure for the whole call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) }, 0);
        let (sender, receiver) = pipe::<Bytes>().unwrap();
        let mut files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        sender.try_send_bytes(&[1; 200_000]).unwrap();
        assert_eq!(receiver.recv_bytes().unwrap(), [1; 200_000]);
        assert!(matches!(sender.try_send_bytes(&[2; 300_000]), Err(SendError::WouldBlock)));
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

/// What careless daemons do.
fn close_files() {
    for fd in 3..64 {
        // SAFETY: the callers use no descriptor that they did not open afterwards.
        unsafe { libc::close(fd) };
    }
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

// Who is who

#[test]
fn names_follow_the_lineage() {
    let child = Process::spawn(|()| (current_process().name().to_owned(), grandchild_name()), ()).unwrap();
    let name = child.name().to_owned();
    assert!(name.strip_prefix("Process-").is_some_and(|number| number.parse::<u32>().is_ok()), "{name}");
    assert_eq!(end(child).unwrap(), (name.clone(), format!("{name}:1")));
}

fn grandchild_name() -> String {
    let child = Process::spawn(|()| current_process().name().to_owned(), ()).unwrap();
    child.join().unwrap()
}

#[test]
fn a_child_knows_who_it_is_and_who_started_it() {
    assert!(parent_process().is_none());
    let who = |()| {
        let (me, parent) = (current_process(), parent_process().unwrap());
        assert!(parent.is_alive());
        let title = fs::read_to_string("/proc/self/comm").unwrap();
        (me.name().to_owned(), me.is_daemon(), me.parent_pid(), parent.pid(), parent.name().to_owned(), title)
    };
    let child = Process::options().name("a rather long name").daemon(true).spawn(who, ()).unwrap();
    let this = std::process::id();
    let name = "a rather long name".to_owned();
    assert_eq!(
        end(child).unwrap(),
        (name, true, this, this, "MainProcess".into(), "a rather long n\n".into())
    );
}

#[test]
fn active_children_are_those_that_run() {
    let child = Process::options().name("the active one").spawn(for_ever::<()>, ()).unwrap();
    let pid = child.pid();
    let listed =
        || active_children().iter().any(|child| child.pid() == pid && child.name() == "the active one");
    assert!(listed());
    child.kill().unwrap();
    until("it is no longer listed", || !listed());
    // Listing took the status; the handle still has it.
    assert_eq!(status(&child).signal(), Some(9));
}

#[test]
fn a_dropped_handle_leaves_the_child_alone_and_no_zombie() {
    let place = tempfile::tempdir().unwrap();
    let [release, done] = ["release", "done"].map(|name| place.path().join(name));
    let work = |(release, done): (PathBuf, PathBuf)| {
        hear(&release);
        say(&done, std::process::id());
    };
    drop(Process::spawn(work, (release.clone(), done.clone())).unwrap());
    say(&release, "");
    let pid: u32 = hear(&done).parse().unwrap();
    until("it is reaped on the way", || {
        drop(active_children());
        !Path::new(&format!("/proc/{pid}")).exists()
    });
}

// What a child finds

#[test]
fn a_child_starts_clean() {
    let look = |()| {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input).unwrap();
        let stdin = fs::read_link("/proc/self/fd/0").unwrap();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap().to_owned();
        (input.len(), stdin, std::env::var_os("PROCESSION_CHILD").is_none(), blocked)
    };
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(nix::sys::signal::Signal::SIGUSR1);
    blocked.thread_block().unwrap();
    let child = Process::spawn(look, ()).unwrap();
    assert_eq!(end(child).unwrap(), (0, PathBuf::from("/dev/null"), true, "0000000000000000".to_owned()));
}

/// A line of `/proc/self/status`: a set of signals.
fn signals(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

#[test]
fn a_child_keeps_only_those_ignored_signals_that_nohup_and_scripts_rely_on() {
    extern "C" fn nothing(_: libc::c_int) {}
    let bit = |signal: i32| 1_u64 << (signal - 1);
    let look = |()| ["SigIgn", "SigCgt"].map(signals);
    let plain = end(Process::spawn(look, ()).unwrap()).unwrap();
    let in_a_process_of_its_own = |()| {
        for ignored in
            [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGCHLD, libc::SIGUSR1, libc::SIGTERM]
        {
            // SAFETY: ignoring a signal runs no code of ours.
            unsafe { libc::signal(ignored, libc::SIG_IGN) };
        }
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR2, nothing as *const () as libc::sighandler_t) };
        Process::spawn(|()| ["SigIgn", "SigCgt"].map(signals), ()).unwrap().join().unwrap()
    };
    let child = end(Process::spawn(in_a_process_of_its_own, ()).unwrap()).unwrap();
    let kept = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT].map(bit).iter().sum::<u64>();
    assert_eq!(child[0], plain[0] | kept, "ignored");
    assert_eq!(child[1], plain[1] & !kept, "caught");
}

/// What this process has open, without the numbers in it, and what another program has open that it executes.
fn open_files() -> (Vec<String>, Vec<String>) {
    let targets = |directory: fs::ReadDir| {
        let targets = directory.map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default());
        let named =
            |path: PathBuf| path.display().to_string().replace(|one: char| one.is_ascii_hexdigit(), "");
        let mut all: Vec<String> = targets.map(named).collect();
        all.sort();
        all
    };
    let own = targets(fs::read_dir("/proc/self/fd").unwrap());
    let program = Command::new("sh").args(["-c", "ls /proc/$$/fd"]).output().unwrap();
    let numbers = String::from_utf8(program.stdout).unwrap();
    (own, numbers.lines().filter(|fd| fd.parse().is_ok_and(|fd: u32| fd < 255)).map(str::to_owned).collect())
}

#[test]
fn a_child_has_open_what_it_was_given_and_no_more() {
    // Whatever the harness leaves open to this program goes on to all.
    let before = end(Process::spawn(|()| open_files(), ()).unwrap()).unwrap();
    let mut pool = procession::Pool::new(2).unwrap();
    pool.map(|n: u32| n, 0..3).unwrap();
    let (sender, receiver) = pipe::<u32>().unwrap();
    let queue = procession::Queue::<u32>::new().unwrap();
    queue.put(&1).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let other = Process::options().inherit(Arc::new(writer.into())).spawn(for_ever::<()>, ()).unwrap();
    let after = end(Process::spawn(|()| open_files(), ()).unwrap()).unwrap();
    assert_eq!(after, before);
    // The one that was given a pipe does not hand it on either.
    let given = Process::options().inherit(Arc::new(reader.into()));
    let (own, handed_on) = end(given.spawn(|()| open_files(), ()).unwrap()).unwrap();
    assert_eq!((own.len(), handed_on), (before.0.len() + 1, before.1));
    other.kill().unwrap();
    status(&other);
    pool.close();
    pool.join().unwrap();
    drop((receiver, sender));
}

#[test]
fn the_environment_is_ours_and_the_builders() {
    let look = |()| ["PATH", "PROCESSION_TEST"].map(|name| std::env::var(name).ok());
    let child =
        Process::options().env("PROCESSION_TEST", "1").env("PROCESSION_TEST", "2").spawn(look, ()).unwrap();
    assert_eq!(end(child).unwrap(), [std::env::var("PATH").ok(), Some("2".to_owned())]);
}

#[test]
fn descriptors_are_inherited_in_order_and_by_nobody_else() {
    let (mut first, for_first) = std::io::pipe().unwrap();
    let (mut second, for_second) = std::io::pipe().unwrap();
    let write = |()| {
        let take = |index| take_inherited(index).map(fs::File::from);
        let (mut one, mut two) = (take(0).unwrap(), take(1).unwrap());
        assert!(take(0).is_none() && take(2).is_none());
        // If this one had the pipes too, the reader would wait for it.
        Process::options().detached().spawn(for_ever::<()>, ()).unwrap();
        one.write_all(b"first").unwrap();
        two.write_all(b"second").unwrap();
        active_children()[0].pid()
    };
    let builder = Process::options().inherit(Arc::new(for_first.into())).inherit(Arc::new(for_second.into()));
    let child = builder.spawn(write, ()).unwrap();
    let mut said = String::new();
    first.read_to_string(&mut said).unwrap();
    second.read_to_string(&mut said).unwrap();
    assert_eq!(said, "firstsecond");
    let left = end(child).unwrap();
    assert!(runs(left));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(left as i32), nix::sys::signal::SIGKILL).unwrap();
}

// Who ends with whom

#[test]
fn a_child_outlives_the_thread_that_started_it() {
    let place = tempfile::tempdir().unwrap();
    let release = place.path().join("release");
    let wait = |release: PathBuf| hear(&release);
    let starter = thread::spawn({
        let release = release.clone();
        move || Process::spawn(wait, release).unwrap()
    });
    let child = starter.join().unwrap();
    assert!(matches!(child.wait_timeout(Duration::from_millis(100)), Err(WaitError::TimedOut { .. })));
    say(&release, "go");
    assert_eq!(end(child).unwrap(), "go");
}

#[test]
fn grandchildren_die_with_a_killed_child() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pids");
    let middle = |file: PathBuf| {
        let children: Vec<_> = (0..3).map(|_| Process::spawn(for_ever::<()>, ()).unwrap()).collect();
        let pids: Vec<String> = children.iter().map(|child| child.pid().to_string()).collect();
        say(&file, pids.join(" "));
        for_ever(children);
    };
    let child = Process::spawn(middle, file.clone()).unwrap();
    let pids: Vec<u32> = hear(&file).split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|&pid| runs(pid)));
    child.kill().unwrap();
    assert_eq!(status(&child).signal(), Some(9));
    until("no orphan runs", || !pids.iter().any(|&pid| runs(pid)));
}

#[test]
fn a_grandchild_that_closed_all_files_dies_with_a_killed_child_too() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pid");
    let grandchild = |file: PathBuf| {
        close_files();
        say(&file, std::process::id());
        for_ever(file);
    };
    let child = Process::spawn(move |file| for_ever(Process::spawn(grandchild, file).unwrap()), file.clone())
        .unwrap();
    let pid: u32 = hear(&file).parse().unwrap();
    assert!(runs(pid) && child.is_alive());
    child.kill().unwrap();
    until("no orphan runs", || !runs(pid));
}

#[test]
fn a_detached_grandchild_outlives_a_killed_child() {
    let place = tempfile::tempdir().unwrap();
    let [up, survived] = ["up", "survived"].map(|name| place.path().join(name));
    let start = |files: (PathBuf, PathBuf)| {
        let survive = |(up, survived): (PathBuf, PathBuf)| {
            say(&up, "");
            until("the parent is dead", || !parent_process().unwrap().is_alive());
            say(&survived, std::process::id());
        };
        let child = Process::options().detached().spawn(survive, files).unwrap();
        for_ever(child);
    };
    let child = Process::spawn(start, (up.clone(), survived.clone())).unwrap();
    hear(&up);
    child.kill().unwrap();
    let pid: u32 = hear(&survived).parse().unwrap();
    until("it ends by itself", || !runs(pid));
}

#[test]
fn a_child_that_returns_waits_for_its_own_children() {
    let place = tempfile::tempdir().unwrap();
    let [release, done] = ["release", "done"].map(|name| place.path().join(name));
    let start = |files: (PathBuf, PathBuf)| {
        let work = |(release, done): (PathBuf, PathBuf)| {
            hear(&release);
            say(&done, "");
        };
        drop(Process::spawn(work, files).unwrap());
    };
    let child = Process::spawn(start, (release.clone(), done.clone())).unwrap();
    assert!(matches!(child.wait_timeout(Duration::from_millis(100)), Err(WaitError::TimedOut { .. })));
    say(&release, "");
    end(child).unwrap();
    assert!(done.exists());
}

#[test]
fn a_normal_exit_terminates_daemons_and_joins_the_others() {
    let place = tempfile::tempdir().unwrap();
    let file = |name| place.path().join(name);
    let mut program = Command::new(env!("CARGO_BIN_EXE_leaves_children")).arg(place.path()).spawn().unwrap();
    hear(&file("main-returned"));
    for daemon in ["daemon", "stubborn"] {
        let pid: u32 = hear(&file(daemon)).parse().unwrap();
        until("the daemon is terminated", || !runs(pid));
    }
    assert!(program.try_wait().unwrap().is_none(), "the other child was not waited for");
    assert!(!file("finished").exists());
    say(&file("release"), "");
    assert!(program.wait().unwrap().success());
    assert!(file("finished").exists());
}

//! How a child ends: with a panic, an exit, a signal, or late; and what is told of it.

use crate::{WATCHDOG, end, for_ever, hear, say, status};
use procession::{JoinTimeoutError, Process, ProcessError, WaitError};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

under_other_methods! {
    a_panic_crosses_with_message_and_place_and_with_the_stack_if_that_is_wanted
    a_panic_that_was_caught_is_none_and_a_strange_one_has_no_place
    exit_before_the_end_is_an_error_even_with_code_zero
    a_killed_child_is_an_error_at_once
    waiting_ends_with_the_time_and_terminate_ends_the_process
    an_interrupted_child_ends_unless_it_minds
    a_process_is_a_number_that_is_readable_once_it_has_ended
    many_threads_wait_and_all_learn_the_status
    an_ignored_sigchld_loses_the_status_but_not_the_result;
    only by forkserver:
}

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
    assert!(location.contains("ends.rs:"), "{location}");
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
fn an_interrupted_child_ends_unless_it_minds() {
    let folder = tempfile::tempdir().unwrap();
    let mind = |action: libc::sighandler_t, file: PathBuf| {
        // Whoever started the tests may have ignored the signal, and then a child does.
        // SAFETY: neither action runs code of ours.
        unsafe { libc::signal(libc::SIGINT, action) };
        say(&file, "ready");
        for_ever(());
    };
    let start = |action: libc::sighandler_t, name: &str| {
        let file = folder.path().join(name);
        let child = Process::spawn(mind, (action, file.clone())).unwrap();
        hear(&file);
        child
    };
    let (usual, ignoring) = (start(libc::SIG_DFL, "usual"), start(libc::SIG_IGN, "ignoring"));
    usual.interrupt().unwrap();
    assert!(matches!(end(usual), Err(ProcessError::Killed { signal: libc::SIGINT, .. })));
    ignoring.interrupt().unwrap();
    assert!(matches!(ignoring.wait_timeout(Duration::from_millis(20)), Err(WaitError::TimedOut { .. })));
    ignoring.kill().unwrap();
    assert_eq!(status(&ignoring).signal(), Some(libc::SIGKILL));
}

/// An event loop that knows nothing of us is given a number.
#[test]
fn a_process_is_a_number_that_is_readable_once_it_has_ended() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::{AsFd, AsRawFd};
    let child = Process::spawn(for_ever::<()>, ()).unwrap();
    assert_eq!(child.as_raw_fd(), child.as_fd().as_raw_fd());
    let poll_for =
        |time: PollTimeout| poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], time).unwrap();
    assert_eq!(poll_for(PollTimeout::ZERO), 0);
    child.kill().unwrap();
    assert_eq!(poll_for(PollTimeout::try_from(WATCHDOG).unwrap()), 1);
    status(&child);
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

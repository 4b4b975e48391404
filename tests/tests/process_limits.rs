//! Processes and pools under `ulimit -f`, by each start method: what is too long for a file is an error that says so,
//! and kills nobody.
#![expect(unsafe_code, reason = "resource limits are set by a C function")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{
    Pool, PoolError, Process, ProcessError, SpawnError, StartMethod, TaskError, set_start_method,
};
use procession_tests::{Watchdog, isolate};
use std::fs::File;

procession::test_support!();

const LIMIT: u64 = 1 << 20;
const LONG: usize = 3 << 20;

fn limit_files_to(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is a valid structure for the whole call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
}

/// What `f` says in processes of their own, each of which starts others by another method.
fn limited(f: impl Fn(u64) -> String + Copy + 'static) -> Vec<String> {
    isolate();
    let _watchdog = Watchdog::start();
    let by = |method| {
        let begin = move |method| {
            set_start_method(method);
            // Which may be a file, and longer already.
            nix::unistd::dup2_stderr(File::open("/dev/null").unwrap()).unwrap();
            f(LIMIT)
        };
        Process::spawn(begin, method).unwrap().join().unwrap()
    };
    StartMethod::ALL.map(by).to_vec()
}

#[test]
fn arguments_longer_than_a_file_may_be_are_an_error() {
    let texts = limited(|limit| {
        limit_files_to(limit);
        let error = Process::spawn(|text: String| text.len(), "z".repeat(LONG)).unwrap_err();
        assert!(matches!(error, SpawnError::TooLong { .. }), "{error:?}");
        let short = Process::spawn(|text: String| text.len(), "z".repeat(1000)).unwrap();
        assert_eq!(short.join().unwrap(), 1000);
        error.to_string()
    });
    for part in ["arguments", "1048576", "ulimit -f"] {
        assert!(texts.iter().all(|text| text.contains(part)), "{texts:?}");
    }
}

#[test]
fn a_result_or_a_panic_longer_than_a_file_may_be_is_an_error() {
    let texts = limited(|limit| {
        limit_files_to(limit);
        let child = Process::spawn(|len: usize| "z".repeat(len), LONG).unwrap();
        let Err(ProcessError::Encode { reason: text, .. }) = child.join() else { panic!("no such error") };
        let child = Process::spawn(|len: usize| panic!("{}", "z".repeat(len)), LONG).unwrap();
        let error = child.join().map(|_: ()| ()).unwrap_err();
        assert!(matches!(error, ProcessError::Encode { .. }), "{error:?}");
        let child = Process::spawn(|()| panic!("short"), ()).unwrap();
        let error = child.join().map(|_: ()| ()).unwrap_err();
        assert!(matches!(error, ProcessError::Panicked { .. }), "{error:?}");
        text
    });
    for part in ["1048576", "ulimit -f"] {
        assert!(texts.iter().all(|text| text.contains(part)), "{texts:?}");
    }
}

#[test]
fn a_panic_whose_stack_is_too_long_for_a_file_arrives_without_the_stack() {
    let texts = limited(|_| {
        let child = Process::options().env("RUST_BACKTRACE", "full").spawn(
            |()| {
                // Room for the message and little more.
                limit_files_to(200);
                panic!("what remains")
            },
            (),
        );
        match child.unwrap().join().map(|_: ()| ()) {
            Err(ProcessError::Panicked { message, location: Some(_), backtrace: None, .. }) => message,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(texts, ["what remains"; 3]);
}

#[test]
fn a_child_that_may_write_nothing_ends_by_itself() {
    let texts = limited(|_| {
        let child = Process::spawn(
            |()| {
                limit_files_to(0);
                7
            },
            (),
        );
        let error = child.unwrap().join().unwrap_err();
        limit_files_to(0);
        let refused = Process::spawn(|()| (), ()).unwrap_err();
        assert!(matches!(refused, SpawnError::TooLong { .. }), "{refused:?}");
        limit_files_to(libc::RLIM_INFINITY);
        error.to_string()
    });
    assert!(texts.iter().all(|text| text.contains("exited with code 1")), "{texts:?}");
}

#[test]
fn a_pools_items_states_results_and_panics_are_no_files() {
    let texts = limited(|limit| {
        limit_files_to(limit);
        let pool = Pool::new(1).unwrap();
        let text = "z".repeat(LONG);
        let twice =
            pool.map_with(&text, |state, item: String| state.clone() + &item, [text.clone()]).unwrap();
        assert_eq!(twice[0].len(), 2 * LONG);
        let error = pool.apply(|text: String| panic!("{text}"), text).map(|_: ()| ()).unwrap_err();
        assert!(matches!(&error, TaskError::Panicked { message, .. } if message.len() == LONG));
        limit_files_to(1000);
        let error = Pool::new(1).unwrap_err();
        assert!(matches!(error, PoolError::Memory(_)), "{error:?}");
        String::new()
    });
    assert_eq!(texts, [""; 3]);
}

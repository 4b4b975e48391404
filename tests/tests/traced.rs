//! What happens to processes is told as events of `tracing`, to who asks for them, and a panic says whose it is.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{Process, ProcessOptions, Stdio, log_to_stderr};
use procession_tests::Scratch;
use std::io::Read;

procession::test_support!();

fn panics() {
    panic!("no more paper");
}

/// A process that logs, and starts others.
fn logs() {
    log_to_stderr("debug").unwrap();
    assert!(log_to_stderr("debug").is_err() && log_to_stderr("loud").is_err());
    let killed = Process::options().name("lazy").spawn(std::thread::park, ()).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    Process::options().name("quick").spawn(|| (), ()).unwrap().join().unwrap();
}

fn stderr_of(child: &Process<()>) -> String {
    let mut text = String::new();
    child.take_stderr().unwrap().read_to_string(&mut text).unwrap();
    drop(child.wait());
    text.replace(&child.pid().to_string(), "PID")
}

fn talker() -> ProcessOptions {
    Process::options().name("talker").stderr(Stdio::piped())
}

#[test]
fn starts_and_ends_are_events() {
    let _scratch = Scratch::new();
    let text = stderr_of(&talker().spawn(logs, ()).unwrap());
    for (level, process, said) in [
        ("DEBUG", "lazy", "started"),
        ("WARN", "lazy", "killed by SIGKILL"),
        ("DEBUG", "quick", "exit code 0"),
    ] {
        let told = text.lines().any(|line| [level, process, said].iter().all(|part| line.contains(part)));
        assert!(told, "{level} {process} {said}: {text}");
    }
}

#[test]
fn a_panic_says_once_whose_it_is() {
    let _scratch = Scratch::new();
    let text = stderr_of(&talker().spawn(panics, ()).unwrap());
    assert!(text.starts_with("talker (pid PID):\n"), "{text}");
    assert_eq!((text.matches("talker").count(), text.matches("no more paper").count()), (1, 1), "{text}");
}

//! Random and plausible nonsense in the bytes of every kind of object, while it is used: each operation ends
//! with a typed error, or in time, or as it should; nothing panics, hangs, or reaches past the object.
//! Processes of their own (`src/bin/fuzzed`) play with the objects, so that whatever becomes of them is seen.
//!
//! `PROCESSION_FUZZ_SECONDS` (0.25) says for how long each kind, `PROCESSION_FUZZ_SEED` repeats the one round
//! of that seed.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession_tests::{Scratch, note, program};
use std::process::{Command, Output};
use std::time::Instant;

/// How long each kind is played with.
fn seconds() -> f64 {
    std::env::var("PROCESSION_FUZZ_SECONDS").map_or(0.25, |text| text.parse().unwrap())
}

/// Starts a process that plays, and waits for its end.
fn play(scratch: &Scratch, target: &str, seed: u64, how: &str) -> Output {
    let mut command = Command::new(program("fuzzed"));
    command.env("PROCESSION_NAMESPACE", scratch.name());
    command.args([target, &seed.to_string(), how]).output().unwrap()
}

/// The process must have ended by itself.
fn must_have_ended(output: &Output, target: &str) -> usize {
    let said = String::from_utf8_lossy(&output.stdout);
    let heard = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().next_back().unwrap_or("none");
    assert!(
        output.status.success(),
        "{target}: {}; repeat it by PROCESSION_FUZZ_SEED={last}\n{heard}",
        output.status
    );
    said.lines().count()
}

/// Plays the rounds that once failed, and then new ones.
fn fuzz(target: &str, regressions: &[u64]) {
    let seconds = seconds();
    let scratch = Scratch::for_seconds(seconds as u64 + 100);
    if let Ok(seed) = std::env::var("PROCESSION_FUZZ_SEED") {
        must_have_ended(&play(&scratch, target, seed.parse().unwrap(), "only"), target);
        return;
    }
    for &seed in regressions {
        must_have_ended(&play(&scratch, target, seed, "only"), target);
    }
    let start = Instant::now();
    // Some play no more than so many rounds in one process.
    while let left = seconds - start.elapsed().as_secs_f64()
        && left > 0.0
    {
        let seed = procession_sys::clock::wall_ns();
        let rounds = must_have_ended(&play(&scratch, target, seed, &left.to_string()), target);
        note(&format!("fuzz: {target}: {rounds} rounds from PROCESSION_FUZZ_SEED={seed}"));
    }
    // The registry that is in use is not opened again.
    if target != "registry" {
        // A registry in whose place others are put looks as if nobody were in it.
        let scratch = Scratch::unswept();
        must_have_ended(&play(&scratch, target, 0, "headers"), target);
    }
}

/// Makes a test of each target: the seeds are those of rounds that once failed.
macro_rules! targets {
    ($($test:ident of $target:literal: [$($seed:literal)*];)*) => {
        const ALL: &[&str] = &[$($target),*];
        $(
            #[test]
            fn $test() {
                fuzz($target, &[$($seed),*]);
            }
        )*
    };
}

targets! {
    lock of "lock": [];
    lock_ignoring of "lock-ignoring": [];
    rlock of "rlock": [];
    rwlock of "rwlock": [343_783_486];
    semaphore of "semaphore": [942_239_521];
    bounded_semaphore of "bounded-semaphore": [1_028_219_281];
    event of "event": [];
    latch of "latch": [];
    once of "once": [];
    barrier of "barrier": [];
    barrier_elastic of "barrier-elastic": [];
    condition of "condition": [];
    value_word of "value-word": [];
    value_cacheline of "value-cacheline": [];
    value_page of "value-page": [];
    array of "array": [];
    array_bytes of "array-bytes": [];
    raw_value of "raw-value": [];
    raw_array of "raw-array": [];
    shared_memory of "shared-memory": [];
    map of "map": [];
    list of "list": [];
    queue of "queue": [];
    queue_bounded of "queue-bounded": [];
    joinable_queue of "joinable-queue": [1795835327451848799];
    lane of "lane": [];
    registry of "registry": [];
    registration of "registration": [];
}

#[test]
fn handshakes_with_children() {
    let scratch = Scratch::for_seconds(seconds() as u64 + 100);
    let seed = std::env::var("PROCESSION_FUZZ_SEED").ok().map(|text| text.parse().unwrap());
    let how = if seed.is_some() { "only".to_owned() } else { seconds().to_string() };
    let seed = seed.unwrap_or_else(procession_sys::clock::wall_ns);
    let rounds = must_have_ended(&play(&scratch, "handshake", seed, &how), "handshake");
    note(&format!("fuzz: handshake: {rounds} rounds from PROCESSION_FUZZ_SEED={seed}"));
}

#[test]
fn every_target_has_a_test() {
    let output = Command::new(program("fuzzed")).arg("list").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), ALL);
}

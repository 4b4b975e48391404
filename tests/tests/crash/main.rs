//! A real process dies by SIGKILL at each crash point of the protocols, in each scene in which it matters,
//! and the others finish and find everything as it was promised.
//!
//! Run by
//! `RUSTFLAGS="--cfg procession_chaos" cargo nextest run -p procession-tests --target-dir target/chaos`.
#![cfg(procession_chaos)]
#![expect(unsafe_code, reason = "a process changes its environment")]
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

mod array;
mod barrier;
mod collections;
mod condition;
mod deaths;
mod event;
mod eventcount;
mod forkserver;
mod joinable;
mod lane;
mod latch;
mod lock;
mod lock_recovery;
mod once;
mod pipe;
mod plain;
mod queue;
mod registry;
mod rlock;
mod roll;
mod rwlock;
mod segment;
mod semaphore;
mod spill;
mod stopped;
mod value;
mod waits;
mod ward;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

procession::test_support!();

/// Makes a test of each scene, and a list of the labels that have one.
macro_rules! crash_points {
    ($($test:ident at $label:literal: $scene:expr;)*) => {
        pub(crate) const COVERED: &[&str] = &[$($label),*];
        $(
            #[test]
            fn $test() {
                $scene($label);
            }
        )*
    };
}
pub(crate) use crash_points;

#[test]
fn every_label_in_the_sources_has_a_scene() {
    let tables = [
        barrier::COVERED,
        collections::COVERED,
        event::COVERED,
        array::COVERED,
        condition::COVERED,
        eventcount::COVERED,
        forkserver::COVERED,
        joinable::COVERED,
        lane::COVERED,
        latch::COVERED,
        lock::COVERED,
        lock_recovery::COVERED,
        once::COVERED,
        pipe::COVERED,
        plain::COVERED,
        queue::COVERED,
        registry::COVERED,
        rlock::COVERED,
        roll::COVERED,
        rwlock::COVERED,
        segment::COVERED,
        semaphore::COVERED,
        spill::COVERED,
        value::COVERED,
        waits::COVERED,
        ward::COVERED,
    ];
    let covered: BTreeSet<String> = tables.concat().iter().map(|&label| label.to_owned()).collect();
    let mut labels = BTreeSet::new();
    for part in ["sys", "shm", "sync", "channel", "collections", "process"] {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(part).join("src");
        collect_labels(&sources, &mut labels);
    }
    // Those of the pool are passed by its workers, whom `kill_pool` kills at each.
    labels.retain(|label| !label.starts_with("pool."));
    assert!(labels.len() > 40, "the sources were not found: {labels:?}");
    let missing: Vec<_> = labels.difference(&covered).collect();
    assert!(missing.is_empty(), "crash points without a scene: {missing:?}");
    let stale: Vec<_> = covered.difference(&labels).collect();
    assert!(stale.is_empty(), "scenes without a crash point: {stale:?}");
}

/// The labels of all calls of `crash_point` in a directory.
fn collect_labels(directory: &Path, labels: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_labels(&path, labels);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            // Which has the function itself.
            && !path.ends_with("sys/src/crash.rs")
        {
            let text = fs::read_to_string(&path).unwrap();
            for call in text.split("crash_point(").skip(1) {
                let label = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                let label = label.unwrap_or_else(|| panic!("{}: a label that is no literal", path.display()));
                labels.insert(label.to_owned());
            }
        }
    }
}

//! Semaphore. Whatever dies with the victim, all permits come back.

use crate::run::Scene;
use crate::stage::{Stage, stepped};
use procession_sync::Semaphore;

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "semaphore/acquire", whole: 0, play: acquire },
    Scene { name: "semaphore/acquire/sleeper", whole: 0, play: acquire_contended },
    Scene { name: "semaphore/acquire_many", whole: 0, play: acquire_many },
    Scene { name: "semaphore/acquire_many/sleeper", whole: 0, play: acquire_many_contended },
    Scene { name: "semaphore/drop", whole: 0, play: give_back },
    Scene { name: "semaphore/drop/sleeper", whole: 0, play: give_back_contended },
    Scene { name: "semaphore/forget", whole: 1, play: forget },
    Scene { name: "semaphore/release", whole: 2, play: release },
    Scene { name: "semaphore/release/sleeper", whole: 2, play: release_contended },
];

fn semaphore(permits: u32, max: u32) -> Semaphore {
    Semaphore::options().permits(permits as usize).max(max as usize).anonymous().unwrap()
}

/// There are `permits` permits, all of them free, and no more.
fn all_are_free(semaphore: &Semaphore, permits: u32) -> u32 {
    drop(semaphore.acquire_many(permits as usize).unwrap());
    assert_eq!(semaphore.available(), permits as usize);
    assert!(semaphore.try_acquire_many((permits + 1) as usize).is_err());
    assert!(semaphore.holders().is_empty());
    0
}

/// What a sleeper does: takes so many permits, and gives them back.
fn use_some(semaphore: &Semaphore, count: u32) -> u8 {
    drop(semaphore.acquire_many(count as usize).unwrap());
    0
}

fn acquire(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(1, 4);
    stage.victim(|| stepped(|| semaphore.acquire().unwrap()));
    stage.kill(|_| ());
    all_are_free(&semaphore, 1)
}

fn acquire_contended(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(1, 4);
    let mut held = Some(semaphore.acquire().unwrap());
    stage.sleeper(|| use_some(&semaphore, 1));
    stage.victim(|| stepped(|| semaphore.acquire().unwrap()));
    stage.kill(|_| drop(held.take()));
    drop(held);
    assert_eq!(stage.ends(), 0);
    all_are_free(&semaphore, 1)
}

fn acquire_many(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(3, 4);
    stage.victim(|| stepped(|| semaphore.acquire_many(3).unwrap()));
    stage.kill(|_| ());
    all_are_free(&semaphore, 3)
}

/// The sleeper and the victim each want what can be had once only.
fn acquire_many_contended(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(3, 4);
    let mut held = Some(semaphore.acquire_many(2).unwrap());
    stage.sleeper(|| use_some(&semaphore, 2));
    stage.victim(|| stepped(|| semaphore.acquire_many(3).unwrap()));
    stage.kill(|_| drop(held.take()));
    drop(held);
    assert_eq!(stage.ends(), 0);
    all_are_free(&semaphore, 3)
}

fn give_back(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(3, 4);
    stage.victim(|| {
        let permits = semaphore.acquire_many(2).unwrap();
        stepped(|| drop(permits));
    });
    stage.kill(|_| ());
    all_are_free(&semaphore, 3)
}

fn give_back_contended(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(2, 4);
    stage.victim(|| {
        let permits = semaphore.acquire_many(2).unwrap();
        stepped(|| drop(permits));
    });
    stage.sleeper(|| use_some(&semaphore, 1));
    stage.kill(|_| ());
    assert_eq!(stage.ends(), 0);
    all_are_free(&semaphore, 2)
}

/// Progress: 1 when the permit outlives the victim.
fn forget(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(2, 2);
    stage.victim(|| {
        let permit = semaphore.acquire().unwrap();
        stepped(|| permit.forget());
    });
    stage.kill(|_| ());
    let forgotten = 2 - semaphore.available();
    if forgotten > 0 {
        semaphore.release(forgotten).unwrap();
    }
    all_are_free(&semaphore, 2);
    forgotten as u32
}

/// Progress: how many permits there are more.
fn release(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(1, 4);
    stage.victim(|| stepped(|| semaphore.release(2).unwrap()));
    stage.kill(|_| ());
    let available = semaphore.available();
    all_are_free(&semaphore, available as u32);
    (available - 1) as u32
}

fn release_contended(stage: &mut Stage<'_>) -> u32 {
    let semaphore = semaphore(1, 4);
    let held = semaphore.acquire().unwrap();
    stage.victim(|| stepped(|| semaphore.release(2).unwrap()));
    stage.sleeper(|| use_some(&semaphore, 1));
    stage.kill(|_| ());
    // Who was killed before it released anything has released nothing.
    drop(held);
    assert_eq!(stage.ends(), 0);
    let available = semaphore.available();
    all_are_free(&semaphore, available as u32);
    (available - 1) as u32
}

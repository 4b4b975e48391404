//! Barrier. Who waits with the victim goes on, or is told that a peer died; afterwards a new round works.

use crate::run::Scene;
use crate::stage::{Stage, stepped};
use procession_sync::{Barrier, BarrierError, BreakCause};

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "barrier/wait", whole: 0, play: alone },
    Scene { name: "barrier/wait-first", whole: 0, play: first },
    Scene { name: "barrier/wait-last/sleeper", whole: 1, play: last },
    Scene { name: "barrier/wait-last-anonymous/sleeper", whole: 1, play: last_anonymous },
    Scene { name: "barrier/join", whole: 0, play: join },
    Scene { name: "barrier/leave", whole: 0, play: leave },
    Scene { name: "barrier/reset/sleeper", whole: 1, play: reset },
];

/// 0 if it went on, 1 if it was told of a death.
fn told<T>(outcome: Result<T, BarrierError>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(BarrierError::Broken { cause: BreakCause::PeerDied { .. }, .. }) => 1,
        Err(error) => panic!("{error}"),
    }
}

/// After a reset two can meet, and as many can join.
fn works(stage: &mut Stage<'_>, barrier: &Barrier) {
    barrier.reset().unwrap();
    let mut member = barrier.join().unwrap();
    stage.sleeper(|| {
        let mut member = barrier.join().unwrap();
        told(member.wait())
    });
    member.wait().unwrap();
    assert_eq!(stage.ends(), 0);
}

fn alone(stage: &mut Stage<'_>) -> u32 {
    let barrier = Barrier::new(1).unwrap();
    stage.victim(|| stepped(|| barrier.wait().unwrap()));
    stage.kill(|_| ());
    assert_eq!(barrier.n_waiting(), 0);
    barrier.wait().unwrap();
    0
}

/// The victim waits for this process, which comes when the victim sleeps or is dead.
fn first(stage: &mut Stage<'_>) -> u32 {
    let barrier = Barrier::new(2).unwrap();
    let mut member = barrier.join().unwrap();
    stage.victim(|| {
        let mut member = barrier.join().unwrap();
        stepped(|| told(member.wait()));
    });
    let mut met = None;
    stage.kill(|_| met = Some(told(member.wait())));
    met.unwrap_or_else(|| told(member.wait()));
    drop(member);
    works(stage, &barrier);
    0
}

/// Progress: 1 when the sleeper went on.
fn last(stage: &mut Stage<'_>) -> u32 {
    let barrier = Barrier::new(2).unwrap();
    stage.victim(|| {
        let mut member = barrier.join().unwrap();
        stepped(|| told(member.wait()));
    });
    stage.sleeper(|| {
        let mut member = barrier.join().unwrap();
        told(member.wait())
    });
    stage.kill(|_| ());
    let told = stage.ends();
    works(stage, &barrier);
    1 - u32::from(told)
}

/// Progress: 1 when the sleeper went on. A dead absentee that nobody knew is replaced by this process.
fn last_anonymous(stage: &mut Stage<'_>) -> u32 {
    let barrier = Barrier::new(2).unwrap();
    stage.victim(|| stepped(|| barrier.wait().unwrap()));
    stage.sleeper(|| told(barrier.wait()));
    stage.kill(|_| ());
    let is_waiting = barrier.n_waiting() > 0;
    if is_waiting {
        barrier.wait().unwrap();
    }
    assert_eq!(stage.ends(), 0);
    works(stage, &barrier);
    1 - u32::from(is_waiting)
}

fn join(stage: &mut Stage<'_>) -> u32 {
    let barrier = Barrier::new(2).unwrap();
    stage.victim(|| stepped(|| barrier.join().unwrap()));
    stage.kill(|_| ());
    works(stage, &barrier);
    0
}

fn leave(stage: &mut Stage<'_>) -> u32 {
    let barrier = Barrier::new(2).unwrap();
    stage.victim(|| {
        let member = barrier.join().unwrap();
        stepped(|| drop(member));
    });
    stage.kill(|_| ());
    works(stage, &barrier);
    0
}

/// Progress: 1 when it was reset.
fn reset(stage: &mut Stage<'_>) -> u32 {
    let barrier = Barrier::new(2).unwrap();
    stage.victim(|| stepped(|| barrier.reset().unwrap()));
    stage.sleeper(|| match barrier.wait() {
        Err(BarrierError::Broken { cause: BreakCause::Reset, .. }) => 0,
        outcome => panic!("{outcome:?}"),
    });
    stage.kill(|_| ());
    let is_waiting = barrier.n_waiting() > 0;
    if is_waiting {
        barrier.reset().unwrap();
    }
    assert_eq!(stage.ends(), 0);
    works(stage, &barrier);
    1 - u32::from(is_waiting)
}

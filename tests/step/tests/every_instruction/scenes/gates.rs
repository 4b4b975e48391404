//! Event, Latch, Once: whoever waits is let through, by the victim or by the next one who does the same.

use crate::run::Scene;
use crate::stage::{Stage, begin, finished, stepped};
use procession_sync::{Event, Latch, Once};

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "event/set", whole: 1, play: set },
    Scene { name: "event/set/sleeper", whole: 1, play: set_with_sleeper },
    Scene { name: "event/clear", whole: 1, play: clear },
    Scene { name: "event/wait", whole: 0, play: wait },
    Scene { name: "event/wait/sleeper", whole: 0, play: wait_with_sleeper },
    Scene { name: "latch/arrive", whole: 1, play: arrive },
    Scene { name: "latch/arrive/sleeper", whole: 1, play: arrive_with_sleeper },
    Scene { name: "latch/wait/sleeper", whole: 0, play: wait_at_latch },
    Scene { name: "once/run", whole: 2, play: run_once },
    Scene { name: "once/run/sleeper", whole: 1, play: run_with_sleeper },
    Scene { name: "once/wait", whole: 0, play: wait_for_run },
];

/// Waits; what a sleeper does.
fn passes(event: &Event) -> u8 {
    event.wait().unwrap();
    0
}

/// It can be closed and opened again, and lets through who waits meanwhile.
fn works(stage: &mut Stage<'_>, event: &Event) {
    event.clear();
    stage.sleeper(|| passes(event));
    event.set();
    assert_eq!(stage.ends(), 0);
}

/// Progress: 1 when it is set.
fn set(stage: &mut Stage<'_>) -> u32 {
    let event = Event::new().unwrap();
    stage.victim(|| stepped(|| event.set()));
    stage.kill(|_| ());
    let is_set = event.is_set();
    works(stage, &event);
    is_set.into()
}

fn set_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let event = Event::new().unwrap();
    stage.victim(|| stepped(|| event.set()));
    stage.sleeper(|| passes(&event));
    stage.kill(|_| ());
    let is_set = event.is_set();
    if !is_set {
        event.set();
    }
    // If it is set, nobody else wakes the sleeper.
    assert_eq!(stage.ends(), 0);
    works(stage, &event);
    is_set.into()
}

/// Progress: 1 when it is no longer set.
fn clear(stage: &mut Stage<'_>) -> u32 {
    let event = Event::new().unwrap();
    event.set();
    stage.victim(|| stepped(|| event.clear()));
    stage.kill(|_| ());
    let is_clear = !event.is_set();
    works(stage, &event);
    is_clear.into()
}

fn wait(stage: &mut Stage<'_>) -> u32 {
    let event = Event::new().unwrap();
    stage.victim(|| stepped(|| event.wait().unwrap()));
    stage.kill(|_| event.set());
    works(stage, &event);
    0
}

fn wait_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let event = Event::new().unwrap();
    stage.sleeper(|| passes(&event));
    stage.victim(|| stepped(|| event.wait().unwrap()));
    stage.kill(|_| event.set());
    event.set();
    assert_eq!(stage.ends(), 0);
    works(stage, &event);
    0
}

/// Progress: 1 when the arrival counts.
fn arrive(stage: &mut Stage<'_>) -> u32 {
    let latch = Latch::new(2).unwrap();
    stage.victim(|| stepped(|| latch.arrive()));
    stage.kill(|_| ());
    let arrived = latch.arrived();
    assert!(!latch.is_open());
    latch.arrive();
    latch.arrive();
    latch.wait().unwrap();
    arrived as u32
}

fn arrive_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let latch = Latch::new(2).unwrap();
    latch.arrive();
    stage.victim(|| stepped(|| latch.arrive()));
    stage.sleeper(|| {
        latch.wait().unwrap();
        0
    });
    stage.kill(|_| ());
    let is_open = latch.is_open();
    if !is_open {
        latch.arrive();
    }
    // If it is open, nobody else wakes the sleeper.
    assert_eq!(stage.ends(), 0);
    is_open.into()
}

fn wait_at_latch(stage: &mut Stage<'_>) -> u32 {
    let latch = Latch::new(1).unwrap();
    stage.sleeper(|| {
        latch.wait().unwrap();
        0
    });
    stage.victim(|| stepped(|| latch.wait().unwrap()));
    stage.kill(|_| _ = latch.arrive());
    latch.arrive();
    assert_eq!(stage.ends(), 0);
    0
}

/// Progress: 1 when it may be half done, 2 when it is done.
fn run_once(stage: &mut Stage<'_>) -> u32 {
    let once = Once::new().unwrap();
    stage.victim(|| stepped(|| once.run(|_| ()).unwrap()));
    stage.kill(|_| ());
    let mut progress = 2;
    let here = once.run(|run| progress = run.is_again.into()).unwrap();
    assert!(once.is_done() && here == (progress < 2));
    assert!(!once.run(|_| panic!("a second time")).unwrap());
    progress
}

/// What a sleeper does: 0 if it has to do it, as somebody did not finish, 1 if it is done.
fn runs_again(once: &Once) -> u8 {
    let here = once.run(|run| assert!(run.is_again)).unwrap();
    u8::from(!here)
}

/// The victim is inside. Progress: 1 when it is done.
fn run_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let once = Once::new().unwrap();
    stage.victim(|| {
        once.run(|_| begin()).unwrap();
        finished();
    });
    stage.sleeper(|| runs_again(&once));
    stage.kill(|_| ());
    let done = stage.ends();
    assert!(!once.run(|_| panic!("a second time")).unwrap());
    done.into()
}

/// The victim waits for somebody who does it.
fn wait_for_run(stage: &mut Stage<'_>) -> u32 {
    let (once, go) = (Once::new().unwrap(), Event::new().unwrap());
    stage.sleeper(|| {
        let here = once.run(|_| go.wait().unwrap()).unwrap();
        assert!(here);
        0
    });
    stage.victim(|| stepped(|| once.run(|_| panic!("a second time")).unwrap()));
    stage.kill(|_| go.set());
    go.set();
    assert_eq!(stage.ends(), 0);
    assert!(!once.run(|_| panic!("a second time")).unwrap());
    0
}

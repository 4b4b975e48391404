//! Processes that go through a computation in step; when one of them crashes, the others are told instead of
//! waiting for it for ever.
//!
//! ```console
//! $ cargo run --example phases
//! ```
use procession::{Barrier, BarrierError, BreakCause, Process};
use std::error::Error;

/// Computes phase after phase until the barrier is broken: how many phases all went through, and why no more.
fn compute(barrier: Barrier, crashes_in: Option<u32>) -> (u32, String) {
    // A member is missed when it dies; one that only calls `barrier.wait()` is not known before it comes.
    let mut member = barrier.join().unwrap();
    for phase in 0.. {
        if crashes_in == Some(phase) {
            std::process::abort();
        }
        match member.wait() {
            Ok(_) => {}
            Err(error @ BarrierError::Broken { cause: BreakCause::PeerDied { .. }, .. }) => {
                return (phase, error.to_string());
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("phases have no end")
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let barrier = Barrier::new(3)?;
    let steady = [
        Process::spawn(compute, (barrier.clone(), None))?,
        Process::spawn(compute, (barrier.clone(), None))?,
    ];
    let crashes = Process::spawn(compute, (barrier.clone(), Some(3)))?;
    println!("{} {}", crashes.label(), crashes.wait()?);
    for process in steady {
        let label = process.label().clone();
        let (phases, why) = process.join()?;
        println!("{label} went through {phases} phases: {why}");
        assert_eq!(phases, 3);
    }
    Ok(())
}

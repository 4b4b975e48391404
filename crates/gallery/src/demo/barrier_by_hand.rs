//! A barrier that can be used again, built from three semaphores.
//!
//! One semaphore guards a count, the two others are gates. The last to arrive opens the first gate for
//! everybody; the last to leave opens the second. Without the second gate a quick worker could run through
//! the first one twice, and a slow one would stay behind.
//!
//! What such a barrier does not have is an answer to death: if a worker is killed, the others wait for it until
//! the parent, which has them in a team, ends them. [`Barrier`](procession::Barrier) tells them.

use crate::random::work;
use crate::shown::{Done, must_hold, say};
use procession::{Array, Semaphore, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// A reusable barrier made of three semaphores, used ten times.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Work of some milliseconds instead of up to 200.
    #[arg(long)]
    quick: bool,
}

const WORKERS: u32 = 3;
const ROUNDS: u32 = 10;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct ByHand {
    mutex: Semaphore,
    count: Value<u32>,
    arrived: Semaphore,
    left: Semaphore,
}

impl ByHand {
    fn new() -> Result<Self, Failure> {
        let (arrived, left) = (Semaphore::new(0)?, Semaphore::new(0)?);
        Ok(Self { mutex: Semaphore::new(1)?, count: Value::new(0)?, arrived, left })
    }

    /// The first phase: waits until all have arrived.
    fn arrive(&self) -> Done<()> {
        let permit = self.mutex.acquire()?;
        if self.count.fetch_add(1)? + 1 == WORKERS {
            self.arrived.release(WORKERS as usize)?;
        }
        drop(permit);
        // Used up, not to come back when it is dropped.
        self.arrived.acquire()?.forget();
        Ok(())
    }

    /// The second phase: waits until all have left the first.
    fn leave(&self) -> Done<()> {
        let permit = self.mutex.acquire()?;
        if self.count.fetch_sub(1)? == 1 {
            self.left.release(WORKERS as usize)?;
        }
        drop(permit);
        self.left.acquire()?.forget();
        Ok(())
    }
}

/// Runs in a process of its own; in how many rounds it saw all in the same one.
fn worker(me: usize, barrier: ByHand, rounds: Array<u32>, longest: Duration) -> Done<u32> {
    let mut in_step = 0;
    for round in 1..=ROUNDS {
        rounds.set(me, round)?;
        barrier.arrive()?;
        work(longest);
        // Between the phases: all have begun this round, and nobody can have begun the next.
        let all = rounds.read(0..WORKERS as usize)?;
        say(format_args!("worker {}, round {round}: the rounds of all are {all:?}", me + 1));
        in_step += u32::from(all.iter().all(|&other| other == round));
        barrier.leave()?;
    }
    Ok(in_step)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let longest = Duration::from_millis(if args.quick { 2 } else { 200 });
    let barrier = ByHand::new()?;
    let rounds = Array::options().len(WORKERS as usize).anonymous()?;
    let mut team = Team::new();
    for me in 0..WORKERS as usize {
        let arguments = (me, barrier.clone(), rounds.clone(), longest);
        team.spawn_fallible(format!("worker-{}", me + 1), worker, arguments)?;
    }
    let in_step = team.join()?;
    must_hold(in_step == [ROUNDS; WORKERS as usize], "somebody was in another round")?;
    output::line(format_args!("{ROUNDS} rounds, all {WORKERS} always in the same one: all right"))
}

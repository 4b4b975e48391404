//! The promise, live: workers use a lock, a semaphore, a value, a barrier and a queue all the time, and are
//! killed at random moments by `kill -9`. New ones take their place. At the end everything adds up.
//!
//! One worker is left to you: its pid is shown. Kill it, or any other, as often as you like.

use crate::random::{below, work};
use crate::shown::{Done, must_hold};
use procession::bytemuck::{Pod, Zeroable};
use procession::{
    Array, Barrier, Event, GetError, Lock, LockError, MemberDeath, Namespace, Process, ProcessError, Queue,
    RawValue, Semaphore, Value,
};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The promise, live: workers are killed at random, by you too, and money, permits and messages add up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many seconds workers are killed.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// One second.
    #[arg(long)]
    quick: bool,
}

const WORKERS: usize = 4;
const ACCOUNTS: usize = 8;
const MONEY: i64 = 1_000;
const PERMITS: usize = 2;
/// How many workers there can be in a second, one after the other; far fewer can be started.
const LIVES: usize = 1_000;
/// The longest that a worker is left alive, and the longest that the last ones may take to end.
const LONGEST_LIFE: Duration = Duration::from_millis(60);
const PATIENCE: Duration = Duration::from_secs(20);

/// What the lock guards: two numbers that are changed one after the other.
#[derive(Clone, Copy, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "procession::bytemuck")]
#[repr(C)]
struct Twins {
    one: u64,
    other: u64,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct World {
    lock: Lock,
    twins: RawValue<Twins>,
    repaired: Value<u64>,
    permits: Semaphore,
    accounts: Array<i64>,
    transfers: Value<u64>,
    barrier: Barrier,
    rounds: Value<u64>,
    /// Who sent, and the number of the message.
    messages: Queue<(u64, u64)>,
    /// By life: how many messages it knows to be in the queue.
    acknowledged: Array<u64>,
    stop: Event,
}

/// Runs in a process of its own, until it is told to stop or is killed.
fn worker(life: usize, world: World) -> Done<()> {
    let mut member = world.barrier.join()?;
    let mut sent = 0;
    while !world.stop.is_set() {
        add_to_twins(&world)?;
        let permit = world.permits.acquire()?;
        let (from, to) = (below(ACCOUNTS as u64) as usize, below(ACCOUNTS as u64) as usize);
        // All or nothing, whatever happens to this process in the middle.
        world.accounts.update(0..ACCOUNTS, |accounts| {
            accounts[from] -= 5;
            accounts[to] += 5;
        })?;
        drop(permit);
        world.transfers.fetch_add(1)?;
        world.messages.put(&(life as u64, sent + 1))?;
        sent += 1;
        world.acknowledged.set(life, sent)?;
        if member.wait()? == 0 {
            world.rounds.fetch_add(1)?;
        }
    }
    Ok(())
}

/// Changes two numbers under the lock. If whoever did so last died in the middle, puts them right first.
fn add_to_twins(world: &World) -> Done<()> {
    let guard = match world.lock.acquire() {
        Err(LockError::OwnerDied { .. }) => world.lock.recover()?,
        other => other?,
    };
    let Twins { one, other } = world.twins.get();
    if one != other {
        // Only this process is here, and knows from `recovers` why they differ.
        if !guard.recovers() {
            return Err("the lock let two in at once".into());
        }
        world.repaired.fetch_add(1)?;
    }
    world.twins.set(Twins { one: one + 1, other: one });
    // Long enough for kills to come just here.
    std::thread::sleep(Duration::from_micros(50));
    world.twins.set(Twins { one: one + 1, other: one + 1 });
    Ok(())
}

/// What the parent knows.
#[derive(Default)]
struct Tally {
    lives: usize,
    kills: u64,
    /// Kills by somebody else, which is you.
    yours: u64,
    received: u64,
    /// By life, the number of its last message.
    last: HashMap<u64, u64>,
}

impl Tally {
    fn start(&mut self, world: &World) -> Result<Process<()>, Failure> {
        let life = self.lives;
        self.lives += 1;
        must_hold(life < world.acknowledged.len(), "there were too many lives to count")?;
        let named = Process::options().name(format!("life-{}", life + 1));
        Ok(named.spawn_fallible(worker, (life, world.clone()))?)
    }

    /// One that is left to you.
    fn start_yours(&mut self, world: &World) -> Result<Process<()>, Failure> {
        let yours = self.start(world)?;
        output::line(format_args!("kill one yourself: kill -9 {}", yours.pid()))?;
        Ok(yours)
    }

    /// Takes what is in the queue: each worker's messages in order, none twice, none left out.
    fn receive(&mut self, world: &World) -> Result<(), Failure> {
        loop {
            let (life, number) = match world.messages.try_get() {
                Ok(message) => message,
                Err(GetError::WouldBlock(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let before = self.last.insert(life, number).unwrap_or(0);
            must_hold(number == before + 1, "a message is missing, or came twice")?;
            self.received += 1;
        }
    }

    /// Counts a worker that has ended while all were to run: it was killed, by the parent or by you.
    fn bury(&mut self, ended: Process<()>, by_parent: bool) -> Result<(), Failure> {
        let who = format!("{} (pid {})", ended.name(), ended.pid());
        match ended.join() {
            Err(ProcessError::Killed { signal: 9, .. }) if by_parent => self.kills += 1,
            Err(ProcessError::Killed { signal: 9, .. }) => {
                (self.kills, self.yours) = (self.kills + 1, self.yours + 1);
                output::line(format_args!("{who} was killed by you, and all goes on"))?;
            }
            // An end that was asked for, of the whole demo perhaps, or a worker that found something wrong.
            outcome => outcome?,
        }
        Ok(())
    }

    fn show(&self, world: &World, begin: Instant) -> Result<(), Failure> {
        output::line(format_args!(
            "{:4.1} s: {} killed, {} transfers, {} rounds of the barrier, {} messages, {} repairs under the lock",
            begin.elapsed().as_secs_f64(),
            self.kills,
            output::grouped(world.transfers.get()?),
            output::grouped(world.rounds.get()?),
            output::grouped(self.received),
            world.repaired.get()?,
        ))
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    {
        let seconds = if args.quick { 1 } else { args.seconds };
        let world = world(LIVES * seconds as usize)?;
        let tally = rampage(&world, Duration::from_secs(seconds))?;
        audit(&world, &tally)?;
    }
    let left = Namespace::current()?.list()?.into_iter().filter(|entry| !entry.is_registry()).count();
    must_hold(left == 0, "something is left in shared memory")?;
    output::line("nobody hung, nothing was lost, nothing is left: all right")
}

fn world(lives: usize) -> Result<World, Failure> {
    let accounts = Array::options().len(ACCOUNTS).anonymous()?;
    accounts.write(0, &[MONEY; ACCOUNTS])?;
    Ok(World {
        lock: Lock::new()?,
        twins: RawValue::new(Twins::zeroed())?,
        repaired: Value::new(0)?,
        permits: Semaphore::new(PERMITS)?,
        accounts,
        transfers: Value::new(0)?,
        barrier: Barrier::options().elastic().on_member_death(MemberDeath::Remove).anonymous()?,
        rounds: Value::new(0)?,
        messages: Queue::new()?,
        acknowledged: Array::options().len(lives).anonymous()?,
        stop: Event::new()?,
    })
}

/// Kills workers and starts new ones for some time; then lets the last ones end by themselves.
fn rampage(world: &World, time: Duration) -> Result<Tally, Failure> {
    let (mut tally, begin) = (Tally::default(), Instant::now());
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(tally.start(world)?);
    }
    let mut yours = tally.start_yours(world)?;
    let mut shown = Instant::now();
    while begin.elapsed() < time {
        work(LONGEST_LIFE / WORKERS as u32);
        if !yours.is_alive() {
            tally.bury(yours, false)?;
            yours = tally.start_yours(world)?;
        }
        let victim = workers.swap_remove(below(WORKERS as u64) as usize);
        let is_yours = !victim.is_alive();
        victim.kill()?;
        victim.wait()?;
        tally.bury(victim, !is_yours)?;
        workers.push(tally.start(world)?);
        tally.receive(world)?;
        if shown.elapsed() > Duration::from_millis(500) {
            tally.show(world, begin)?;
            shown = Instant::now();
        }
    }
    world.stop.set();
    workers.push(yours);
    let end = Instant::now() + PATIENCE;
    for worker in workers {
        match worker.wait_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(status) if status.signal() == Some(9) => tally.bury(worker, false)?,
            Ok(_) => worker.join()?,
            Err(error) => return Err(Failure::Wrong(format!("a worker did not end: {error}"))),
        }
    }
    tally.receive(world)?;
    tally.show(world, begin)?;
    Ok(tally)
}

/// What must hold now that nobody is left.
fn audit(world: &World, tally: &Tally) -> Result<(), Failure> {
    let money: i64 = world.accounts.read(0..ACCOUNTS)?.iter().sum();
    must_hold(money == MONEY * ACCOUNTS as i64, "money was lost or made")?;
    must_hold(world.permits.available() == PERMITS, "a permit was lost or made")?;
    for life in 0..tally.lives {
        let (acknowledged, received) =
            (world.acknowledged.get(life)?, tally.last.get(&(life as u64)).copied().unwrap_or(0));
        // The last one may have been put by a process that was killed before it could say so.
        let is_complete = received == acknowledged || received == acknowledged + 1;
        must_hold(is_complete, "a message that was acknowledged is lost")?;
    }
    must_hold(tally.kills > 0 && tally.received > 0, "nothing happened")?;
    let yours =
        if tally.yours > 0 { format!(", {} of them killed by you", tally.yours) } else { String::new() };
    output::line(format_args!(
        "{money} in {ACCOUNTS} accounts, {PERMITS} permits, every message of {} lives{yours}: it adds up",
        tally.lives
    ))
}

//! A buffer of five between two producers and two consumers.
//!
//! The buffer is a [`Value`]: what is done under its guard happens all at once when the guard is dropped, or,
//! if the process is killed before, not at all. So whoever is killed here is replaced, and the other goes on
//! where it stopped.
//!
//! Two conditions say that the buffer has become less full, or less empty. They are notified under the guard.
//! After it, a process could be killed between the change and the notification, and nobody would learn of the
//! change.

use crate::check::must_hold;
use crate::workers::{Done, introduce, say};
use procession::bytemuck::{Pod, Zeroable};
use procession::{Condition, Process, ProcessError, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Two producers and two consumers share a buffer of five, by Condition; whoever is killed is replaced.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of 2 ms instead of 200.
    #[arg(long)]
    quick: bool,
}

const ROOM: usize = 5;
const PRODUCERS: usize = 2;
const CONSUMERS: usize = 2;
/// How many items each producer puts in.
const EACH: u32 = 5;
const ITEMS: usize = PRODUCERS * EACH as usize;

/// What is shared: plain data, the same bytes in every process.
#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "procession::bytemuck")]
#[repr(C)]
struct Buffer {
    /// The first `stored` are the items, the oldest first.
    items: [u32; ROOM],
    stored: u32,
    /// How many items each producer has put in.
    put: [u32; PRODUCERS],
    /// How often each item was taken out.
    taken: [u32; ITEMS],
    /// The most that were ever stored.
    most: u32,
}

impl Buffer {
    fn has_room(&self) -> bool {
        (self.stored as usize) < ROOM
    }

    /// The next item of this producer, if there is room for it.
    fn put(&mut self, producer: usize) -> u32 {
        let item = producer as u32 * EACH + self.put[producer];
        self.items[self.stored as usize] = item;
        self.stored += 1;
        self.put[producer] += 1;
        self.most = self.most.max(self.stored);
        item
    }

    /// The oldest item, if there is one.
    fn take(&mut self) -> u32 {
        let item = self.items[0];
        self.items.rotate_left(1);
        self.stored -= 1;
        self.taken[item as usize] += 1;
        item
    }

    fn all_taken(&self) -> bool {
        self.taken.iter().all(|&times| times > 0)
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Shared {
    buffer: Value<Buffer>,
    has_room: Condition,
    has_items: Condition,
    pause: Duration,
}

/// Runs in a process of its own.
fn produce((number, shared): (usize, Shared)) -> Done<()> {
    while shared.buffer.get()?.put[number] < EACH {
        let mut buffer = shared.has_room.wait_for(shared.buffer.acquire()?, Buffer::has_room)?;
        let item = buffer.put(number);
        say(format_args!("producer {}: puts {item}, {} of {ROOM} stored", number + 1, buffer.stored));
        shared.has_items.notify(1);
        drop(buffer);
        std::thread::sleep(shared.pause);
    }
    Ok(())
}

/// Runs in a process of its own.
fn consume((number, shared): (usize, Shared)) -> Done<()> {
    loop {
        let ready = |buffer: &Buffer| buffer.stored > 0 || buffer.all_taken();
        let mut buffer = shared.has_items.wait_for(shared.buffer.acquire()?, ready)?;
        if buffer.stored == 0 {
            return Ok(());
        }
        let item = buffer.take();
        say(format_args!("consumer {}: takes {item}, {} of {ROOM} stored", number + 1, buffer.stored));
        shared.has_room.notify(1);
        if buffer.all_taken() {
            shared.has_items.notify_all();
        }
        drop(buffer);
        // Slower than a producer, so that the buffer fills.
        std::thread::sleep(shared.pause * 2);
    }
}

#[derive(Clone, Copy)]
enum Role {
    Producer(usize),
    Consumer(usize),
}

fn start(role: Role, shared: &Shared) -> Result<Process<Done<()>>, Failure> {
    let builder = Process::options();
    Ok(match role {
        Role::Producer(number) => {
            builder.name(format!("producer-{}", number + 1)).spawn(produce, (number, shared.clone()))?
        }
        Role::Consumer(number) => {
            builder.name(format!("consumer-{}", number + 1)).spawn(consume, (number, shared.clone()))?
        }
    })
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let pause = Duration::from_millis(if args.quick { 2 } else { 200 });
    let (buffer, has_room, has_items) = (Value::new(Buffer::zeroed())?, Condition::new()?, Condition::new()?);
    let shared = Shared { buffer, has_room, has_items, pause };

    let mut roles: Vec<Role> =
        (0..PRODUCERS).map(Role::Producer).chain((0..CONSUMERS).map(Role::Consumer)).collect();
    let mut workers = roles.iter().map(|&role| start(role, &shared)).collect::<Result<Vec<_>, _>>()?;
    introduce(&workers)?;
    while !workers.is_empty() {
        let Some(index) = workers.iter().position(|worker| !worker.is_alive()) else {
            // Whether that one ends meanwhile or not, all are looked at again.
            drop(workers[0].wait_timeout(Duration::from_millis(5)));
            continue;
        };
        let (ended, role) = (workers.swap_remove(index), roles.swap_remove(index));
        match ended.join() {
            Err(error @ ProcessError::Killed { .. }) => {
                let again = start(role, &shared)?;
                output::line(format_args!("{error}; pid {} goes on", again.pid()))?;
                workers.push(again);
                roles.push(role);
            }
            ended => ended??,
        }
    }

    let buffer = shared.buffer.get()?;
    must_hold(buffer.most as usize <= ROOM, "more was stored than there is room for")?;
    must_hold(buffer.taken == [1; ITEMS], "an item was not taken exactly once")?;
    must_hold(buffer.stored == 0, "something is left")?;
    output::line(format_args!("{ITEMS} items, each taken once, at most {} stored: all right", buffer.most))
}

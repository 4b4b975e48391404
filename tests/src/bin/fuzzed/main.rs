//! A process that uses one object whose bytes are nonsense, again and again, until its time is up:
//! `fuzzed TARGET SEED SECONDS`. It says the seed of each round before it plays it. It ends by itself,
//! whatever the bytes were; whoever started it sees every other end, and the seed that led there.
//! `fuzzed TARGET SEED only` plays one round several times, `fuzzed TARGET SEED headers` all headers that are
//! wrong in one field, and `fuzzed list` names the targets. `fuzzed handshake SEED SECONDS` starts itself as
//! a child, with nonsense for a task.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "this is part of the tests")]

mod data;
mod gates;
mod hand;
mod handshakes;
mod headers;
mod locks;
mod messages;
mod permits;
mod registries;
mod spoil;
mod targets;

use hand::{Hand, Post, keep_watch};
use procession::Namespace;
use procession::shm::register_with_slots;
use procession_tests::Dice;
use procession_tests::raw;
use spoil::Bytes;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use targets::{Subject, Target};

/// How often a round is repeated that is to be looked at: threads do not meet in the same way each time.
const REPEATS: usize = 20;
/// How many slots the registry has: little, so that nonsense in it is met soon.
const SLOTS: u32 = 8;
/// In one round of so many, three threads are at it at once.
const CROWDS: u64 = 8;

/// The round that is being played.
static SEED: AtomicU64 = AtomicU64::new(0);

fn main() {
    procession::init();
    // It never outlives the test.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL).expect("a property of this process");
    let memory = 4 << 30;
    // What the bytes say is never how much memory is taken.
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, memory, memory).unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match *words {
        ["list"] => targets::ALL.iter().for_each(|target| say(target.name)),
        ["handshake", seed, seconds] => handshakes::play(seed.parse().unwrap(), seconds),
        [name, seed, how] => {
            let target = targets::ALL.iter().find(|target| target.name == name).expect("a target");
            die_of_panics();
            play(target, seed.parse().expect("a seed"), how);
        }
        _ => panic!("fuzzed TARGET SEED SECONDS"),
    }
}

fn play(target: &Target, seed: u64, how: &str) {
    let namespace = Namespace::current().unwrap();
    let me = register_with_slots(&namespace, SLOTS).unwrap().owner().unwrap();
    let subject = (target.create)(&namespace).unwrap();
    let bytes = Bytes::of(&namespace, target.file, me);
    let stage = Stage { namespace: &namespace, subject: &*subject, bytes: &bytes };
    std::thread::scope(|scope| {
        let watching = keep_watch(scope, &bytes);
        match how {
            "headers" => headers::play(target, &namespace, &bytes),
            "only" => (0..REPEATS).for_each(|_| round(&stage, seed)),
            seconds => {
                let end = Instant::now() + Duration::from_secs_f64(seconds.parse().expect("seconds"));
                (0..target.rounds).take_while(|_| Instant::now() < end).for_each(|index| {
                    round(&stage, seed.wrapping_add(index));
                });
            }
        }
        watching.end();
    });
    if how == "headers" {
        // What has the name now is a copy.
        std::fs::remove_file(raw::path(&namespace, target.file)).unwrap();
    } else {
        bytes.restore();
        subject.unlink();
    }
}

/// What a round is played with.
struct Stage<'a> {
    namespace: &'a Namespace,
    subject: &'a dyn Subject,
    bytes: &'a Bytes,
}

/// A fresh object, some nonsense, some operations.
fn round(stage: &Stage<'_>, seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    say(&seed.to_string());
    let mut dice = Dice::new(seed);
    stage.bytes.restore();
    let crowd = dice.below(CROWDS) == 0;
    // Where the bytes may name the living, a call without a timeout may wait for them.
    let living = crowd || dice.below(3) == 0;
    let hand = |post, dice| Hand::new(stage.namespace, stage.bytes, post, dice, living);
    if !crowd {
        let mut hand = hand(Post::First, dice);
        for _ in 0..=hand.pick(4) {
            hand.spoil();
            stage.subject.operate(&mut hand);
            hand.rest();
        }
        return;
    }
    let seeds = [dice.below(u64::MAX), dice.below(u64::MAX)];
    std::thread::scope(|scope| {
        let operators = [Post::First, Post::Second].into_iter().zip(seeds).map(|(post, seed)| {
            let mut hand = hand(post, Dice::new(seed));
            scope.spawn(move || {
                for _ in 0..4 {
                    stage.subject.operate(&mut hand);
                    hand.rest();
                }
            })
        });
        let operators: Vec<_> = operators.collect();
        while !operators.iter().all(|operator| operator.is_finished()) {
            stage.bytes.spoil(&mut dice, true);
            std::thread::sleep(Duration::from_micros(dice.below(500)));
        }
    });
}

/// A panic in any thread is the end, and says in which round it was.
fn die_of_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        give_up("a panic");
    }));
}

/// Ends the process and says why.
fn give_up(why: &str) -> ! {
    let seed = SEED.load(Ordering::Relaxed);
    drop(writeln!(std::io::stderr(), "fuzzed: {why}; seed {seed}, {}", hand::describe()));
    std::process::abort()
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    if said.is_err() {
        // The test is gone.
        std::process::exit(2);
    }
}

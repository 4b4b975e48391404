//! Many processes do random things to shared locks and queues, and are killed at random instants; the laws hold.
//!
//! `PROCESSION_CHAOS_SECONDS` (20) says for how long, `PROCESSION_CHAOS_SEED` repeats the choices of an earlier run
//! (not the instants: those are the kernel's), `PROCESSION_CHAOS_ACTORS` says how many at a time.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procession::{GetError, Lock, LockError, Namespace, Queue};
use procession_sys::clock;
use procession_tests::witness::{BROKEN, DOING, Diary, Dice, Pair, Table, padding, unpack};
use procession_tests::{Scratch, note, program};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Most processes that there are one after the other, for each second: several times more than die.
const PER_SECOND: u64 = 500;

type Message = (u64, Vec<u8>);

struct Chaos {
    diaries: Table<Diary>,
    pairs: Table<Pair>,
    files: [PathBuf; 2],
    namespace: Namespace,
    dice: Dice,
    running: Vec<(usize, Child)>,
    born: usize,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    stopped_first: u64,
    /// By what the victim was doing.
    while_doing: BTreeMap<&'static str, u64>,
    /// Killed before it had begun: registering, opening.
    at_birth: u64,
    operations: u64,
    recoveries: u64,
    worst_ns: u64,
}

fn number_from_environment(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).ok().map_or_else(default, |text| text.parse().unwrap())
}

#[test]
fn random_kills_break_no_law() {
    let seconds = number_from_environment("PROCESSION_CHAOS_SECONDS", || 20);
    let seed = number_from_environment("PROCESSION_CHAOS_SEED", clock::wall_ns);
    let mut dice = Dice::new(seed);
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    let count = number_from_environment("PROCESSION_CHAOS_ACTORS", || 2 * cpus + dice.below(6 * cpus + 1));
    note(&format!("chaos: PROCESSION_CHAOS_SEED={seed} PROCESSION_CHAOS_ACTORS={count}, {seconds} s"));

    let incarnations = (count + 2 + seconds * PER_SECOND) as usize;
    let scratch = Scratch::for_seconds(seconds + 60);
    let place = tempfile::tempdir().unwrap();
    let files = [place.path().join("diaries"), place.path().join("pairs")];
    let locks = ["l0", "l1"].map(|name| Lock::options().namespace(&scratch).create(name).unwrap());
    let queue =
        |bytes, capacity| Queue::<Message>::options().namespace(&scratch).bytes(bytes).capacity(capacity);
    let queues = [queue(2048, 0).create("q0").unwrap(), queue(65536, 9).create("q1").unwrap()];
    let mut chaos = Chaos {
        diaries: Table::map(&files[0], incarnations),
        pairs: Table::map(&files[1], 3),
        files,
        namespace: scratch.clone(),
        dice,
        running: Vec::new(),
        born: 0,
        tally: Tally::default(),
    };
    for _ in 0..count {
        chaos.give_birth();
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end && chaos.born < incarnations {
        chaos.kill_somebody();
    }
    chaos.let_them_finish();
    chaos.check_locks(&locks);
    chaos.check_queues(&queues);
    note(&format!("chaos: {} processes, {:#?}", chaos.born, chaos.tally));
    assert!(seconds < 5 || (chaos.tally.kills > 100 && chaos.tally.recoveries > 0), "too little happened");
    locks.iter().for_each(|lock| lock.unlink().unwrap());
    queues.iter().for_each(|queue| queue.unlink().unwrap());
}

impl Chaos {
    fn give_birth(&mut self) {
        let me = self.born;
        self.born += 1;
        let mut command = Command::new(program("chaos_actor"));
        command.args(&self.files).arg(me.to_string()).arg(self.dice.below(u64::MAX).to_string());
        command.env("PROCESSION_NAMESPACE", self.namespace.name());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.running.push((me, command.spawn().unwrap()));
    }

    /// After a while between 1 µs and 100 ms, most of them short.
    fn kill_somebody(&mut self) {
        let exponent = self.dice.below(1000) as f64 / 1000.0 * 5.0;
        wait(Duration::from_nanos((1000.0 * 10_f64.powf(exponent)) as u64));
        // Now and then the youngest, who may still be registering.
        let youngest = self.running.len() - 1;
        let index = if self.dice.below(6) == 0 {
            youngest
        } else {
            self.dice.below(self.running.len() as u64) as usize
        };
        let (me, mut victim) = self.running.remove(index);
        let pid = Pid::from_raw(victim.id().cast_signed());
        match self.dice.below(8) {
            0 => {
                kill(pid, Signal::SIGSTOP).unwrap();
                wait(Duration::from_micros(self.dice.below(5000)));
                self.tally.stopped_first += 1;
            }
            1 => {
                kill(pid, Signal::SIGSTOP).unwrap();
                wait(Duration::from_micros(self.dice.below(20_000)));
                kill(pid, Signal::SIGCONT).unwrap();
                wait(Duration::from_micros(self.dice.below(100)));
                self.tally.stopped_first += 1;
            }
            _ => {}
        }
        kill(pid, Signal::SIGKILL).unwrap();
        let status = victim.wait().unwrap();
        self.bury(me, status.signal() == Some(libc::SIGKILL));
        assert!(status.success() || status.signal() == Some(libc::SIGKILL), "{me}: {status:?}");
        self.give_birth();
    }

    /// Reads the diary of the dead.
    fn bury(&mut self, me: usize, was_killed: bool) {
        let diary = &self.diaries[me];
        let broken = diary.broken.load(Relaxed) as usize;
        assert_eq!(broken, 0, "process {me} saw a law broken: {}", BROKEN[broken]);
        if was_killed {
            self.tally.kills += 1;
            let doing = DOING[diary.doing.load(Relaxed) as usize];
            *self.tally.while_doing.entry(doing).or_default() += 1;
            if diary.since_ns.load(Relaxed) == 0 {
                self.tally.at_birth += 1;
            }
        }
        self.tally.operations += u64::from(diary.done.load(Relaxed));
        self.tally.recoveries += diary.recovered.load(Relaxed);
        self.tally.worst_ns = self.tally.worst_ns.max(diary.worst_ns.load(Relaxed));
    }

    /// Those who are left end by themselves; whoever is stuck meets the watchdog.
    fn let_them_finish(&mut self) {
        self.pairs[2].first.store(1, Relaxed);
        for (me, mut child) in std::mem::take(&mut self.running) {
            let status = child.wait().unwrap();
            assert!(status.success(), "{me}: {status:?}");
            self.bury(me, false);
            assert_eq!(self.diaries[me].ended.load(Relaxed), 1);
        }
    }

    fn check_locks(&self, locks: &[Lock; 2]) {
        for (lock, which) in locks.iter().zip(0..) {
            let died = match lock.acquire() {
                Ok(_) => false,
                Err(LockError::OwnerDied { .. }) => lock.recover().unwrap().recovers(),
                Err(error) => panic!("{error}"),
            };
            let pair = &self.pairs[which];
            let same = pair.first.load(Relaxed) == pair.second.load(Relaxed);
            assert!(same || died, "the words of lock {which} differ, and nobody died holding it");
            assert!(lock.try_acquire().is_ok());
        }
    }

    fn check_queues(&self, queues: &[Queue<Message>; 2]) {
        let mut found: [BTreeMap<usize, BTreeSet<u64>>; 2] = Default::default();
        for me in 0..self.born {
            let diary = &self.diaries[me];
            let mut last: BTreeMap<(usize, usize), u64> = BTreeMap::new();
            for index in 0..diary.got.load(Relaxed) as usize {
                let (queue, producer, number) = unpack(diary.log[index].load(Relaxed));
                let before = last.insert((queue, producer), number);
                assert!(before.is_none_or(|before| before < number), "{me} got {number} of {producer} late");
                let fresh = found[queue].entry(producer).or_default().insert(number);
                assert!(fresh, "message {number} of {producer} was got twice");
            }
        }
        let mut lost = 0;
        for (queue, which) in queues.iter().zip(0..) {
            drain(queue, which, &mut found[which]);
            lost += self.missing(which, &found[which]);
        }
        let taken_along = self.tally.while_doing.get("getting").copied().unwrap_or(0);
        assert!(lost <= taken_along, "{lost} messages are lost, and {taken_along} were killed while getting");
        note(&format!("chaos: {lost} messages went with their consumers"));
    }

    /// How many acknowledged messages nobody got.
    fn missing(&self, which: usize, found: &BTreeMap<usize, BTreeSet<u64>>) -> u64 {
        let nothing = BTreeSet::new();
        let missing = |producer: usize| {
            let acknowledged = self.diaries[producer].put[which].load(Relaxed);
            let got = found.get(&producer).unwrap_or(&nothing);
            // One more may be there: put, and its producer killed before it could say so.
            assert!(got.iter().all(|&number| number <= acknowledged), "{producer} never put this");
            (0..acknowledged).filter(|number| !got.contains(number)).count() as u64
        };
        (0..self.born).map(missing).sum()
    }
}

/// What is still in the queue comes after everything that was got, and in order.
fn drain(queue: &Queue<Message>, which: usize, found: &mut BTreeMap<usize, BTreeSet<u64>>) {
    let mut left = queue.len();
    loop {
        match queue.try_get() {
            Ok((word, bytes)) => {
                assert_eq!(bytes, padding(word));
                let (queue, producer, number) = unpack(word);
                assert_eq!(queue, which);
                let got = found.entry(producer).or_default();
                assert!(
                    got.last().is_none_or(|&last| last < number),
                    "{number} of {producer} is left behind"
                );
                got.insert(number);
                left -= 1;
            }
            Err(GetError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(left, 0, "len() was wrong");
}

/// Sleeping is too coarse for the shortest.
fn wait(time: Duration) {
    let end = Instant::now() + time;
    if time > Duration::from_micros(200) {
        std::thread::sleep(time);
    }
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// The files are where they are looked for.
#[test]
fn the_programs_are_built() {
    for name in ["actor", "chaos_actor"] {
        assert!(Path::new(&program(name)).exists(), "{name}");
    }
}

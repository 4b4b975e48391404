//! Many processes do random things to shared objects of every kind, and are killed, stopped and replaced at
//! random instants, one of them with 32 threads, of which some end while they hold a lock; some processes
//! fork, and some execute another program, while they hold one; some inherit odd states of signals, and
//! signals interrupt them. The laws hold: each is one file of `procession_tests::chaos`.
//!
//! `PROCESSION_CHAOS_SECONDS` (20) says for how long, `PROCESSION_CHAOS_SEED` repeats the choices of an
//! earlier run (not the instants: those are the kernel's), `PROCESSION_CHAOS_ACTORS` says how many at a time.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use procession::blocked_in;
use procession::shm::register;
use procession_sys::{clock, pidfd};
use procession_tests::Dice;
use procession_tests::chaos::{DOING, Diary, End, Laws, Place, SEVERAL, Table};
use procession_tests::{Scratch, note, program};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

/// Most participants that there are one after the other, for each second: several times more than die.
const PER_SECOND: u64 = 1500;
/// How long those who are left may take to end.
const PATIENCE: Duration = Duration::from_secs(45);

/// What a process is, and how many participants it can become.
const ROLES: [(&str, usize); 4] = [("crowd", 32), ("one", 1), ("forks", 9), ("execs", 5)];
const CROWD: usize = 0;
/// What takes long because one waits meanwhile begins with these words.
const WAITING: [&str; 8] = [
    "waiting",
    "acquiring",
    "storing",
    "fetching",
    "getting",
    "reading",
    "receiving",
    "inside a lock, forking",
];
/// Where a death matters most: who does this has what others wait for, or puts right what a dead one left.
/// Half of the kills look for one of these, each kind as often as the others.
const INSIDE: [&[&str]; 7] = [
    &[
        "inside a lock",
        "inside a lock, reading",
        "inside a lock, executing",
        "holding permits",
        "in the bank",
    ],
    &["recovering a lock", "repairing the bank"],
    &["initialising in a once"],
    &["a member of a barrier", "doing a job", "finishing a job"],
    &["updating a value", "updating an array", "counting in the ledger"],
    &["taking", "taking an end", "using an end"],
    &["making a pool", "using a pool"],
];
/// What a process may find its signals like, as another program left them: `env` of the GNU core utilities
/// does so.
const SIGNALS: [&[&str]; 6] = [
    &[],
    &[],
    &[],
    &["--ignore-signal=CHLD"],
    &["--block-signal"],
    &["--ignore-signal", "--block-signal=USR1"],
];
/// For how long one is looked for, at most.
const AIMING: Duration = Duration::from_millis(5);

struct Chaos {
    // First, so that they are dead before what they use is removed.
    running: Vec<Running>,
    place: Place,
    directory: PathBuf,
    scratch: Scratch,
    laws: Laws,
    diaries: Table<Diary>,
    room: usize,
    dice: Dice,
    born: usize,
    tally: Tally,
}

struct Running {
    child: Child,
    role: usize,
    first: usize,
    /// How many more are killed before it goes on; 0 if it is not stopped.
    stopped: u64,
}

#[derive(Debug, Default)]
struct Tally {
    processes: u64,
    kills: u64,
    kills_of_crowds: u64,
    /// Kills of those who were inside something, and of those one had looked for.
    kills_inside: u64,
    kills_by_aim: u64,
    killed_while_stopped: u64,
    stops: u64,
    interrupted: u64,
    /// By what the victim was doing, a thread each.
    killed_while: BTreeMap<&'static str, u64>,
    /// Killed before it had begun: registering, opening.
    at_birth: u64,
    forked: u64,
    executed: u64,
    operations: u64,
    recoveries: u64,
    longest_ms: BTreeMap<&'static str, f64>,
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

    // Children of the killed become ours, and are buried.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let scratch = Scratch::for_seconds(seconds + 100);
    let directory = tempfile::tempdir().unwrap();
    let place = Place::new(directory.path(), &scratch);
    let room = ((count + 2 + seconds) * PER_SECOND) as usize;
    let mut chaos = Chaos {
        laws: Laws::new(&place),
        diaries: place.table("diaries", room),
        place,
        directory: directory.path().to_owned(),
        scratch,
        room,
        dice,
        running: Vec::new(),
        born: 0,
        tally: Tally::default(),
    };
    chaos.laws.all().for_each(|law| law.tend());
    chaos.give_birth(CROWD);
    while (chaos.running.len() as u64) < count.max(2) {
        chaos.give_birth_to_any();
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        chaos.laws.all().for_each(|law| law.tend());
        chaos.wake_the_stopped();
        chaos.strike();
        chaos.bury_orphans();
    }
    chaos.let_them_finish();
    chaos.check();
    chaos.laws.all().for_each(|law| law.unlink());
    let tally = &chaos.tally;
    assert!(seconds < 5 || (tally.kills > 100 && tally.recoveries > 0), "too little happened");
    assert!(seconds < 5 || tally.kills_inside > tally.kills / 5, "too few were killed inside something");
}

impl Chaos {
    fn give_birth_to_any(&mut self) {
        // Mostly of one thread; never a second crowd.
        let role = [1, 1, 1, 1, 2, 3][self.dice.below(6) as usize];
        self.give_birth(role);
    }

    fn give_birth(&mut self, role: usize) {
        let (name, own) = ROLES[role];
        let first = self.born;
        self.born += own;
        assert!(self.born <= self.room, "more are born than anybody thought");
        let mut command = Command::new("env");
        command.args(SIGNALS[self.dice.below(SIGNALS.len() as u64) as usize]).arg(program("chaos_actor"));
        command.arg(&self.directory).args([self.room, first, own, 0].map(|number| number.to_string()));
        command.arg(name).arg(self.dice.below(u64::MAX).to_string());
        command.env("PROCESSION_NAMESPACE", self.scratch.name());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.running.push(Running { child: command.spawn().unwrap(), role, first, stopped: 0 });
        self.tally.processes += 1;
    }

    /// After a while between 1 µs and 100 ms, most of them short: kills somebody, or stops somebody.
    fn strike(&mut self) {
        let exponent = self.dice.below(1000) as f64 / 1000.0 * 5.0;
        wait(Duration::from_nanos((1000.0 * 10_f64.powf(exponent)) as u64));
        if self.dice.below(2) == 0 && self.aim() {
            return;
        }
        if self.dice.below(4) == 0 {
            return self.interrupt();
        }
        let index = self.choose();
        // A crowd takes long to get going.
        let is_spared = self.running[index].role == CROWD && self.dice.below(4) != 0;
        let chance = self.dice.below(8);
        if is_spared || chance == 0 {
            let stopped = 1 + self.dice.below(8);
            let victim = &mut self.running[index];
            victim.signal(Signal::SIGSTOP);
            victim.stopped = stopped;
            self.tally.stops += 1;
            return;
        }
        let victim = self.running.remove(index);
        if chance == 1 {
            // As close to each other as can be.
            victim.signal(Signal::SIGSTOP);
            wait(Duration::from_micros(self.dice.below(5000)));
            victim.signal(Signal::SIGCONT);
            wait(Duration::from_micros(self.dice.below(100)));
        }
        victim.signal(Signal::SIGKILL);
        self.tally.killed_while_stopped += u64::from(victim.stopped > 0);
        self.bury(victim);
    }

    /// Some real-time signals for somebody who has begun to listen to them; whoever executes another program
    /// does not for a moment.
    fn interrupt(&mut self) {
        let index = self.dice.below(self.running.len() as u64) as usize;
        let one = &self.running[index];
        if ROLES[one.role].0 == "execs" || self.does(one).next().is_none() {
            return;
        }
        let Ok(process) = pidfd::open(one.child.id()) else { return };
        for _ in 0..1 + self.dice.below(4) {
            let kind = self.dice.below((libc::SIGRTMAX() - libc::SIGRTMIN() + 1) as u64) as i32;
            pidfd::send_signal(&process, libc::SIGRTMIN() + kind).unwrap();
            self.tally.interrupted += 1;
        }
    }

    /// Looks for one that says that it is inside something that is wanted, stops it, and kills it if it still
    /// is. Whether there was one.
    fn aim(&mut self) -> bool {
        let wanted = INSIDE[self.dice.below(INSIDE.len() as u64) as usize];
        let spares_crowds = self.dice.below(4) != 0;
        let end = Instant::now() + AIMING;
        while Instant::now() < end {
            let count = self.running.len();
            let start = self.dice.below(count as u64) as usize;
            let is_wanted = |&index: &usize| {
                let one = &self.running[index];
                one.stopped == 0
                    && !(spares_crowds && one.role == CROWD)
                    && self.does(one).any(|doing| wanted.contains(&doing))
            };
            let Some(index) = (0..count).map(|step| (start + step) % count).find(is_wanted) else {
                // They need the processors to get anywhere.
                std::thread::sleep(AIMING / 50);
                continue;
            };
            let one = &self.running[index];
            one.signal(Signal::SIGSTOP);
            one.stands_still();
            if self.is_inside(one) {
                self.kill_the_stopped(index);
                return true;
            }
            one.signal(Signal::SIGCONT);
        }
        false
    }

    /// Most of them where they stand.
    fn kill_the_stopped(&mut self, index: usize) {
        let victim = self.running.remove(index);
        if self.dice.below(4) == 0 {
            victim.signal(Signal::SIGCONT);
            wait(Duration::from_nanos(self.dice.below(2000)));
        }
        victim.signal(Signal::SIGKILL);
        self.tally.kills_by_aim += 1;
        self.bury(victim);
    }

    /// What each of its threads says it is doing.
    fn does(&self, one: &Running) -> impl Iterator<Item = &'static str> {
        let begun = |me: &usize| self.diaries[*me].since_ns.load(Relaxed) != 0;
        let alive = move |me: &usize| self.diaries[*me].is_dead.load(Relaxed) == 0;
        let own = one.first..one.first + ROLES[one.role].1;
        own.filter(begun).filter(alive).map(|me| self.diaries[me].doing())
    }

    fn is_inside(&self, one: &Running) -> bool {
        self.does(one).any(|doing| INSIDE.iter().any(|kind| kind.contains(&doing)))
    }

    /// Now and then the youngest, who may still be registering; often one that does not just wait.
    fn choose(&mut self) -> usize {
        let count = self.running.len() as u64;
        if self.dice.below(6) == 0 {
            return self.running.len() - 1;
        }
        let mut index = self.dice.below(count) as usize;
        for _ in 0..self.dice.below(8) {
            if self.is_busy(&self.running[index]) {
                break;
            }
            index = self.dice.below(count) as usize;
        }
        index
    }

    fn is_busy(&self, one: &Running) -> bool {
        self.does(one)
            .any(|doing| doing != "between" && !WAITING.iter().any(|waiting| doing.starts_with(waiting)))
    }

    fn wake_the_stopped(&mut self) {
        for one in self.running.iter_mut().filter(|one| one.stopped > 0) {
            one.stopped -= 1;
            if one.stopped == 0 {
                one.signal(Signal::SIGCONT);
            }
        }
    }

    /// Takes the statuses of those whose parents were killed: the workers of an actor's pool, most of all.
    fn bury_orphans(&self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(pid) = waitid(Id::All, flags).ok().and_then(|status| status.pid())
            && !self.running.iter().any(|one| one.child.id() == pid.as_raw().unsigned_abs())
        {
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }

    /// Waits for the end of a process, reads its diaries, and starts another.
    fn bury(&mut self, mut one: Running) {
        let status = one.child.wait().unwrap();
        self.tally.kills_inside += u64::from(self.is_inside(&one));
        self.read_diaries(&one, status);
        if one.role == CROWD {
            self.tally.kills_of_crowds += 1;
            self.give_birth(CROWD);
        } else {
            self.give_birth_to_any();
        }
    }

    fn read_diaries(&mut self, one: &Running, status: ExitStatus) {
        let was_killed = status.signal() == Some(libc::SIGKILL);
        let own = one.first..one.first + ROLES[one.role].1;
        let used = own.clone().filter(|&me| self.diaries[me].since_ns.load(Relaxed) != 0).count();
        self.tally.kills += u64::from(was_killed);
        self.tally.at_birth += u64::from(was_killed && used == 0);
        match ROLES[one.role].0 {
            "forks" => self.tally.forked += used.saturating_sub(1) as u64,
            "execs" => self.tally.executed += used.saturating_sub(1) as u64,
            _ => {}
        }
        for me in own {
            let diary = &self.diaries[me];
            if diary.since_ns.load(Relaxed) == 0 && diary.pid.load(SeqCst) == 0 {
                continue;
            }
            if diary.is_dead.load(SeqCst) == 0 {
                let pid = diary.pid.load(SeqCst);
                if pid != 0 {
                    // The child of one that was killed dies with it, and has become ours, unless it had ended
                    // before.
                    let reaped = waitpid(Pid::from_raw(pid.cast_signed()), None);
                    assert!(matches!(reaped, Ok(_) | Err(Errno::ECHILD)), "{me}: {reaped:?}");
                }
                diary.is_dead.store(1, SeqCst);
                if was_killed && diary.since_ns.load(Relaxed) != 0 && diary.has_ended.load(Relaxed) == 0 {
                    *self.tally.killed_while.entry(diary.doing()).or_default() += 1;
                }
            }
            self.tally.add(diary);
            if let Some(law) = diary.broken() {
                panic!("participant {me}, {}: {law}", ROLES[one.role].0);
            }
        }
        assert!(status.success() || was_killed, "{} {}: {status:?}", ROLES[one.role].0, one.first);
    }

    /// Those who are left end by themselves.
    fn let_them_finish(&mut self) {
        self.place.end();
        self.running.iter().filter(|one| one.stopped > 0).for_each(|one| one.signal(Signal::SIGCONT));
        let give_up = Instant::now() + PATIENCE;
        while !self.running.is_empty() {
            self.laws.all().for_each(|law| law.release());
            std::thread::sleep(Duration::from_millis(1));
            for index in (0..self.running.len()).rev() {
                if let Some(status) = self.running[index].child.try_wait().unwrap() {
                    let one = self.running.swap_remove(index);
                    self.read_diaries(&one, status);
                }
            }
            assert!(Instant::now() < give_up, "these do not end:\n{}", self.describe_the_running());
        }
        // Forked children that had not begun when their parents were killed.
        while waitpid(None, None).is_ok() {}
    }

    fn describe_the_running(&self) -> String {
        let mut text = String::new();
        for one in &self.running {
            for me in one.first..one.first + ROLES[one.role].1 {
                let diary = &self.diaries[me];
                let since = clock::now_ns().saturating_sub(diary.since_ns.load(Relaxed)) / 1_000_000;
                if diary.since_ns.load(Relaxed) != 0 && diary.has_ended.load(Relaxed) == 0 {
                    let (role, pid) = (ROLES[one.role].0, one.child.id());
                    text += &format!("{me} ({role}, pid {pid}) for {since} ms: {}\n", diary.doing());
                }
            }
        }
        text + &format!("{:#?}", blocked_in(&self.scratch))
    }

    fn check(&self) {
        let killed = |what| self.tally.killed_while.get(what).copied().unwrap_or(0);
        let in_dead_hands = killed("getting") + SEVERAL as u64 * killed("getting several");
        let end = End { diaries: &self.diaries, count: self.born, in_dead_hands };
        self.laws.all().for_each(|law| law.check(&end));
        // Nobody is registered but this test, and nobody waits.
        let alive = register(&self.scratch).unwrap().participants();
        assert!(alive.iter().all(|one| one.pid == std::process::id()), "{alive:?}");
        let blocked = blocked_in(&self.scratch).unwrap();
        assert!(blocked.is_empty(), "{blocked:?}");
        note(&format!("chaos: {} participants, {:#.1?}", self.born, self.tally));
    }
}

impl Running {
    /// Returns once it has been stopped. Its end is left to whoever buries it.
    fn stands_still(&self) {
        let pid = Id::Pid(Pid::from_raw(self.child.id().cast_signed()));
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(pid, flags).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Tally {
    fn add(&mut self, diary: &Diary) {
        self.operations += u64::from(diary.done.load(Relaxed));
        self.recoveries += diary.recovered.load(Relaxed);
        for (what, worst) in DOING.iter().zip(&diary.worst_ns) {
            let longest = self.longest_ms.entry(what).or_default();
            *longest = longest.max(worst.load(Relaxed) as f64 / 1e6);
        }
    }
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

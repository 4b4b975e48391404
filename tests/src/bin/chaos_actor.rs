//! One process of the chaos test: random steps until it is killed or told to stop.
//!
//! Arguments: the directory of witnesses, how many diaries there are, the first of its own, how many are its
//! own, how many of these are used already, its role, its seed. Roles: `one` thread; a `crowd` of as many
//! threads as it has diaries; `forks` and `execs` do that while they hold a lock, and each child or next
//! program has the next diary.
#![expect(unsafe_code, reason = "fork, signal handlers and closing what others opened")]
#![expect(clippy::expect_used, reason = "this is part of the tests: what fails here fails a test")]

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};
use procession::Namespace;
use procession_tests::Dice;
use procession_tests::chaos::{Diary, Laws, Participant, Place, Table};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// One step in so many forks, or executes, or is the last of its thread, which then ends inside a lock.
const SELDOM: u64 = 60;
/// How many steps a forked child does at most.
const STEPS_OF_A_CHILD: u64 = 10;

struct Actor {
    arguments: Vec<String>,
    place: Place,
    laws: Laws,
    diaries: Table<Diary>,
    /// Its first diary, how many there are, and how many are used.
    first: usize,
    own: usize,
    used: AtomicUsize,
    seed: u64,
    forks: bool,
}

fn main() {
    // A worker of an actor's pool goes no further.
    procession::init();
    die_with_the_parent();
    listen();
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize| arguments[index].parse::<usize>().expect("a number");
    let place =
        Place::new(Path::new(&arguments[1]), &Namespace::current().expect("a namespace in the environment"));
    let diaries = place.table::<Diary>("diaries", number(2));
    let (first, own, used) = (number(3), number(4), number(5));
    // Who this was before it executed this program.
    (first..first + used).for_each(|before| diaries[before].is_dead.store(1, SeqCst));
    let seed = arguments[7].parse().expect("a seed");
    let role = arguments[6].clone();
    let laws = Laws::new(&place);
    let actor = Actor {
        arguments,
        place,
        laws,
        diaries,
        first,
        own,
        used: used.into(),
        seed,
        forks: role == "forks",
    };
    match role.as_str() {
        "crowd" => actor.crowd(),
        "forks" => actor.one(Actor::fork),
        "execs" => actor.one(Actor::execute),
        _ => actor.one(|_, _| {}),
    }
}

/// No process outlives the test, nor a forked child its parent.
fn die_with_the_parent() {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL).expect("a property of this process");
}

/// Real-time signals interrupt this process in the middle of anything, and change nothing.
fn listen() {
    extern "C" fn hear(_: i32) {}
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // SAFETY: all zero is a signal action without flags, so that every system call is interrupted.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = hear as extern "C" fn(i32) as usize;
        // SAFETY: the handler does nothing, which may be done at any time.
        let done = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        assert_eq!(done, 0, "a handler for {signal}");
    }
}

impl Actor {
    fn crowd(&self) {
        std::thread::scope(|scope| {
            for me in self.first..self.first + self.own {
                scope.spawn(move || {
                    let mut who = self.participant(me);
                    while self.goes_on(&who) {
                        // One thread after the other, of which some end while they hold a lock.
                        std::thread::scope(|inner| drop(inner.spawn(|| self.until_it_ends(&mut who)).join()));
                    }
                    who.diary().has_ended.store(1, Relaxed);
                });
            }
        });
    }

    fn until_it_ends(&self, who: &mut Participant<'_>) {
        who.does("between");
        while self.goes_on(who) {
            self.laws.step(who);
            if who.dice.below(SELDOM) == 0 && self.laws.exclusion.end_inside(who) {
                return;
            }
        }
    }

    fn one(&self, seldom: impl Fn(&Self, &mut Participant<'_>)) {
        let me = self.first + self.used.fetch_add(1, Relaxed);
        let mut who = self.participant(me);
        while self.goes_on(&who) {
            self.laws.step(&mut who);
            if who.dice.below(SELDOM) == 0 && self.next().is_some() {
                seldom(self, &mut who);
                who.does("between");
            }
        }
        who.diary().has_ended.store(1, Relaxed);
    }

    fn participant(&self, me: usize) -> Participant<'_> {
        let dice = Dice::new(self.seed ^ (me as u64) << 32);
        let who = Participant { me, diaries: &self.diaries, dice, may_start_threads: !self.forks };
        who.does("between");
        who
    }

    fn goes_on(&self, who: &Participant<'_>) -> bool {
        !self.place.is_over() && who.diary().has_room()
    }

    /// The next of its own diaries that nobody has used.
    fn next(&self) -> Option<usize> {
        let used = self.used.load(Relaxed);
        (used < self.own).then_some(self.first + used)
    }

    fn fork(&self, who: &mut Participant<'_>) {
        let Some(next) = self.next() else { return };
        let (parent, me) = (Pid::this(), who.me);
        let diaries = &self.diaries;
        let closes = who.dice.below(2) == 0;
        let fork = || {
            // SAFETY: this is the only thread, so nobody else holds a lock of the C library or the allocator.
            let child = unsafe { libc::syscall(libc::SYS_fork) } as i32;
            assert!(child >= 0, "fork");
            self.used.fetch_add(1, Relaxed);
            if child != 0 {
                diaries[next].pid.store(child.cast_unsigned(), SeqCst);
                let status = loop {
                    match waitpid(Pid::from_raw(child), None) {
                        Err(Errno::EINTR) => {}
                        status => break status,
                    }
                };
                diaries[next].is_dead.store(1, SeqCst);
                // Where SIGCHLD is ignored, nobody learns more.
                let is_well = matches!(status, Ok(WaitStatus::Exited(_, 0)) | Err(Errno::ECHILD));
                assert!(is_well, "the child of {me}: {status:?}");
                return false;
            }
            die_with_the_parent();
            diaries[next].pid.store(std::process::id(), SeqCst);
            if getppid() != parent {
                end_here();
            }
            if closes {
                // As daemons do. SAFETY: nothing of this program's own that is open is used any more.
                unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
            }
            true
        };
        if self.laws.exclusion.fork_inside(who, fork, || getppid() != parent) {
            let mut who = self.participant(next);
            for _ in 0..who.dice.below(STEPS_OF_A_CHILD) {
                self.laws.step_elsewhere(&mut who);
            }
            who.diary().has_ended.store(1, Relaxed);
            end_here();
        }
    }

    fn execute(&self, who: &mut Participant<'_>) {
        let seed = who.dice.below(u64::MAX);
        self.laws.exclusion.execute_inside(who, || {
            let mut again = Command::new("/proc/self/exe");
            again
                .args(&self.arguments[1..5])
                .arg(self.used.load(Relaxed).to_string())
                .arg("execs")
                .arg(seed.to_string());
            panic!("exec: {}", again.exec());
        });
    }
}

/// Ends this process without running anything of its parent's.
fn end_here() -> ! {
    // SAFETY: it does nothing but end the process.
    unsafe { libc::_exit(0) }
}

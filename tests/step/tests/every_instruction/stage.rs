//! One play of a scene: its processes, and the single-stepping of one of them to its death.
#![expect(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "forks, which is sound because this program has one thread; traps; looks at instructions"
)]

use crate::watchdog;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::ptrace::{self, AddressType, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use procession_sync::Lock;
use std::arch::asm;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// When the victim is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// After so many instructions, or at the end of the operation if that comes first.
    After(usize),
    /// Inside the system call that is the so-manieth, from 0, to block.
    Asleep(usize),
}

/// What the victim did until it died.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The addresses of the instructions that it executed, and of the one before which, or in which, it died.
    pub(crate) path: Vec<u64>,
    /// How many of its system calls blocked.
    pub(crate) blocked: usize,
    /// Whether it came to the end of the operation.
    pub(crate) finished: bool,
    /// When it was killed.
    pub(crate) killed: Option<Instant>,
}

/// Where one play takes place. What is left of its processes dies with it.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// Used by each process before its part: so it is registered, and its thread has a tag.
    warm: &'a Lock,
    death: Death,
    victim: Option<Pid>,
    sleepers: Vec<Pid>,
    pub(crate) trace: Trace,
}

/// Marks what the victim is stepped through.
#[inline(always)]
pub(crate) fn stepped<R>(operation: impl FnOnce() -> R) -> R {
    begin();
    let result = operation();
    finished();
    result
}

/// The stepping begins with the next instruction. For operations that have a beginning outside of what is
/// stepped; they must call [`finished`].
#[inline(always)]
pub(crate) fn begin() {
    // SAFETY: the tracer waits for this trap, and lets the process go on behind it.
    unsafe { asm!("int3") };
}

/// The operation has ended. Nobody comes back from here.
#[inline(never)]
pub(crate) extern "C" fn finished() {
    // SAFETY: it does nothing; it keeps this function from being merged with another.
    unsafe { asm!("nop", "nop", "nop") };
}

impl<'a> Stage<'a> {
    pub(crate) fn new(warm: &'a Lock, death: Death) -> Self {
        Self { warm, death, victim: None, sleepers: Vec::new(), trace: Trace::default() }
    }

    /// Starts the victim, and returns when it is where the stepping begins.
    pub(crate) fn victim<R>(&mut self, part: impl FnOnce() -> R) {
        let victim = self.fork(|| {
            ptrace::traceme().unwrap();
            let _end: R = part();
            panic!("the victim lives, and is not traced");
        });
        self.victim = Some(victim);
        stops(victim);
        ptrace::setoptions(victim, Options::PTRACE_O_EXITKILL).unwrap();
    }

    /// Starts another process, and returns when it sleeps. What its part returns is what [`Self::ends`]
    /// returns.
    pub(crate) fn sleeper(&mut self, part: impl FnOnce() -> u8) {
        let sleeper = self.fork(part);
        self.sleepers.push(sleeper);
        let futex = format!("{} ", libc::SYS_futex);
        while !fs::read_to_string(format!("/proc/{sleeper}/syscall"))
            .is_ok_and(|call| call.starts_with(&futex))
        {
            assert_eq!(
                waitpid(sleeper, Some(WaitPidFlag::WNOHANG)),
                Ok(WaitStatus::StillAlive),
                "no sleeper"
            );
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Waits for the end of the sleeper that was started first; what its part returned.
    pub(crate) fn ends(&mut self) -> u8 {
        let end = waitpid(self.sleepers[0], None).unwrap();
        self.sleepers.remove(0);
        match end {
            WaitStatus::Exited(_, code) if code != PANICKED => code as u8,
            end => panic!("a sleeper did not end well: {end:?}"),
        }
    }

    /// Starts a process that does its part and dies at once.
    pub(crate) fn dies(&mut self, part: impl FnOnce()) {
        let process = self.fork(|| {
            part();
            0
        });
        assert_eq!(waitpid(process, None), Ok(WaitStatus::Exited(process, 0)));
    }

    /// Steps the victim and kills it. If it falls asleep, `wake` is called, which is to let it go on.
    pub(crate) fn kill(&mut self, wake: impl FnOnce(&mut Self)) {
        let victim = self.victim.unwrap();
        let mut wake = Some(wake);
        loop {
            let address = instruction_pointer(victim);
            if address == finished as *const () as u64 {
                self.trace.finished = true;
                break;
            }
            self.trace.path.push(address);
            if self.death == Death::After(self.trace.path.len() - 1) {
                break;
            }
            ptrace::step(victim, None).unwrap();
            if is_system_call(address) && blocks(victim) {
                let nth = self.trace.blocked;
                self.trace.blocked += 1;
                if self.death == Death::Asleep(nth) {
                    break;
                }
                if let Some(wake) = wake.take() {
                    wake(self);
                }
                stops(victim);
            } else if !is_system_call(address) {
                stops(victim);
            }
        }
        kill(victim, Signal::SIGKILL).unwrap();
        self.trace.killed = Some(Instant::now());
        watchdog::note_address(self.trace.path.last().copied());
        let end = waitpid(victim, None);
        self.victim = None;
        assert_eq!(end, Ok(WaitStatus::Signaled(victim, Signal::SIGKILL, false)));
    }

    fn fork(&self, part: impl FnOnce() -> u8) -> Pid {
        // SAFETY: this program has one thread, so the child finds no lock held by another.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let part = AssertUnwindSafe(|| {
                    set_pdeathsig(Signal::SIGKILL).unwrap();
                    drop(self.warm.acquire().unwrap());
                    part()
                });
                let code = catch_unwind(part).map_or(PANICKED, i32::from);
                // SAFETY: it only ends the process. What the parent made is the parent's to drop.
                unsafe { libc::_exit(code) }
            }
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for pid in self.victim.iter().chain(&self.sleepers) {
            // They may have ended; nobody cares any more how.
            let _: nix::Result<()> = kill(*pid, Signal::SIGKILL);
            let _: nix::Result<WaitStatus> = waitpid(*pid, None);
        }
    }
}

const PANICKED: i32 = 101;

/// Waits until the victim stands still.
fn stops(victim: Pid) {
    let stop = waitpid(victim, None);
    assert_eq!(stop, Ok(WaitStatus::Stopped(victim, Signal::SIGTRAP)), "the victim did not come that far");
}

/// Waits until the victim, which is in a system call, stands still behind it, or sleeps in it.
fn blocks(victim: Pid) -> bool {
    loop {
        match waitpid(victim, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::StillAlive => {}
            WaitStatus::Stopped(_, Signal::SIGTRAP) => return false,
            end => panic!("the victim did not come that far: {end:?}"),
        }
        let stat = fs::read_to_string(format!("/proc/{victim}/stat")).unwrap();
        if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")) {
            return true;
        }
        std::thread::yield_now();
    }
}

/// Where the victim stands.
fn instruction_pointer(victim: Pid) -> u64 {
    let offset = std::mem::offset_of!(libc::user, regs) + std::mem::offset_of!(libc::user_regs_struct, rip);
    ptrace::read_user(victim, offset as AddressType).unwrap().cast_unsigned()
}

/// Whether the instruction at `address` of the victim is `syscall`. The victim is a fork of this process, so
/// it is ours too.
fn is_system_call(address: u64) -> bool {
    // SAFETY: the victim is about to execute, or has executed, the bytes there, which are mapped here as
    // well. They are two at least, or the last on their page: and no instruction of one byte is the last of a
    // text.
    let bytes = unsafe { (address as *const [u8; 2]).read_unaligned() };
    bytes == [0x0f, 0x05]
}

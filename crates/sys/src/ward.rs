//! Starting a program as a ward: it says who it is before it is executed, and the kernel kills it when its starter
//! ends. What that is for is said in `procession-shm`, `registry/ward.rs`.
#![expect(unsafe_code, reason = "prctl and pre_exec are interfaces for what runs between fork and exec")]

use crate::crash::crash_point;
use crate::forking::ignore_signals;
use crate::loose_fd::LooseFd;
use crate::signals::{SIGKILL, SIGPIPE, SignalSet, set_blocked};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getppid, read};
use std::ffi::CStr;
use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// What a program finds of the signals of the process that executes it.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    /// Those that are blocked.
    pub blocked: SignalSet,
    /// Whether SIGPIPE is ignored.
    pub ignores_sigpipe: bool,
}

/// Where a program says who it is, before it is executed, and how it learns whether it still may be.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// A number that both words carry in their high halves. A word that carries another one is left alone.
    pub tag: u32,
    /// When the program began, in ticks, in the low half; 0 before, and where it is not known.
    pub began: &'static AtomicU64,
    /// The program's pid in the low half; 0 before. It is written last.
    pub who: &'static AtomicU64,
    /// The byte of a file that another description holds as long as the starter lives.
    pub lifeline: (&'static LooseFd, u64),
}

impl Gate {
    /// The word before anybody has passed.
    #[must_use]
    pub fn empty(tag: u32) -> u64 {
        u64::from(tag) << 32
    }

    /// Says who the calling process is, and whether it may go on. Async-signal-safe.
    fn pass(&self) -> Option<()> {
        let empty = Self::empty(self.tag);
        // The low half tells a later process of that pid from this one for a year.
        let began = empty | start_of_self() & u64::from(u32::MAX);
        // Relaxed: who reads it has read the other word before.
        self.began.compare_exchange(empty, began, Relaxed, Relaxed).ok()?;
        crash_point("registry.ward_began");
        let who = empty | u64::from(std::process::id());
        // SYNC: registry.warded.
        self.who.compare_exchange(empty, who, SeqCst, SeqCst).ok()?;
        crash_point("registry.warded");
        // After that: who finds the byte free looks at the word then.
        let (file, byte) = self.lifeline;
        file.is_locked(byte).filter(|lives| *lives).map(|_| ())
    }
}

/// Starts `command`, which passes the gate before it is executed. The kernel kills it when the calling *thread*
/// ends, unless it asks for something else, or is executed with the rights of another user.
///
/// # Errors
/// Those of [`Command::spawn`].
pub fn spawn(command: &mut Command, signals: Signals, gate: Gate) -> Result<Child> {
    let starter = Pid::this();
    let before_exec = move || {
        // SAFETY: the call takes integers and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, SIGKILL) } != 0 {
            return Err(Error::last_os_error());
        }
        // If its starter had ended before, nobody would kill it; and nobody hears of this error.
        if getppid() != starter || gate.pass().is_none() {
            return Err(Error::from_raw_os_error(libc::ECANCELED));
        }
        // The standard library has given SIGPIPE its default action, and blocks nothing.
        if signals.ignores_sigpipe {
            ignore_signals(&[SIGPIPE]);
        }
        set_blocked(signals.blocked);
        Ok(())
    };
    // SAFETY: nothing in it allocates or takes a lock.
    unsafe { command.pre_exec(before_exec) }.spawn()
}

/// When the calling process began, in ticks since the machine was started; 0 if `/proc` does not say it.
/// Async-signal-safe.
#[must_use]
pub fn start_of_self() -> u64 {
    start_of(c"/proc/self/stat").unwrap_or(0)
}

/// When the process `pid` began, in ticks since the machine was started.
#[must_use]
pub fn start_of_process(pid: u32) -> Option<u64> {
    let path = std::ffi::CString::new(format!("/proc/{pid}/stat")).ok()?;
    start_of(&path)
}

fn start_of(path: &CStr) -> Option<u64> {
    /// Before it stand twenty numbers and a name of at most 64 bytes.
    const BEGINNING: usize = 640;
    /// The place of the beginning among the words behind the name.
    const START_TIME: usize = 19;
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; BEGINNING];
    let len = read(&file, &mut text).ok()?;
    // The name may hold anything, and ends with the last parenthesis.
    let name_end = text[..len].iter().rposition(|&byte| byte == b')')?;
    let word = text[name_end + 1..len]
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
        .nth(START_TIME)?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Gate, Signals, spawn, start_of_process, start_of_self};
    use crate::file_lock::{Share, try_lock};
    use crate::loose_fd::LooseFd;
    use crate::mapping::Mapping;
    use crate::shm_file;
    use crate::signals::{SIGKILL, SignalSet};
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    const TAG: u32 = 7;

    /// A word that a child shares.
    fn word(low: u32) -> &'static AtomicU64 {
        let file = shm_file::create_unnamed().unwrap();
        file.set_len(4096).unwrap();
        let word: &AtomicU64 = Box::leak(Box::new(Mapping::of_file(&file, 4096).unwrap())).at(0).unwrap();
        word.store(Gate::empty(TAG) | u64::from(low), Relaxed);
        word
    }

    /// A gate, and what keeps it open.
    fn gate() -> (Gate, File) {
        let holds = shm_file::create_unnamed().unwrap();
        let asks = shm_file::reopen(&holds).unwrap();
        assert!(try_lock(&holds, 3, Share::Exclusive).unwrap());
        let id = shm_file::identity(&asks).unwrap();
        let asks = Box::leak(Box::new(LooseFd::keep(asks, id)));
        (Gate { tag: TAG, began: word(0), who: word(0), lifeline: (asks, 3) }, holds)
    }

    fn start(gate: Gate) -> std::io::Result<Child> {
        let signals = Signals { blocked: SignalSet::default(), ignores_sigpipe: false };
        spawn(Command::new("sleep").arg("600"), signals, gate)
    }

    fn is_canceled(gate: Gate) -> bool {
        start(gate).unwrap_err().raw_os_error() == Some(libc::ECANCELED)
    }

    #[test]
    fn a_program_says_who_it_is_and_when_it_began() {
        let (gate, _holds) = gate();
        let mut child = start(gate).unwrap();
        assert_eq!(gate.who.load(Relaxed), Gate::empty(TAG) | u64::from(child.id()));
        let began = start_of_process(child.id()).unwrap();
        assert_eq!(gate.began.load(Relaxed), Gate::empty(TAG) | began);
        assert!(start_of_self() > 0 && began >= start_of_self());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(start_of_process(child.id()), None);
    }

    #[test]
    fn a_program_whose_place_is_taken_or_whose_starter_is_gone_is_not_executed() {
        let (gate, holds) = gate();
        let tag = TAG + 1;
        assert!(is_canceled(Gate { tag, ..gate }) && is_canceled(Gate { began: word(1), ..gate }));
        assert!(is_canceled(Gate { who: word(1), ..gate }));
        gate.began.store(Gate::empty(TAG), Relaxed);
        drop(holds);
        assert!(is_canceled(gate));
    }

    #[test]
    fn the_kernel_kills_it_when_the_thread_that_started_it_ends() {
        let (gate, _holds) = gate();
        let mut child = std::thread::spawn(move || start(gate).unwrap()).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
    }
}

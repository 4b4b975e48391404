//! Starting a program that the kernel kills when its starter ends; and, if that is wished, one that says who it is
//! before it is executed: a ward. What that is for is said in `procession-shm`, `registry/ward.rs`.
//!
//! The new process shares this one's memory until the program is executed, and this thread waits for that, as
//! with `posix_spawn`: nothing is copied, and handlers of `pthread_atfork` are not called. What it does in between is a
//! handful of system calls, and stores to words that are shared anyway; all signals are blocked meanwhile.
#![expect(unsafe_code, reason = "clone, prctl and execvpe are interfaces for what runs before exec")]

use crate::crash::crash_point;
use crate::signals::{self, ALL, SIGKILL, SIGPIPE, SignalSet, set_blocked};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, read, setpgid, setsid};
use std::ffi::{CStr, CString, NulError, OsStr, c_char, c_int, c_void};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicI32, AtomicU64};

/// A program that is to be executed.
#[derive(Debug)]
pub struct Program {
    /// Which file it is, if the first argument is only what it is called.
    pub file: Option<CString>,
    /// The arguments; the first is the program itself, which is looked for in `PATH` if there is no slash in it.
    pub arguments: Vec<CString>,
    /// The whole environment, as `NAME=value`.
    pub environment: Vec<CString>,
}

impl Program {
    /// The program of these words, with this process's environment and what is changed in it: set, or taken out.
    ///
    /// # Errors
    /// When a word or a value has a zero byte in it.
    pub fn new(
        words: &[impl AsRef<OsStr>],
        changes: &[(&str, Option<String>)],
    ) -> std::result::Result<Self, NulError> {
        let kept =
            std::env::vars_os().filter(|(name, _)| !changes.iter().any(|(changed, _)| name == changed));
        let kept = kept.map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
        let set = changes.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        let words = words.iter().map(|word| CString::new(word.as_ref().as_bytes()));
        Ok(Self {
            file: None,
            arguments: words.collect::<std::result::Result<_, _>>()?,
            environment: kept
                .chain(set.map(String::into_bytes))
                .map(CString::new)
                .collect::<std::result::Result<_, _>>()?,
        })
    }
}

/// How a program is started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// What it finds of this process's signals.
    pub signals: Signals,
    /// Where it says who it is.
    pub place: Option<Place>,
    /// Whether it leads a process group of its own.
    pub leads_group: bool,
    /// What its stdin, stdout and stderr are instead of this process's.
    pub streams: [Option<BorrowedFd<'a>>; 3],
    /// The terminal at which it leads a session of its own, and so a group as well.
    pub terminal: Option<BorrowedFd<'a>>,
}

impl Start<'_> {
    /// As this process is, but for the signals.
    #[must_use]
    pub fn with(signals: Signals) -> Self {
        Self { signals, place: None, leads_group: false, streams: [None; 3], terminal: None }
    }
}

/// What a program finds of the signals of the process that executes it.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    /// Those that are blocked.
    pub blocked: SignalSet,
    /// Whether SIGPIPE is ignored.
    pub ignores_sigpipe: bool,
}

/// Where a program says who it is, before it is executed: two words in shared memory.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What both words have in their high halves.
    pub tag: u32,
    /// When the program began, in ticks, in the low half; 0 where it is not known.
    pub began: &'static AtomicU64,
    /// The program's pid in the low half. It is written last.
    pub who: &'static AtomicU64,
}

impl Place {
    /// Says who the calling process is. Async-signal-safe.
    fn take(&self) {
        let tagged = |low: u64| u64::from(self.tag) << 32 | low & u64::from(u32::MAX);
        // Relaxed: who reads it has read the other word before. The low half tells a later process of that pid from
        // this one for a year.
        self.began.store(tagged(start_of_self()), Relaxed);
        crash_point("registry.ward_began");
        // SYNC: registry.warded.
        self.who.store(tagged(u64::from(std::process::id())), SeqCst);
        crash_point("registry.warded");
    }
}

/// A process that was started.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Its pid.
    pub pid: u32,
    /// The signals that had come to its starter and were not taken before there was this process: if they were
    /// meant for a whole group, it has not heard of them. What comes later reaches both.
    pub unheard: SignalSet,
}

/// Starts the program, which takes its place, if it has one, before it is executed. The kernel kills it when
/// the calling *thread* ends, unless it asks for something else, or is executed with the rights of another user.
///
/// # Errors
/// `EAGAIN` at the limit of processes, `ENOMEM`, whatever `execve` says.
pub fn spawn(program: &Program, start: Start<'_>) -> Result<Started> {
    let (arguments, environment) = (pointers(&program.arguments), pointers(&program.environment));
    let stack = Stack::for_exec(program)?;
    let birth = Birth {
        file: program.file.as_deref(),
        arguments: &arguments,
        environment: &environment,
        starter: Pid::this(),
        start,
        error: AtomicI32::new(0),
    };
    // No handler of ours runs on the memory that both have.
    let blocked = set_blocked(SignalSet::from_bits(u64::MAX));
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // As late as it can be: from here to the call nothing is done that takes longer than a microsecond.
    let unheard = signals::pending();
    // SAFETY: the new process has a stack of its own, and everything that `birth` leads to outlives the call, which
    // returns once that process executes another program or has ended.
    let pid = unsafe { libc::clone(begin, stack.top(), flags, (&raw const birth).cast_mut().cast()) };
    let error = if pid < 0 { Error::last_os_error().raw_os_error() } else { None };
    set_blocked(blocked);
    match error.unwrap_or_else(|| birth.error.load(Relaxed)) {
        0 => Ok(Started { pid: pid.unsigned_abs(), unheard }),
        errno => {
            if pid > 0 {
                // SAFETY: it is a child that nobody else knows of, and has ended.
                unsafe { libc::waitpid(pid, null_mut(), 0) };
            }
            Err(Error::from_raw_os_error(errno))
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([null()]).collect()
}

/// What the new process works on.
struct Birth<'a> {
    file: Option<&'a CStr>,
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    starter: Pid,
    start: Start<'a>,
    /// Why the program was not executed.
    error: AtomicI32,
}

extern "C" fn begin(birth: *mut c_void) -> c_int {
    const NOT_EXECUTED: c_int = 127;
    // SAFETY: `spawn` passes its own, and waits.
    let birth = unsafe { &*birth.cast::<Birth<'_>>() };
    birth.error.store(birth.execute(), Relaxed);
    NOT_EXECUTED
}

impl Birth<'_> {
    /// Executes the program; returns only if that fails, with the number of the error. Async-signal-safe.
    fn execute(&self) -> c_int {
        let errno = || Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
        // SAFETY: the call takes integers and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, SIGKILL) } != 0 {
            return errno();
        }
        // If its starter had ended before, nobody would kill it; and nobody hears of this error. 0 is a starter outside
        // of this process's pid namespace (`unshare --pid` without `--fork`).
        if ![self.starter, Pid::from_raw(0)].contains(&getppid()) {
            return libc::ECANCELED;
        }
        if let Some(place) = self.start.place {
            place.take();
        }
        if let Err(errno) = self.surround() {
            return errno as c_int;
        }
        // Actions are this process's own. A handler would run on the memory of both; and Rust's runtime ignores
        // SIGPIPE.
        for signal in ALL.filter(|&signal| !signals::is_default(signal) && !signals::is_ignored(signal)) {
            signals::set_default(signal);
        }
        if !self.start.signals.ignores_sigpipe {
            signals::set_default(SIGPIPE);
        }
        set_blocked(self.start.signals.blocked);
        let Some(&program) = self.arguments.first().filter(|program| !program.is_null()) else {
            return libc::ENOENT;
        };
        let program = self.file.map_or(program, CStr::as_ptr);
        // SAFETY: both arrays end with null and point to strings that outlive the call.
        unsafe { libc::execvpe(program, self.arguments.as_ptr(), self.environment.as_ptr()) };
        errno()
    }

    /// Gives the program its group, its terminal and its streams. Async-signal-safe.
    fn surround(&self) -> nix::Result<()> {
        if let Some(terminal) = self.start.terminal {
            setsid()?;
            // SAFETY: the call takes integers, and touches no memory of ours.
            Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) })?;
        } else if self.start.leads_group {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        }
        for (number, stream) in self.start.streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            match number {
                // They lose close-on-exec by that; a stream that has the right number already would not.
                _ if stream.as_raw_fd() == number as c_int => {
                    fcntl(stream, FcntlArg::F_SETFD(FdFlag::empty()))?;
                }
                0 => dup2_stdin(stream)?,
                1 => dup2_stdout(stream)?,
                _ => dup2_stderr(stream)?,
            }
        }
        Ok(())
    }
}

/// The memory in which the new process runs until it executes the program.
struct Stack {
    bottom: *mut c_void,
    len: usize,
}

impl Stack {
    /// Looking for the program in `PATH` takes its length, and executing a script without an interpreter a pointer for
    /// each argument.
    fn for_exec(program: &Program) -> Result<Self> {
        const USUAL: usize = 1 << 16;
        let path = std::env::var_os("PATH").map_or(0, |path| path.len());
        let arguments = program.arguments.len() * size_of::<*const c_char>();
        let name = program.arguments.first().map_or(0, |name| name.as_bytes().len());
        let len = (USUAL + path + name + arguments).next_multiple_of(USUAL);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let bottom = unsafe { libc::mmap(null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if bottom == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(Self { bottom, len }) }
    }

    /// Where it begins: stacks grow downwards.
    fn top(&self) -> *mut c_void {
        self.bottom.wrapping_byte_add(self.len)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: nobody runs on it any more: who did executes another program, or has ended.
        unsafe { libc::munmap(self.bottom, self.len) };
    }
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
    let path = CString::new(format!("/proc/{pid}/stat")).ok()?;
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
    use super::{Place, Program, Signals, Start, spawn, start_of_process, start_of_self};
    use crate::Deadline;
    use crate::pidfd::{Ended, Who, is_child, reap, signal_child};
    use crate::signals::{Inbox, SIGKILL, SIGWINCH, SignalSet};
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;
    use std::ffi::CString;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;

    const TAG: u64 = 7 << 32;

    fn place() -> Place {
        let word = || -> &'static AtomicU64 { Box::leak(Box::default()) };
        Place { tag: 7, began: word(), who: word() }
    }

    fn start_words(place: Place, words: &[&str]) -> std::io::Result<u32> {
        let signals = Signals { blocked: SignalSet::default(), ignores_sigpipe: false };
        let c_strings = |words: &[&str]| words.iter().map(|&word| CString::new(word).unwrap()).collect();
        let program = Program { file: None, arguments: c_strings(words), environment: c_strings(&["A=7"]) };
        spawn(&program, Start { place: Some(place), ..Start::with(signals) }).map(|started| started.pid)
    }

    fn start(place: Place) -> std::io::Result<u32> {
        start_words(place, &["sleep", "600"])
    }

    fn end_of(pid: u32) -> Ended {
        loop {
            if let Some(ended) = reap(Who::Pid(pid)).unwrap() {
                return ended;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_says_who_it_is_and_when_it_began() {
        let place = place();
        let child = start(place).unwrap();
        assert_eq!(place.who.load(Relaxed), TAG | u64::from(child));
        let began = start_of_process(child).unwrap();
        assert_eq!(place.began.load(Relaxed), TAG | began);
        assert!(start_of_self() > 0 && began >= start_of_self());
        signal_child(child, SIGKILL).unwrap();
        assert_eq!(end_of(child), Ended::Signaled(SIGKILL));
        assert_eq!(start_of_process(child), None);
    }

    #[test]
    fn the_kernel_kills_it_when_the_thread_that_started_it_ends() {
        let place = place();
        let child = std::thread::spawn(move || start(place).unwrap()).join().unwrap();
        assert_eq!(end_of(child), Ended::Signaled(SIGKILL));
    }

    #[test]
    fn a_program_has_its_arguments_and_environment_and_errors_are_those_of_exec() {
        let script = "[ \"$A-$1\" = 7-word ] && exit 5";
        assert_eq!(
            end_of(start_words(place(), &["sh", "-c", script, "sh", "word"]).unwrap()),
            Ended::Exited(5)
        );
        for (words, errno) in [
            (&["procession-no-such-command"][..], libc::ENOENT),
            (&["/etc/passwd"], libc::EACCES),
            (&[], libc::ENOENT),
        ] {
            let place = place();
            assert_eq!(start_words(place, words).unwrap_err().raw_os_error(), Some(errno), "{words:?}");
            let ended = place.who.load(Relaxed) & u64::from(u32::MAX);
            assert!(!is_child(u32::try_from(ended).unwrap()), "its status was taken");
        }
    }

    #[test]
    fn what_had_come_before_a_program_is_known() {
        let inbox = Inbox::open([SIGWINCH].into_iter().collect());
        // To this thread alone: in another, the signal would not be blocked.
        // SAFETY: the call takes integers and touches no memory of ours.
        unsafe { libc::raise(SIGWINCH) };
        let signals = Signals { blocked: inbox.blocked_before, ignores_sigpipe: false };
        let program = Program::new(&["true"], &[]).unwrap();
        for had_come in [true, false] {
            let started = spawn(&program, Start::with(signals)).unwrap();
            assert_eq!(started.unheard.contains(SIGWINCH), had_come);
            assert_eq!(end_of(started.pid), Ended::Exited(0));
            assert_eq!(inbox.take(Deadline::PASSED).is_some(), had_come);
        }
    }

    #[test]
    fn a_program_has_a_group_and_streams_of_its_own_if_it_is_to() {
        let signals = Signals { blocked: SignalSet::default(), ignores_sigpipe: false };
        let (reads, writes) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let group = "set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo $A-$B-$PATH";
        let words = ["sh", "-c", group];
        let program = Program::new(&words, &[("A", Some("1".to_owned())), ("PATH", None)]).unwrap();
        let streams = [None, Some(writes.as_fd()), Some(writes.as_fd())];
        let start = Start { leads_group: true, streams, ..Start::with(signals) };
        let child = spawn(&program, start).unwrap().pid;
        drop(writes);
        let mut said = String::new();
        File::from(reads).read_to_string(&mut said).unwrap();
        assert_eq!(end_of(child), Ended::Exited(0), "{said}");
        assert!(said.starts_with("1--"), "{said}");
        assert!(Program::new(&["a\0b"], &[]).is_err());
    }
}

//! Signals that are taken one by one instead of being delivered, and what becomes of those that nobody takes.
//!
//! Signals are numbers here: the real-time signals have no names.
#![expect(
    unsafe_code,
    reason = "signal sets, sigaction, sigtimedwait and kill take pointers and raw numbers"
)]

use crate::clock::Deadline;
use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

pub use libc::{
    SIGABRT, SIGALRM, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGIO, SIGKILL, SIGPIPE,
    SIGPROF, SIGPWR, SIGQUIT, SIGSEGV, SIGSTOP, SIGSYS, SIGTERM, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,
    SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};

/// The name by which people know the signal; `None` for the real-time signals, which have none, and what is
/// no signal.
#[must_use]
pub fn name(signal: i32) -> Option<&'static str> {
    /// Makes a list of constants, as numbers and as texts.
    macro_rules! names {
        ($($name:ident)*) => {
            match signal {
                $($name => Some(stringify!($name)),)*
                _ => None,
            }
        };
    }
    names! {
        SIGABRT SIGALRM SIGBUS SIGCHLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGKILL SIGPIPE SIGPROF SIGPWR SIGQUIT
        SIGSEGV SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH
        SIGXCPU SIGXFSZ
    }
}

/// The signal as people read it: `SIGKILL`, `signal 34`.
#[must_use]
pub fn words(signal: i32) -> String {
    name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// The signals there are. Two of them, 32 and 33, are the C library's own.
pub const ALL: std::ops::RangeInclusive<i32> = 1..=64;

/// A set of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// The set that [`SignalSet::bits`] was asked of.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set as a word with a bit for each signal; the lowest stands for signal 1.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the signal is one of them.
    #[must_use]
    pub fn contains(self, signal: i32) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// Takes the signal out of the set; whether it was in it.
    pub fn remove(&mut self, signal: i32) -> bool {
        let was_in = self.contains(signal);
        self.0 &= !Self::bit(signal);
        was_in
    }

    fn bit(signal: i32) -> u64 {
        if ALL.contains(&signal) { 1 << (signal - 1) } else { 0 }
    }

    fn to_c(self) -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the call fills what the pointer leads to, and cannot fail.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: it was filled above.
        let mut set = unsafe { set.assume_init() };
        for signal in ALL.filter(|&signal| self.contains(signal)) {
            // SAFETY: `set` is an initialised set; a number that the C library keeps for itself is refused.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        set
    }

    fn from_c(set: &libc::sigset_t) -> Self {
        // SAFETY: `set` is an initialised set, which is only read.
        ALL.filter(|&signal| unsafe { libc::sigismember(set, signal) } == 1).collect()
    }
}

impl FromIterator<i32> for SignalSet {
    fn from_iter<I: IntoIterator<Item = i32>>(signals: I) -> Self {
        Self(signals.into_iter().fold(0, |bits, signal| bits | Self::bit(signal)))
    }
}

/// Whether the signal is ignored: whoever started this process did not want it to end by it, as nohup does
/// not.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    action(signal) == libc::SIG_IGN
}

/// The signals that have come to this process or thread while they are blocked, and were not taken.
#[must_use]
pub fn pending() -> SignalSet {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call fills what the pointer leads to, and cannot fail with a valid one.
    unsafe { libc::sigpending(set.as_mut_ptr()) };
    // SAFETY: it was filled above.
    SignalSet::from_c(&unsafe { set.assume_init() })
}

/// Whether the signal has its default action.
#[must_use]
pub fn is_default(signal: i32) -> bool {
    action(signal) == libc::SIG_DFL
}

fn action(signal: i32) -> libc::sighandler_t {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills `action`, or leaves it zeroed for a number that is
    // none.
    unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroes are an action too, and the kernel has written no other than valid ones.
    unsafe { action.assume_init() }.sa_sigaction
}

/// Gives the signal its default action, for this process and for those it starts.
pub fn set_default(signal: i32) {
    // SAFETY: no function of ours is called by the default action.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Has the signal do nothing to this process, unless it is ignored anyway. Programs that this process executes
/// find its default action: unlike being ignored, a handler is not inherited.
pub fn withstand(signal: i32) {
    extern "C" fn do_nothing(_: libc::c_int) {}
    if is_ignored(signal) {
        return;
    }
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let handler: extern "C" fn(libc::c_int) = do_nothing;
    // SAFETY: zeroes are an action; the fields of one are written while nobody else has it.
    let action = unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        *action
    };
    // SAFETY: the handler touches nothing, so it may run at any moment; the action outlives the call.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

/// Has exactly these signals kept from the calling thread, and returns those that were kept from it before.
pub fn set_blocked(signals: SignalSet) -> SignalSet {
    change_blocked(libc::SIG_SETMASK, signals)
}

fn change_blocked(how: libc::c_int, signals: SignalSet) -> SignalSet {
    let (signals, mut before) = (signals.to_c(), SignalSet::default().to_c());
    // SAFETY: both sets are initialised and outlive the call, which keeps no pointer and fails for no valid
    // `how`.
    unsafe { libc::pthread_sigmask(how, &raw const signals, &raw mut before) };
    SignalSet::from_c(&before)
}

/// Sends the signal to a process.
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL` for a number that is no signal.
pub fn send(pid: u32, signal: i32) -> Result<()> {
    let pid = libc::pid_t::try_from(pid).ok().filter(|&pid| pid > 0);
    let pid = pid.ok_or_else(|| Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: the call takes two integers and touches no memory of ours; a pid above 0 means one process.
    if unsafe { libc::kill(pid, signal) } != 0 {
        return Err(Error::last_os_error());
    }
    Ok(())
}

/// Sends the signal to all processes of the group that `leader` leads.
///
/// # Errors
/// As [`send`].
pub fn send_to_group(leader: u32, signal: i32) -> Result<()> {
    let group = libc::pid_t::try_from(leader).ok().filter(|&group| group > 1);
    let group = group.ok_or_else(|| Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: the call takes two integers and touches no memory of ours; a number above 1 means one group.
    if unsafe { libc::killpg(group, signal) } != 0 {
        return Err(Error::last_os_error());
    }
    Ok(())
}

/// A signal that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The signal's number.
    pub signal: i32,
    /// Whether the kernel sent it, for instance because of a key on the terminal, and not a process.
    pub from_kernel: bool,
}

/// Signals that are not delivered to the thread that made this, but taken by it.
///
/// It is meant for programs of one thread: another thread would get them delivered.
#[derive(Debug)]
pub struct Inbox {
    signals: SignalSet,
    /// The signals that were blocked before, by whoever started this process.
    pub blocked_before: SignalSet,
}

impl Inbox {
    /// Blocks these signals, so that from now on they wait to be taken, even if they are ignored.
    #[must_use]
    pub fn open(signals: SignalSet) -> Self {
        Self { signals, blocked_before: change_blocked(libc::SIG_BLOCK, signals) }
    }

    /// What is readable while there is a signal to take.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn bell(&self) -> Result<OwnedFd> {
        let (set, flags) = (self.signals.to_c(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        // SAFETY: the set outlives the call; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, flags) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the call above has made it, and nobody else knows of it.
        crate::memfd::above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The next signal; `None` when there was none until the deadline.
    #[must_use]
    pub fn take(&self, deadline: Deadline) -> Option<Taken> {
        let set = self.signals.to_c();
        loop {
            let timeout = deadline.remaining().map(|left| libc::timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
            // SAFETY: all three outlive the call, which fills `info`; the timeout may be null.
            let signal = unsafe { libc::sigtimedwait(&raw const set, info.as_mut_ptr(), timeout) };
            if signal > 0 {
                // SAFETY: zeroes are a siginfo_t too, and the kernel has filled it.
                let info = unsafe { info.assume_init() };
                return Some(Taken { signal, from_kernel: info.si_code == libc::SI_KERNEL });
            }
            // Interrupted: this process was stopped and goes on.
            if Error::last_os_error().raw_os_error() != Some(libc::EINTR) || deadline.has_passed() {
                return None;
            }
        }
    }

    /// Lets the signal do to this process what it does by default, and returns if it goes on after that.
    pub fn let_act(&self, signal: i32) {
        // SAFETY: the call takes an integer and touches no memory of ours.
        unsafe { libc::raise(signal) };
        let one = SignalSet::from_iter([signal]);
        change_blocked(libc::SIG_UNBLOCK, one);
        change_blocked(libc::SIG_BLOCK, one);
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, Inbox, SignalSet, is_ignored, send, set_blocked, words};
    use crate::clock::Deadline;
    use std::time::Duration;

    #[test]
    fn signals_have_the_names_that_people_know() {
        assert_eq!([9, 15, 11, 34, 0].map(words), ["SIGKILL", "SIGTERM", "SIGSEGV", "signal 34", "signal 0"]);
    }

    #[test]
    fn sets_are_what_they_were_made_of() {
        let set = SignalSet::from_iter([1, 15, 64, 0, 65, -1]);
        assert_eq!(ALL.filter(|&signal| set.contains(signal)).collect::<Vec<_>>(), [1, 15, 64]);
        assert_eq!(SignalSet::from_bits(set.bits()), set);
        assert_eq!(SignalSet::from_c(&set.to_c()), set);
        assert!(!set.contains(0) && !set.contains(65));
    }

    #[test]
    fn signals_are_taken_and_not_delivered() {
        // Of this thread alone, so that the threads of other tests get nothing: signals to the whole process
        // would.
        let inbox = Inbox::open([libc::SIGRTMIN() + 3, libc::SIGWINCH].into_iter().collect());
        assert_eq!(inbox.take(Deadline::PASSED), None);
        assert_eq!(inbox.take(Deadline::after(Duration::from_millis(1))), None);
        for signal in [libc::SIGRTMIN() + 3, libc::SIGWINCH] {
            // SAFETY: the call takes an integer and touches no memory of ours.
            unsafe { libc::raise(signal) };
            let taken = inbox.take(Deadline::NEVER).unwrap();
            assert_eq!((taken.signal, taken.from_kernel), (signal, false));
        }
        inbox.let_act(libc::SIGWINCH);
        assert_eq!(inbox.take(Deadline::PASSED), None);
        let blocked = set_blocked(inbox.blocked_before);
        assert!(blocked.contains(libc::SIGWINCH) && !inbox.blocked_before.contains(libc::SIGWINCH));
        assert_eq!(send(0, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert!(!is_ignored(libc::SIGTERM) && !is_ignored(65));
    }
}

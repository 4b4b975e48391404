//! Signals that are passed on to the commands that this process has started.
//!
//! They are blocked, and taken one by one by the thread that starts the commands and takes their exit statuses. So
//! none is lost, whenever it comes, and none is sent to a process that is not a command any more.

use procession_sys::signals::{
    self as sig, ALL, Inbox, SignalSet, Taken, is_ignored, send, send_to_group, set_blocked, set_default,
};
use procession_terminal::exit::{Failure, SIGNALED};

/// What is not passed on: what cannot be, what a process gets for its own mistakes and limits, and what the
/// terminal says to those that read from it in the background.
const NOT_PASSED_ON: [i32; 16] = [
    sig::SIGKILL,
    sig::SIGSTOP,
    sig::SIGCHLD,
    sig::SIGILL,
    sig::SIGTRAP,
    sig::SIGABRT,
    sig::SIGBUS,
    sig::SIGFPE,
    sig::SIGSEGV,
    sig::SIGSYS,
    sig::SIGPIPE,
    sig::SIGTTIN,
    sig::SIGTTOU,
    sig::SIGXCPU,
    sig::SIGXFSZ,
    sig::SIGPROF,
];

/// The terminal sends these to all processes in its foreground, the workers among them.
const FROM_TERMINAL: [i32; 6] =
    [sig::SIGHUP, sig::SIGINT, sig::SIGQUIT, sig::SIGTSTP, sig::SIGCONT, sig::SIGWINCH];

/// From now on no signal ends this process that is not ignored: those that are to be passed on can be taken, and
/// SIGCHLD.
pub(crate) fn inbox() -> Inbox {
    // Ignored, it would take the exit statuses away.
    set_default(sig::SIGCHLD);
    let taken = ALL.filter(|signal| !NOT_PASSED_ON.contains(signal) && !is_ignored(*signal));
    Inbox::open(taken.chain([sig::SIGCHLD]).collect::<SignalSet>())
}

/// Whether the terminal has sent it, and so to the commands as well.
pub(crate) fn is_from_terminal(taken: Taken) -> bool {
    taken.from_kernel && FROM_TERMINAL.contains(&taken.signal)
}

/// Sends the signal to a command.
pub(crate) fn tell(pid: u32, signal: i32) {
    // It may have ended, which is what most signals want; or it has become another user's, who is not to be
    // told.
    drop(send(pid, signal));
}

/// Sends the signal to the process group that a command leads.
pub(crate) fn tell_group(leader: u32, signal: i32) {
    // As above.
    drop(send_to_group(leader, signal));
}

/// The exit code of what the signal has ended.
pub(crate) fn code_of(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| SIGNALED.saturating_add(signal))
}

/// Ends this process by the signal, as if nothing had been done about that; returns only if that fails.
pub(crate) fn die_of(signal: i32) -> Failure {
    // Not done by itself by who is killed.
    procession::leave();
    set_default(signal);
    set_blocked(SignalSet::default());
    tell(std::process::id(), signal);
    Failure::Command(code_of(signal))
}

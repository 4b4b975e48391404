//! Signals that are passed on to the commands that this process has started.
//!
//! They are blocked, and taken one by one by the thread that starts the commands and takes their exit statuses. So
//! none is lost, whenever it comes, and none is sent to a process that is not a command any more.

use procession::interrupt;
use procession_sys::SignalBell;
use procession_sys::signals::{
    self as sig, ALL, Inbox, SignalSet, Taken, is_ignored, send, send_to_group, set_blocked, set_default,
};
use procession_terminal::exit::{Failure, SIGNALED};
use std::cell::Cell;
use std::rc::Rc;

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

/// After these nothing more is begun.
pub(crate) const ASKS_FOR_THE_END: [i32; 5] =
    [sig::SIGHUP, sig::SIGINT, sig::SIGQUIT, sig::SIGTERM, sig::SIGALRM];

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

/// Calls `wait` with signals as they were when this process began; one that would end it ends the wait, and is
/// returned.
pub(crate) fn interruptibly<T>(inbox: &Inbox, wait: impl FnOnce() -> T) -> (T, Option<i32>) {
    const ENDING: [i32; 7] =
        [sig::SIGHUP, sig::SIGINT, sig::SIGQUIT, sig::SIGTERM, sig::SIGALRM, sig::SIGUSR1, sig::SIGUSR2];
    // Without a bell the signals have their default actions.
    let bell = SignalBell::new(&ENDING).ok().map(Rc::new);
    let come = Rc::new(Cell::new(SignalSet::default()));
    let hook = bell.clone().map(|bell| {
        let come = Rc::clone(&come);
        interrupt::on_signal(move || {
            come.set(SignalSet::from_bits(come.get().bits() | bell.take().bits()));
            come.get().bits() != 0
        })
    });
    let blocked = set_blocked(inbox.blocked_before);
    let outcome = wait();
    set_blocked(blocked);
    drop(hook);
    let last = bell.map_or(0, |bell| bell.take().bits());
    let come = SignalSet::from_bits(come.get().bits() | last);
    (outcome, ALL.into_iter().find(|&signal| come.contains(signal)))
}

/// Whether the terminal has sent it, and so to the commands as well that there [were](procession_sys::ward::Started) by
/// then.
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

//! The end of survivors that hang: with them the whole program ends, and says where the victim had died.
#![expect(unsafe_code, reason = "sets a signal handler, and ends the process in it")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;
use procession_sys::image::Image;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many seconds one play of a scene may take.
const PATIENCE: u32 = 30;

static PLAYED: Mutex<String> = Mutex::new(String::new());
static ADDRESS: AtomicU64 = AtomicU64::new(0);

/// Watches what is said in words, instead of what was watched before.
pub(crate) fn watch(played: String) {
    *PLAYED.lock().unwrap_or_else(PoisonError::into_inner) = played;
    note_address(None);
    let action = SigAction::new(SigHandler::Handler(hangs), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler runs when the only thread waits for another process, if not for ever, and it ends
    // the program.
    unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
    alarm::set(PATIENCE);
}

/// Where the victim died.
pub(crate) fn note_address(address: Option<u64>) {
    ADDRESS.store(address.unwrap_or(0), Ordering::Relaxed);
}

/// Where the victim died, as `addr2line -fie` wants it for this program.
pub(crate) fn address() -> String {
    describe(ADDRESS.load(Ordering::Relaxed))
}

/// An address, as `addr2line -fie` wants it for this program.
pub(crate) fn describe(address: u64) -> String {
    let offset = Image::current().offset_of(address as usize);
    offset.map_or_else(|| format!("{address:#x} in a library"), |offset| format!("{offset:#x}"))
}

extern "C" fn hangs(_: libc::c_int) {
    let played = PLAYED.try_lock().map(|played| played.clone()).unwrap_or_default();
    // A test without stderr has nobody to tell.
    drop(writeln!(
        std::io::stderr(),
        "\nWATCHDOG: {played} at {}: not all survivors finished in {PATIENCE} s",
        address()
    ));
    // SAFETY: it only ends the process; the children die with it.
    unsafe { libc::_exit(1) };
}

//! Ctrl-C and its kin, while a demo runs and unless they are ignored: no process is left, nothing is left in
//! `/dev/shm`, and the exit code names the signal.
//!
//! A thread waits for the signal. It ends the children, and then replaces this whole program by the
//! [broom](crate::broom), which shares nothing with what ran before: so whatever this process was in the middle
//! of ends at that instant, and its objects have no user left.

use crate::broom;
use procession::Namespace;
use procession_sys::signals::is_ignored;
use procession_terminal::exit::SIGNALED;
use procession_terminal::output;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long workers may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

static ARRIVED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on, SIGINT, SIGTERM and SIGHUP end the processes of `namespace` and remove it.
pub(crate) fn watch(namespace: Namespace) -> io::Result<()> {
    let arrived = ARRIVED.get_or_init(Arc::default);
    // What is ignored is to be survived: whoever started this process wished so, as nohup does.
    let awaited: Vec<_> =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    // First the thread's end of it: whoever sees the flag relies on the thread to have the signal too.
    let mut signals = Signals::new(&awaited)?;
    for &signal in &awaited {
        // Set by the handler itself, before anybody can see a consequence of the signal.
        signal_hook::flag::register(signal, arrived.clone())?;
    }
    let body = move || {
        if let Some(signal) = signals.forever().next() {
            end(signal, &namespace);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(body)?;
    Ok(())
}

fn end(signal: i32, namespace: &Namespace) {
    procession::end_children(GRACE);
    let code = u8::try_from(signal).map_or(SIGNALED, |signal| SIGNALED + signal);
    let error = broom::replace_this_program(namespace, code);
    output::warn(&format!("cannot clean up ({error}); `procession gc --all` will"));
    std::process::exit(code.into());
}

/// If a signal has arrived, waits for the end that it brings.
pub(crate) fn yield_to_signal() {
    // SeqCst costs nothing here and needs no argument.
    while ARRIVED.get().is_some_and(|arrived| arrived.load(Ordering::SeqCst)) {
        std::thread::park();
    }
}

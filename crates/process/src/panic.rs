//! A child's panic, remembered until it is known whether it ends the function.

use crate::current::current_process;
use crate::panicked::{Panic, cut};
use crate::report::{Outcome, Report};
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::Once;

struct Seen {
    message: String,
    location: Option<String>,
    backtrace: Backtrace,
}

thread_local! {
    static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Has the last panic of each thread remembered, besides what the program does about panics. In a copy of a
/// process that has done so it is done already.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            remember(info);
            introduce();
            before(info);
        }));
    });
    LAST.set(None);
}

/// Says whose panic it is, before what the program says about it: several processes may write to one standard
/// error.
fn introduce() {
    let me = current_process();
    // Without stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{} (pid {}):", me.name(), me.pid()));
}

/// What std says when a panic cannot unwind any further, and the process aborts: of one that leaves a
/// destructor while another one unwinds, and of one that leaves a function of another language.
const LAST_WORDS: [&str; 2] =
    ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];

fn remember(info: &PanicHookInfo<'_>) {
    // Nobody will catch it: this is the last chance to say something.
    if cfg!(panic = "abort") {
        report(seen(info));
    } else if LAST_WORDS.contains(&&*message(info.payload())) {
        report(LAST.take().unwrap_or_else(|| seen(info)));
    } else {
        LAST.set(Some(seen(info)));
    }
}

fn report(seen: Seen) {
    if let Some(report) = Report::own() {
        drop(report.commit(Outcome::Panicked(seen.into_panic())));
    }
}

fn seen(info: &PanicHookInfo<'_>) -> Seen {
    Seen {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: Backtrace::capture(),
    }
}

impl Seen {
    fn into_panic(self) -> Panic {
        let is_wanted = self.backtrace.status() == BacktraceStatus::Captured;
        let backtrace = is_wanted.then(|| {
            let whole = self.backtrace.to_string();
            let full = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"].iter().find_map(std::env::var_os);
            if full.is_some_and(|value| value == "full") { whole } else { cut(&whole) }
        });
        Panic { message: self.message, location: self.location, backtrace }
    }
}

/// The panic that `payload` came from.
pub(crate) fn describe(payload: Box<dyn Any + Send>) -> Panic {
    let message = message(&*payload);
    // Dropping a payload of the user's may panic again.
    std::mem::forget(payload);
    match LAST.take() {
        Some(seen) if seen.message == message => seen.into_panic(),
        // `resume_unwind` calls no hook.
        _ => Panic { message, location: None, backtrace: None },
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not a string".to_owned())
}

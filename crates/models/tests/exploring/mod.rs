//! How models are run, and how mutants are shown to fail them.

#![allow(unused, reason = "not every model needs all of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Every interleaving with at most so many preemptions, or one more with `PROCESSION_DEEP_MODELS`.
pub fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let deeper = usize::from(std::env::var_os("PROCESSION_DEEP_MODELS").is_some());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions + deeper);
    builder.max_branches = 3000;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    // For those who look with --nocapture.
    println!("{} interleavings", runs.load(Ordering::Relaxed));
}

/// The same for a model in which somebody dies, once for each label; there must be an interleaving that comes
/// to it.
pub fn explore_deaths(
    preemptions: usize,
    labels: &[&'static str],
    model: impl Fn(&'static str) -> bool + Sync + Send + Copy + 'static,
) {
    for &label in labels {
        let died = Arc::new(AtomicBool::new(false));
        let once = Arc::clone(&died);
        explore(preemptions, move || {
            if model(label) {
                once.store(true, Ordering::Relaxed);
            }
        });
        assert!(died.load(Ordering::Relaxed), "nobody came to {label}");
    }
}

/// A mutant must be found out by one of the models: in a process of its own, which loom's deadlocks abort.
macro_rules! found_out {
    ($($mutant:ident by $model:ident$(($($argument:expr),*))? up to $bound:literal: $why:literal;)*) => {$(
        mod $mutant {
            models!(procession_models::mutants::$mutant);

            #[test]
            fn is_found_out() {
                crate::exploring::fails(concat!(stringify!($mutant), "::is_found_out"), $why, || {
                    crate::exploring::explore($bound, || {
                        let _ = $model($($($argument),*)?);
                    });
                });
            }
        }
    )*};
}

/// Runs `model`, which is all of the test called `test`, in another process, and looks for `why` in what it
/// says.
pub fn fails(test: &str, why: &str, model: impl Fn()) {
    const INSIDE: &str = "PROCESSION_MODEL_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return model();
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "nothing was found");
    assert!(said.contains(why), "found, but not {why:?}: {said}");
}
pub(crate) use found_out;

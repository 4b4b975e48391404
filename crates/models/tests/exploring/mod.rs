//! How models are run, and how mutants are shown to fail them.

/// Every interleaving with at most so many preemptions.
pub fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A mutant must be found out by one of the models: in a process of its own, which loom's deadlocks abort.
macro_rules! found_out {
    ($($mutant:ident by $model:ident$(($($argument:expr),*))? up to $bound:literal: $why:literal;)*) => {$(
        mod $mutant {
            models!(procession_models::mutants::$mutant);

            #[test]
            fn is_found_out() {
                crate::exploring::fails(concat!(stringify!($mutant), "::is_found_out"), $why, || {
                    crate::exploring::explore($bound, || $model($($($argument),*)?));
                });
            }
        }
    )*};
}

/// Runs `model`, which is all of the test called `test`, in another process, and looks for `why` in what it says.
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

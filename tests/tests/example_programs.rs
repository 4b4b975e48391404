//! The programs in the facade's `examples/` run to their ends, and leave nothing behind.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession_tests::{Scratch, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where cargo puts the programs of the same build as this test's.
fn built(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let program = deps.with_file_name("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build --workspace --examples", program.display());
    program
}

#[test]
fn every_example_runs_and_leaves_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("crates/procession/examples");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        let scratch = Scratch::new();
        let printed =
            run(Command::new(built(&name)).env("PROCESSION_NAMESPACE", scratch.name()).stdin(Stdio::null()));
        assert!(!printed.is_empty(), "{name} says nothing");
        assert!(scratch.objects().is_empty(), "{name} leaves {:?}", scratch.objects());
        count += 1;
    }
    assert!(count >= 6, "only {count} examples were found");
}

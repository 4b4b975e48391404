//! The programs in the facade's `examples/` run to their ends, and leave nothing behind.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession_tests::{Scratch, run};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where cargo puts the programs of the same build as this test's.
fn built(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let program = deps.with_file_name("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build --workspace --examples", program.display());
    program
}

/// A folder in which the command `procession` is, and the PATH that begins with it.
fn command_on_the_path() -> (tempfile::TempDir, OsString) {
    let folder = tempfile::tempdir().unwrap();
    let command = env!("CARGO_BIN_EXE_procession-tested");
    std::os::unix::fs::symlink(command, folder.path().join("procession")).unwrap();
    let mut path = OsString::from(folder.path());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    (folder, path)
}

#[test]
fn every_example_runs_and_leaves_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("crates/procession/examples");
    let (_command, path) = command_on_the_path();
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        // A script is what runs one of them.
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let scratch = Scratch::new();
        let mut program = Command::new(built(&name));
        program.env("PROCESSION_NAMESPACE", scratch.name()).env("PATH", &path).stdin(Stdio::null());
        let printed = run(&mut program);
        assert!(!printed.is_empty(), "{name} says nothing");
        assert!(scratch.objects().is_empty(), "{name} leaves {:?}", scratch.objects());
        count += 1;
    }
    assert!(count >= 15, "only {count} examples were found");
}

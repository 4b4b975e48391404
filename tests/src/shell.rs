//! Other programs: what they print, and namespaces of the kernel to run them in.

use std::io::Write;
use std::process::Command;

/// Says something that is worth knowing when the test has passed, too.
pub fn note(text: &str) {
    // A test without stderr has nobody to tell.
    drop(writeln!(std::io::stderr(), "note: {text}"));
}

/// Runs a command that must succeed; what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {:?}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Python, whose `multiprocessing` shares memory with us.
///
/// # Panics
/// When there is none: these tests are not to be skipped unnoticed.
#[must_use]
pub fn python() -> Command {
    let found = Command::new("python3").arg("--version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "this test needs python3 on the PATH: install it (for example `apt-get install python3`)"
    );
    Command::new("python3")
}

/// Whether this user may make kernel namespaces; says so if not, and the test is to be skipped.
#[must_use]
pub fn can_unshare(options: &[&str]) -> bool {
    let tried = Command::new("unshare").args(options).arg("true").output();
    let can = tried.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        note(&format!("SKIPPED: unshare {options:?} is not permitted here: {tried:?}"));
    }
    can
}

/// A command that runs `program` where `mount` has replaced `/dev/shm`, for it alone.
#[must_use]
pub fn in_own_shm(mount: &str, program: &std::path::Path) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{mount} /dev/shm && exec {}", program.display());
    command.args(["--mount", "sh", "-c", &script]);
    command
}

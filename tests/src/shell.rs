//! Other programs: what they print, and namespaces of the kernel to run them in.

use std::fs::OpenOptions;
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

/// Says that the calling test cannot be run here, and why; `make test` counts and lists these at its end.
pub fn skip(why: &str) {
    note(&format!("SKIPPED: {why}"));
    let Some(list) = std::env::var_os("PROCESSION_SKIPPED") else { return };
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    // One write for each line: tests run beside each other.
    let mut list = OpenOptions::new().create(true).append(true).open(list).unwrap();
    list.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
}

/// Whether this user may make kernel namespaces; says so if not, and the test is to be skipped.
///
/// # Panics
/// When the user may, and it does not work all the same: these tests are not to be skipped unnoticed.
#[must_use]
pub fn can_unshare(options: &[&str]) -> bool {
    let tried = Command::new("unshare").args(options).arg("true").output();
    let can = tried.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        assert!(!may_administer(), "unshare {options:?} does not work, and this user may use it: {tried:?}");
        skip(&format!("unshare {options:?} is not permitted here: run the tests as root"));
    }
    can
}

/// Whether this process has the capability that namespaces and mounts need.
fn may_administer() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    held.and_then(|held| u64::from_str_radix(held.trim(), 16).ok())
        .is_some_and(|held| held & CAP_SYS_ADMIN != 0)
}

/// A command that runs `program` where `mount` has replaced `/dev/shm`, for it alone.
#[must_use]
pub fn in_own_shm(mount: &str, program: &std::path::Path) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{mount} /dev/shm && exec {}", program.display());
    command.args(["--mount", "sh", "-c", &script]);
    command
}

//! Runs the command on a cluster.

use crate::cli::{Running, Said, procession};
use procession_tests::cluster::Place;
use std::process::{Command, Stdio};

fn on(mut command: Command, place: &Place) -> Command {
    command.env("PROCESSION_CLUSTER", &place.url).env("PROCESSION_SCHEMA", &place.schema);
    command
}

/// The command, on the cluster of the place.
pub(crate) fn command(place: &Place, arguments: &[&str]) -> Command {
    on(procession(arguments), place)
}

/// A script of `bash` in which `$P` is the command, on the cluster of the place.
pub(crate) fn shell(place: &Place, script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("P", env!("CARGO_BIN_EXE_procession-tested")).stdin(Stdio::null());
    on(command, place)
}

pub(crate) fn run(place: &Place, arguments: &[&str]) -> Said {
    Running::start(&mut command(place, arguments)).end()
}

/// Code, and what was printed.
pub(crate) fn ends(place: &Place, arguments: &[&str]) -> (i32, String) {
    let said = run(place, arguments);
    let code = said.code().unwrap_or_else(|| panic!("{arguments:?}: {said:?}"));
    if code == 0 {
        assert_eq!(said.stderr, "", "{arguments:?}");
    }
    (code, said.stdout)
}

pub(crate) fn code(place: &Place, arguments: &[&str]) -> i32 {
    ends(place, arguments).0
}

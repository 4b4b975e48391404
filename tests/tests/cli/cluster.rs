//! Runs the command on a cluster.

use crate::cli::{Running, Said, procession, until};
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

/// A process for which something may be held.
pub(crate) fn someone() -> Running {
    Running::start(Command::new("sleep").arg("1000"))
}

/// The keeper that holds something for this process, once it is there.
pub(crate) fn keeper_for(owner: u32) -> u32 {
    until("the keeper", || find_keeper(owner))
}

/// The keeper that holds something for this process, if there is one.
pub(crate) fn find_keeper(owner: u32) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').skip_while(|word| *word != "__keeper").nth(1) == Some(owner.to_string().as_str())
    })
}

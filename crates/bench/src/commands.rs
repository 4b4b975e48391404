//! Whole programs: the command `procession`, and those that people use for the same.

use crate::case::{Plan, Side};
use crate::error::{BenchError, Context, Result};
use std::ffi::OsString;
use std::io::{ErrorKind, Write, pipe};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// How many lines the programs are given.
const LINES: u32 = 1000;

/// The command, as `make build` leaves it.
fn procession() -> Result<PathBuf> {
    let mut path = std::env::current_exe().context("this program's own file")?;
    path.set_file_name("procession");
    if path.exists() {
        return Ok(path);
    }
    Err(BenchError::Unavailable(format!("{} is not built: make build", path.display())))
}

/// How long our command takes, ms.
pub(crate) fn ours<'a>(_: &Plan<'_>, arguments: &'a [&'a str]) -> Result<Side<'a>> {
    each(procession()?.into(), arguments)
}

/// How long another program takes, ms.
pub(crate) fn theirs<'a>(_: &Plan<'_>, program: &str, arguments: &'a [&'a str]) -> Result<Side<'a>> {
    match Command::new(program).arg("--version").stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(BenchError::Unavailable(format!("{program} is not installed")))
        }
        Err(error) => Err(BenchError::Failed(format!("{program}: {error}"))),
        Ok(_) => each(program.into(), arguments),
    }
}

/// A program that is run once in a round, with numbers on its stdin, each on a line.
fn each<'a>(program: OsString, arguments: &'a [&'a str]) -> Result<Side<'a>> {
    // Less than a pipe holds.
    let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    let round = move || {
        let (stdin, mut end) = pipe().context("a pipe of lines")?;
        end.write_all(lines.as_bytes()).context("a pipe of lines")?;
        drop(end);
        let mut command = Command::new(&program);
        let begun = Instant::now();
        let output = command.args(arguments).stdin(stdin).output().context(program.display())?;
        let took = begun.elapsed();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let what = format!("{} {arguments:?}: {} {said}", program.display(), output.status);
            return Err(BenchError::Failed(what));
        }
        Ok(vec![took.as_secs_f64() * 1e3])
    };
    // Programs are read from the disk.
    round()?;
    Ok(Box::new(round))
}

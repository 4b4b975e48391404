//! What became of a command, for scripts: one line of JSON in a file, because a command may itself use any exit code.

use crate::wrap::Outcome;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use procession_sys::pidfd::Ended;
use procession_sys::{clock, inherited};
use procession_terminal::exit::Failure;
use serde::Serialize;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where a report goes.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    File(PathBuf),
    /// To where somebody else has opened it, behind what is there.
    Open(Arc<File>),
}

impl std::str::FromStr for Report {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_prefix("fd:") else {
            // What is known now need not wait until the command has run. Nothing is made: it is there once all is done.
            could_be_written(Path::new(text)).map_err(|error| format!("it cannot be written: {error}"))?;
            return Ok(Self::File(text.into()));
        };
        let number: u32 = number.parse().map_err(|_| "write a descriptor as fd:3".to_owned())?;
        let opened = inherited::descriptor(number);
        let opened = opened.map_err(|error| format!("descriptor {number} cannot be used: {error}"))?;
        Ok(Self::Open(Arc::new(opened.into())))
    }
}

/// # Errors
/// Why not, as far as that is known without opening it, which for a pipe takes until somebody reads.
fn could_be_written(path: &Path) -> io::Result<()> {
    let may = |path: &Path, mode| faccessat(AT_FDCWD, path, mode, AtFlags::AT_EACCESS);
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(may(path, AccessFlags::W_OK)?),
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
            let directory = path.parent().ok_or(error)?;
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            Ok(may(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
        }
        // Where the link leads, it may be made.
        Err(_) if path.is_symlink() => Ok(()),
        Err(error) => Err(error),
    }
}

impl Report {
    pub(crate) fn write(&self, record: &Record) -> Result<(), Failure> {
        let mut lines = self.lines()?;
        lines.write(record);
        lines.end()
    }

    /// For reports of several lines.
    pub(crate) fn lines(&self) -> Result<Lines, Failure> {
        let (file, place) = match self {
            Self::Open(file) => (Arc::clone(file), "its descriptor".to_owned()),
            Self::File(path) => {
                let place = path.display().to_string();
                let file = File::create(path).map_err(|error| not_written(&place, &error))?;
                (Arc::new(file), place)
            }
        };
        Ok(Lines { file, place, failed: None })
    }
}

fn not_written(place: &str, error: &io::Error) -> Failure {
    Failure::Error(format!("cannot write the report to {place}: {error}").into())
}

/// A report that is being written.
#[derive(Debug)]
pub(crate) struct Lines {
    file: Arc<File>,
    place: String,
    failed: Option<io::Error>,
}

impl Lines {
    /// Writes one record, in one piece. What goes wrong is told at the end: the workers are not the report's.
    pub(crate) fn write(&mut self, record: &impl Serialize) {
        let line = serde_json::to_string(record).map(|line| line + "\n").map_err(io::Error::from);
        if let Err(error) = line.and_then(|line| (&*self.file).write_all(line.as_bytes())) {
            self.failed.get_or_insert(error);
        }
    }

    /// # Errors
    /// Why a record was not written.
    pub(crate) fn end(self) -> Result<(), Failure> {
        self.failed.map_or(Ok(()), |error| Err(not_written(&self.place, &error)))
    }
}

/// The report's one line.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    v: u32,
    /// When it was written, in seconds since the epoch.
    ts: f64,
    kind: &'static str,
    targets: Vec<String>,
    acquired: bool,
    owner_died: bool,
    /// The fencing token, of one lock.
    token: Option<Mark>,
    waited_seconds: Option<f64>,
    ran_seconds: Option<f64>,
    /// The command's own exit code, or the signal that ended it.
    code: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    /// The exit code of this program.
    exit: u8,
    error: Option<String>,
}

/// A fencing token.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Mark {
    Number(u64),
    /// Of a cluster.
    #[cfg_attr(not(feature = "cluster"), expect(dead_code, reason = "no lock of a host has such a one"))]
    Text(String),
}

impl Record {
    pub(crate) fn of(targets: &[impl ToString]) -> Self {
        Self {
            v: 1,
            ts: 0.0,
            kind: "report",
            targets: targets.iter().map(ToString::to_string).collect(),
            acquired: false,
            owner_died: false,
            token: None,
            waited_seconds: None,
            ran_seconds: None,
            code: None,
            signal: None,
            timed_out: false,
            exit: 0,
            error: None,
        }
    }

    pub(crate) fn acquired(&mut self, token: Option<Mark>, owner_died: bool, waited: Duration) {
        self.acquired = true;
        self.token = token;
        self.waited_seconds = Some(waited.as_secs_f64());
        self.owner_died = owner_died;
    }

    pub(crate) fn ran(&mut self, outcome: Outcome) {
        self.ran_seconds = Some(outcome.ran.as_secs_f64());
        self.timed_out = outcome.timed_out;
        match outcome.ended {
            Ended::Exited(code) => self.code = Some(code),
            Ended::Signaled(signal) => self.signal = Some(signal),
        }
    }

    pub(crate) fn ended(&mut self, outcome: &Result<(), Failure>) -> &Self {
        self.ts = clock::wall_ns() as f64 / 1e9;
        if let Err(failure) = outcome {
            self.exit = failure.code();
            self.error =
                Some(failure.reason().to_owned()).filter(|_| !matches!(failure, Failure::Command(_)));
        }
        self
    }
}

//! A process that is about to be started: what it is given, in the form in which it crosses; and its start by
//! executing the program anew.
//!
//! The descriptors that a child inherits, in this order: the task, the report, the parent's end (if there is
//! one), the stdout to be restored (if there is one), the lifelines of its places in registries, the files
//! among its standard streams (if it is copied), and what the options added.

use crate::children::{Born, Child, Plan};
use crate::current::myself;
use crate::entry::EntryRef;
use crate::error::{KernelError, SpawnError};
use crate::init::{VARIABLE, test_helper};
use crate::method::start_method;
use crate::report::{Report, too_long};
use crate::settings::Settings;
use crate::starter::Starter;
use crate::stdio::{ChildStreams, PipeEnds};
use crate::surroundings::Surroundings;
use crate::task::{self, TaskEntry, TaskHeader};
use crate::trace;
use procession_channel::codec;
use procession_shm::{Carried, StartingProcess};
use procession_sys::image::Image;
use procession_sys::pidfd;
use procession_sys::start::{self, Start};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything about a process that is about to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The path of the function.
    pub(crate) function: &'static str,
    pub(crate) entry: EntryRef<TaskEntry>,
    /// Encoded.
    pub(crate) arguments: Vec<u8>,
    pub(crate) is_server: bool,
    pub(crate) name: String,
    pub(crate) lineage: Vec<u32>,
    pub(crate) daemon: bool,
    pub(crate) detached: bool,
    pub(crate) namespace: Option<String>,
    /// The whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) process_group: Option<u32>,
    pub(crate) settings: Settings,
    pub(crate) streams: ChildStreams,
    pub(crate) pipes: PipeEnds,
    pub(crate) inherit: Vec<Arc<OwnedFd>>,
    pub(crate) carried: Carried,
    pub(crate) places: Vec<StartingProcess>,
}

/// What differs between the start methods.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Whether the kernel is to kill the child when the thread ends whose child it is.
    pub(crate) dies_with_thread: bool,
    /// Where the child's stdout is kept until it has come up.
    pub(crate) stdout: Option<OwnedFd>,
    /// What a copied child does itself, and the files for its streams.
    pub(crate) surroundings: Option<(Surroundings, Vec<OwnedFd>)>,
}

/// The files through which a child is given its task and gives its report.
#[derive(Debug)]
pub(crate) struct Papers {
    task: File,
    pub(crate) report: Report,
}

impl Launch {
    /// An error of the kernel about this process.
    pub(crate) fn kernel(&self, operation: &'static str, error: io::Error) -> KernelError {
        KernelError::before_start(operation, &self.name, error)
    }

    /// Writes the task and makes the report.
    ///
    /// # Errors
    /// `TooLong`, `Encode`, and what the kernel says.
    pub(crate) fn papers(&self, starter: &Starter, way: &Way) -> Result<Papers, SpawnError> {
        let header = TaskHeader {
            image: Image::current().identity().map_err(|error| self.kernel("stat /proc/self/exe", error))?,
            is_server: self.is_server,
            start_method: start_method(),
            entry: self.entry,
            name: self.name.clone(),
            lineage: self.lineage.clone(),
            daemon: self.daemon,
            detached: self.detached,
            restore_stdout: way.stdout.is_some(),
            parent_pid: std::process::id(),
            parent_name: myself().name.clone(),
            starter: starter.thread_id(),
            dies_with_thread: way.dies_with_thread && !self.detached,
            parent_fd: starter.end.is_some(),
            namespace: self.namespace.clone(),
            places: self.places.iter().map(StartingProcess::describe).collect(),
            surroundings: way.surroundings.as_ref().map(|(surroundings, _)| surroundings.clone()),
            settings: self.settings.clone(),
        };
        let function = self.function;
        let mut bytes = Vec::new();
        codec::encode(&header, &mut bytes).map_err(|source| SpawnError::Encode { function, source })?;
        let task = task::write(&bytes, &self.arguments).map_err(|error| {
            match too_long(self.arguments.len(), &error) {
                Some(reason) => SpawnError::TooLong { function, reason },
                None => self.kernel("writing the task to a memfd", error).into(),
            }
        })?;
        let report = Report::create().map_err(|error| self.kernel("memfd_create", error))?;
        Ok(Papers { task, report })
    }

    /// The descriptors that the child inherits, in their order.
    ///
    /// # Errors
    /// This program has closed the report.
    pub(crate) fn descriptors<'a>(
        &'a self,
        papers: &'a Papers,
        starter: &'a Starter,
        way: &'a Way,
    ) -> Result<Vec<BorrowedFd<'a>>, KernelError> {
        let report = papers.report.file().map_err(|error| self.kernel("memfd_create", error))?;
        let streams = way.surroundings.iter().flat_map(|(_, files)| files);
        Ok([papers.task.as_fd(), report.as_fd()]
            .into_iter()
            .chain(starter.end.as_ref().map(AsFd::as_fd))
            .chain(way.stdout.as_ref().map(AsFd::as_fd))
            .chain(self.places.iter().map(AsFd::as_fd))
            .chain(streams.map(AsFd::as_fd))
            .chain(self.inherit.iter().map(|fd| fd.as_fd()))
            .collect())
    }

    /// Starts the process by executing the program anew.
    ///
    /// # Errors
    /// `InvalidString`, `Directory`, those of [`papers`](Self::papers), and what the kernel says.
    pub(crate) fn execute(mut self, starter: &Starter) -> Result<Child, SpawnError> {
        // Under the test harness: the harness in the child must not write to it.
        let stdout = test_helper().and_then(|_| self.streams.hold_back_stdout());
        let way = Way { dies_with_thread: starter.thread_id().is_some(), stdout, surroundings: None };
        let papers = self.papers(starter, &way)?;
        let inherit = self.descriptors(&papers, starter, &way)?;
        let start = self.start(inherit.iter().map(AsRawFd::as_raw_fd).collect())?;
        let pid = starter.start(start).map_err(|error| self.why_not_started(error))?;
        self.born(Born { pid, pidfd: None }, papers)
    }

    fn start(&self, inherit: Vec<RawFd>) -> Result<Start, SpawnError> {
        let path = |directory: &PathBuf| c_string(directory.as_os_str().as_bytes().to_vec());
        let numbers: Vec<String> = inherit.iter().map(RawFd::to_string).collect();
        let task = (VARIABLE.into(), numbers.join(",").into());
        let environment = self.environment.iter().cloned().chain([task]);
        Ok(Start {
            arguments: arguments_of_child()?,
            environment: environment.map(assignment).collect::<Result<_, _>>()?,
            inherit,
            streams: self.streams.streams(),
            directory: self.directory.as_ref().map(path).transpose()?,
            process_group: self.process_group,
        })
    }

    /// `posix_spawn` does not say what of all that it does has failed.
    fn why_not_started(&self, error: io::Error) -> SpawnError {
        match &self.directory {
            Some(directory) if cannot_be_entered(directory).is_some() => {
                SpawnError::Directory { directory: directory.clone(), source: error }
            }
            _ => self.kernel("posix_spawn", error).into(),
        }
    }

    /// Checks what `posix_spawn` would have found out before the process exists.
    ///
    /// # Errors
    /// `InvalidString`, `Directory`.
    pub(crate) fn check(&self) -> Result<(), SpawnError> {
        self.environment.iter().try_for_each(|one| assignment(one.clone()).map(drop))?;
        match self.directory.as_ref().map(|directory| (directory, cannot_be_entered(directory))) {
            Some((directory, Some(source))) => {
                Err(SpawnError::Directory { directory: directory.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// The child, which exists now.
    ///
    /// # Errors
    /// No descriptor of it can be had; then it is killed.
    pub(crate) fn born(self, born: Born, papers: Papers) -> Result<Child, SpawnError> {
        let refused = self.process_group.and_then(|group| start::set_process_group(born.pid, group).err());
        if let Some(error) = refused {
            pidfd::discard(born.pid);
            return Err(self.kernel("setpgid", error).into());
        }
        // From here on the child alone holds its places in the registries.
        self.places.into_iter().for_each(|place| place.started(born.pid));
        let plan = Plan {
            name: self.name,
            function: self.function,
            daemon: self.daemon,
            detached: self.detached,
            report: papers.report,
            carried: self.carried,
            pipes: self.pipes,
        };
        let child = Child::new(born, plan)?;
        trace::started(&child.label);
        Ok(child)
    }
}

/// Why not, if it cannot: the directory in itself is found under the same right by which it is entered. (In an empty
/// path that would be another one.)
fn cannot_be_entered(directory: &Path) -> Option<io::Error> {
    let found = std::fs::metadata(directory).and_then(|_| std::fs::metadata(directory.join(".")));
    found.err()
}

fn assignment((name, value): (OsString, OsString)) -> Result<CString, SpawnError> {
    // As std: a leading `=` is part of the name.
    if name.is_empty() || name.as_bytes().iter().skip(1).any(|&byte| byte == b'=') {
        return Err(SpawnError::InvalidString(name.to_string_lossy().into_owned()));
    }
    c_string([name.as_bytes(), b"=", value.as_bytes()].concat())
}

fn c_string(bytes: Vec<u8>) -> Result<CString, SpawnError> {
    CString::new(bytes)
        .map_err(|error| SpawnError::InvalidString(String::from_utf8_lossy(&error.into_vec()).into_owned()))
}

/// The program's own arguments; under the test harness, those that make it run the helper test and nothing
/// else.
fn arguments_of_child() -> Result<Vec<CString>, SpawnError> {
    let ours = std::env::args_os().map(|argument| c_string(argument.as_bytes().to_vec()));
    let Some(helper) = test_helper() else { return ours.collect() };
    let harness = [&helper, "--exact", "--test-threads=1", "--nocapture", "-q"];
    ours.take(1).chain(harness.into_iter().map(|argument| c_string(argument.into()))).collect()
}

/// What this process has in its environment, changed: `None` removes a variable, and of two changes of one the
/// later counts.
pub(crate) fn environment(
    changes: &[(OsString, Option<OsString>)],
    clears: bool,
) -> Vec<(OsString, OsString)> {
    let is_changed = |name: &OsStr| name == VARIABLE || changes.iter().any(|(own, _)| own == name);
    let ours = std::env::vars_os().filter(|(name, _)| !clears && !is_changed(name));
    let own = changes.iter().enumerate().filter_map(|(index, (name, value))| {
        let is_changed_again = changes.iter().skip(index + 1).any(|(later, _)| later == name);
        let value = value.clone().filter(|_| !is_changed_again && name != VARIABLE)?;
        Some((name.clone(), value))
    });
    ours.chain(own).collect()
}

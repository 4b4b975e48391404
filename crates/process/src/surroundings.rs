//! What a process finds around it when it was copied instead of executed: its streams, its environment, its
//! directory, its group, its signals. Of a process that is executed all that is `posix_spawn`'s work.

use crate::error::failed;
use procession_sys::Latest;
use procession_sys::forking::{changed_signals, replace_environment, reset_signals};
use procession_sys::signals::{self, SIGHUP, SIGINT, SIGQUIT};
use procession_sys::start::{self, Stream};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The signals that stay ignored in a child if they are in its parent: `nohup` relies on it.
const KEPT_IGNORED: [i32; 3] = [SIGHUP, SIGINT, SIGQUIT];

/// The signals that a forkserver has found to have another action than their default, so that its copies need
/// not look.
static CHANGED_SIGNALS: Latest<Option<Vec<i32>>> = Latest::none();

/// Notes the signals of this process, which will be copied and changes no signal any more.
pub(crate) fn note_signals() {
    CHANGED_SIGNALS.set(Some(changed_signals()));
}

/// What crosses to a process that is copied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// Standard input, output and error output.
    pub(crate) streams: [Given; 3],
    /// The whole environment, if it is another than that of the process which is copied.
    pub(crate) environment: Option<Vec<(OsString, OsString)>>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) process_group: Option<u32>,
    /// The signals that are ignored.
    ignored: Vec<i32>,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Given {
    /// `/dev/null`.
    Null,
    /// That of the process which is copied.
    Kept,
    /// None: the number is free.
    Closed,
    /// The next inherited descriptor.
    File,
}

impl Surroundings {
    /// The surroundings of a process that has `streams`, where one that is inherited is given as a file.
    pub(crate) fn new(
        streams: [Given; 3],
        environment: Option<Vec<(OsString, OsString)>>,
        directory: Option<PathBuf>,
        process_group: Option<u32>,
    ) -> Self {
        let ignored = KEPT_IGNORED.into_iter().filter(|&signal| signals::is_ignored(signal)).collect();
        Self { streams, environment, directory, process_group, ignored }
    }

    /// Makes them those of this process; `files` are the inherited descriptors.
    ///
    /// # Errors
    /// What could not be done, and why.
    pub(crate) fn apply(&self, files: &mut impl Iterator<Item = OwnedFd>) -> io::Result<()> {
        let noted = CHANGED_SIGNALS.get().and_then(Option::as_ref);
        reset_signals(&noted.cloned().unwrap_or_else(changed_signals), &self.ignored);
        // This process may change some, and be copied itself.
        CHANGED_SIGNALS.set(None);
        for (number, given) in (0..).zip(self.streams) {
            let file = match given {
                Given::File => Some(files.next().ok_or(io::ErrorKind::InvalidData)?),
                Given::Kept => continue,
                Given::Null | Given::Closed => None,
            };
            let stream = match (given, &file) {
                (Given::Closed, _) => None,
                (_, None) => Some(Stream::Null),
                (_, Some(file)) => Some(Stream::File(std::os::fd::AsRawFd::as_raw_fd(file))),
            };
            start::set_stream(number, stream)?;
        }
        if let Some(group) = self.process_group {
            start::set_process_group(std::process::id(), group)
                .map_err(failed(format!("the process group {group}")))?;
        }
        if let Some(directory) = &self.directory {
            std::env::set_current_dir(directory)
                .map_err(failed(format!("the directory {}", directory.display())))?;
        }
        if let Some(environment) = &self.environment {
            replace_environment(environment);
        }
        Ok(())
    }
}

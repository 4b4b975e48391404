//! The task of a child, in a sealed file in memory.
//!
//! | bytes        | content                                                    |
//! |--------------|------------------------------------------------------------|
//! | 0..8         | [`MAGIC`]                                                  |
//! | 8..12        | [`VERSION`]                                                |
//! | 12..16       | the codec's id                                             |
//! | 16..24       | length of the header                                       |
//! | 24..32       | length of the arguments                                    |
//! | 32..         | the header, then the arguments, both encoded               |
//!
//! Nobody can change a sealed file, so what was checked stays checked.

use crate::entry::{EntryRef, SameBuild};
use crate::method::StartMethod;
use crate::report::Outcome;
use crate::settings::Settings;
use crate::surroundings::Surroundings;
use procession_channel::codec::{self, Codec};
use procession_sys::memfd;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: [u8; 8] = *b"PROCTASK";
const VERSION: u32 = 4;
const PREFIX: usize = 32;

/// The function that a child runs: it decodes the arguments, calls the user's function, encodes the result.
pub(crate) type TaskEntry = fn(Task) -> Outcome;

/// Everything about a child but its arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskHeader {
    /// The parent's [`identity`](procession_sys::image::Image::identity).
    pub(crate) image: Vec<u8>,
    /// Whether the child is a forkserver: it has one thread alone.
    pub(crate) is_server: bool,
    /// The parent's [`start_method`](crate::start_method).
    pub(crate) start_method: StartMethod,
    pub(crate) entry: EntryRef<TaskEntry>,
    pub(crate) name: String,
    /// The numbers in the default name: `[1, 2]` for `Process-1:2`.
    pub(crate) lineage: Vec<u32>,
    pub(crate) daemon: bool,
    pub(crate) detached: bool,
    /// Whether the next inherited descriptor is the stdout to restore.
    pub(crate) restore_stdout: bool,
    pub(crate) parent_pid: u32,
    pub(crate) parent_name: String,
    /// The parent's thread that started the child and is kept for ever, if there is one.
    pub(crate) starter: Option<u32>,
    /// Whether the kernel is to kill the child when the thread ends whose child it is.
    pub(crate) dies_with_thread: bool,
    /// Whether the third inherited descriptor is one of the parent.
    pub(crate) parent_fd: bool,
    /// The parent's namespace, if it has a valid one.
    pub(crate) namespace: Option<String>,
    /// The child's places in registries: the next inherited descriptors are their lifelines.
    pub(crate) places: Vec<(String, u64)>,
    /// What a child that was copied has to do of what `posix_spawn` does for others; the files in it are the
    /// next inherited descriptors.
    pub(crate) surroundings: Option<Surroundings>,
    /// What the child is to change of itself.
    pub(crate) settings: Settings,
}

/// A task as the child reads it.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) header: TaskHeader,
    bytes: Vec<u8>,
    arguments_at: usize,
}

/// Why a file is not a task for this process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotATask {
    #[error("the task cannot be read")]
    Read(#[from] io::Error),
    #[error("the task has not the form this build writes (expected version {VERSION}, codec {codec})", codec = Codec::Bincode)]
    Format,
    #[error("the header of the task cannot be decoded")]
    Header(#[from] codec::DecodeError),
}

/// Writes the task into a sealed file.
pub(crate) fn write(header: &[u8], arguments: &[u8]) -> io::Result<File> {
    let mut prefix = Vec::with_capacity(PREFIX + header.len());
    prefix.extend_from_slice(&MAGIC);
    prefix.extend_from_slice(&VERSION.to_le_bytes());
    prefix.extend_from_slice(&Codec::Bincode.id().to_le_bytes());
    prefix.extend_from_slice(&(header.len() as u64).to_le_bytes());
    prefix.extend_from_slice(&(arguments.len() as u64).to_le_bytes());
    prefix.extend_from_slice(header);
    let file = memfd::create("procession-task")?;
    memfd::write_at(&file, &prefix, 0)?;
    memfd::write_at(&file, arguments, prefix.len() as u64)?;
    memfd::seal(&file)?;
    Ok(file)
}

impl Task {
    /// Reads the task back and checks its form.
    pub(crate) fn read(file: &File) -> Result<Self, NotATask> {
        let length = usize::try_from(file.metadata()?.len()).map_err(|_| NotATask::Format)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        let header_end = header_end(&bytes).ok_or(NotATask::Format)?;
        let header = codec::decode(&bytes[PREFIX..header_end])?;
        Ok(Self { header, bytes, arguments_at: header_end })
    }

    /// The function that the task names, if the task was made by this very build.
    ///
    /// # Errors
    /// A sentence for the parent: another build, or no code at that place.
    pub(crate) fn function(&self) -> Result<TaskEntry, String> {
        self.header.entry.find(SameBuild::compare(&self.header.image)?)
    }

    pub(crate) fn arguments(&self) -> &[u8] {
        &self.bytes[self.arguments_at..]
    }
}

/// Checks the prefix, and that header and arguments fill the file exactly.
fn header_end(bytes: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| {
        let long = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?);
        usize::try_from(long).ok()
    };
    let good = bytes.starts_with(&MAGIC) && word(8)? == VERSION && word(12)? == Codec::Bincode.id();
    let header_end = PREFIX.checked_add(long(16)?)?;
    let end = header_end.checked_add(long(24)?)?;
    (good && end == bytes.len()).then_some(header_end)
}

#[cfg(test)]
mod tests {
    use super::{NotATask, Task, TaskEntry, TaskHeader, write};
    use crate::entry::EntryRef;
    use crate::method::StartMethod;
    use crate::report::Outcome;
    use crate::settings::Settings;
    use procession_channel::codec;
    use std::os::unix::fs::FileExt;

    fn refuse(_: Task) -> Outcome {
        Outcome::Refused(String::new())
    }

    fn header() -> Vec<u8> {
        let header = TaskHeader {
            image: vec![1],
            is_server: false,
            start_method: StartMethod::Spawn,
            entry: EntryRef::new::<TaskEntry, (), ()>(refuse as TaskEntry).unwrap(),
            name: "n".into(),
            lineage: vec![1, 2],
            daemon: true,
            detached: false,
            restore_stdout: false,
            parent_pid: 4,
            parent_name: "p".into(),
            starter: None,
            dies_with_thread: false,
            parent_fd: true,
            namespace: None,
            places: Vec::new(),
            surroundings: None,
            settings: Settings::default(),
        };
        let mut bytes = Vec::new();
        codec::encode(&header, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_task_comes_back() {
        let task = Task::read(&write(&header(), b"args").unwrap()).unwrap();
        assert_eq!(
            (task.header.lineage.as_slice(), task.arguments()),
            ([1, 2].as_slice(), b"args".as_slice())
        );
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let good = write(&header(), b"args").unwrap();
        let mut bytes = vec![0; good.metadata().unwrap().len() as usize];
        good.read_exact_at(&mut bytes, 0).unwrap();
        let read = |bytes: &[u8]| {
            let file = procession_sys::memfd::create("test").unwrap();
            file.write_all_at(bytes, 0).unwrap();
            Task::read(&file)
        };
        assert!(read(&bytes).is_ok());
        for length in 0..bytes.len() {
            assert!(matches!(read(&bytes[..length]), Err(NotATask::Format)), "cut to {length}");
        }
        for at in 0..32 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x80;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
    }
}

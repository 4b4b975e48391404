//! The report of a child about itself, in a file in memory: the child never waits for a parent that is not
//! looking.
//!
//! | bytes  | content                                                               |
//! |--------|-----------------------------------------------------------------------|
//! | 0..4   | the state word: [`Stage`] in the low byte, [`Kind`] in the next       |
//! | 4..8   | the child's pid, in the same store                                    |
//! | 8..16  | length of the content                                                 |
//! | 16..   | the content: the encoded result, an encoded [`Panic`], or a message   |
//!
//! # If the child dies
//! The word is written last. Before it there is no report, whatever of the content is there; after it the
//! report is complete. The parent reads the content only after the child has ended.

use crate::error::{ProcessError, in_full};
use crate::label::ProcessLabel;
use crate::panicked::Panic;
use crate::remote::RemoteError;
use procession_channel::codec;
use procession_sys::Latest;
use procession_sys::errno::EFBIG;
use procession_sys::limits::longest_file;
use procession_sys::memfd;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// The report that this process makes to its parent, if it is a child.
static OWN: Latest<Report> = Latest::none();

const LENGTH_AT: u64 = 8;
const CONTENT_AT: u64 = 16;

/// How far the child has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing was heard of it.
    New,
    /// `init()` found the task.
    Started,
    /// The arguments are decoded: the child has its own handles now.
    Decoded,
    /// The report is complete.
    Committed,
}

/// The content of a complete report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Returned,
    Panicked,
    Refused,
    Arguments,
    Encode,
    Failed,
}

/// How the child's function ended; the content is encoded already.
#[derive(Debug)]
pub(crate) enum Outcome {
    Returned(Vec<u8>),
    Panicked(Panic),
    /// The function returned an error.
    Failed(RemoteError),
    Refused(String),
    /// The arguments could not be decoded.
    Arguments(String),
    /// The result could not be encoded.
    Encode(String),
}

/// An end of the file; parent and child each have one.
#[derive(Debug)]
pub(crate) struct Report {
    /// There until the drop.
    file: Option<File>,
    /// Device and inode, by which its process notices that somebody closed every descriptor there was, and
    /// that the number now belongs to another file.
    identity: (u64, u64),
}

impl Report {
    pub(crate) fn create() -> io::Result<Self> {
        memfd::create("procession-report").and_then(Self::from_file)
    }

    /// Makes this the report of this process, which is a child.
    pub(crate) fn begin(self) -> &'static Self {
        OWN.set(self)
    }

    /// The report of this process to its parent, if it is a child.
    pub(crate) fn own() -> Option<&'static Self> {
        OWN.get()
    }

    pub(crate) fn from_file(file: File) -> io::Result<Self> {
        let identity = identity(&file)?;
        Ok(Self { file: Some(file), identity })
    }

    /// The file, unless somebody has closed it.
    pub(crate) fn file(&self) -> io::Result<&File> {
        let is_ours = |file: &&File| identity(file).is_ok_and(|identity| identity == self.identity);
        self.file.as_ref().filter(is_ours).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Says that the child has come to `stage`; whether that could be said. A failure only delays what the parent learns.
    pub(crate) fn mark(&self, stage: Stage) -> bool {
        self.file().and_then(|file| memfd::write_at(file, &state_word(stage, 0), 0)).is_ok()
    }

    /// Says that the child is wanted no more, if it has not said anything: then it cannot any more, and begins nothing.
    /// Its pid, if it has.
    pub(crate) fn withdraw(&self) -> Option<u32> {
        self.pid().or_else(|| {
            drop(self.file().and_then(memfd::seal));
            // One that has said so in this very moment has begun, and cannot report.
            self.pid()
        })
    }

    /// Whether the parent wants the child no more, and has asked for another one: then the child could say nothing.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.file().is_ok_and(memfd::is_sealed)
    }

    /// Hands `outcome` to the parent; once this has returned, no death takes it back.
    ///
    /// A result for which there is no memory becomes an `Encode` report.
    ///
    /// # Errors
    /// The file was closed behind our back, or there is no memory even for the reason.
    pub(crate) fn commit(&self, outcome: Outcome) -> io::Result<()> {
        let (kind, content) = match outcome {
            Outcome::Returned(bytes) => (Kind::Returned, bytes),
            Outcome::Refused(message) => (Kind::Refused, message.into_bytes()),
            Outcome::Arguments(message) => (Kind::Arguments, message.into_bytes()),
            Outcome::Encode(message) => (Kind::Encode, message.into_bytes()),
            Outcome::Panicked(panic) => encoded(Kind::Panicked, &panic),
            Outcome::Failed(error) => encoded(Kind::Failed, &error),
        };
        self.store(kind, &content).or_else(|error| self.store_instead(kind, &content, error))
    }

    /// Stores as much as there is room for of what there was no room for.
    fn store_instead(&self, kind: Kind, content: &[u8], error: io::Error) -> io::Result<()> {
        if kind == Kind::Panicked
            && let Ok(panic) = codec::decode::<Panic>(content)
            && self.store_panic(Panic { backtrace: None, ..panic }).is_ok()
        {
            return Ok(());
        }
        let reason = too_long(content.len(), &error).unwrap_or_else(|| in_full(&error));
        let room = usize::try_from(longest_file().saturating_sub(CONTENT_AT)).unwrap_or(usize::MAX);
        self.store(Kind::Encode, &reason.as_bytes()[..reason.len().min(room)])
    }

    fn store_panic(&self, panic: Panic) -> io::Result<()> {
        let mut bytes = Vec::new();
        codec::encode(&panic, &mut bytes).map_err(io::Error::other)?;
        self.store(Kind::Panicked, &bytes)
    }

    fn store(&self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let file = self.file()?;
        memfd::write_at(file, content, CONTENT_AT)?;
        memfd::write_at(file, &(content.len() as u64).to_le_bytes(), LENGTH_AT)?;
        memfd::write_at(file, &state_word(Stage::Committed, kind as u8), 0)
    }

    fn word(&self) -> [u8; 8] {
        let mut word = [0; 8];
        // An empty file is the first state, and reads as such; so does one that was closed.
        drop(self.file().and_then(|file| file.read_exact_at(&mut word, 0)));
        word
    }

    /// The child's pid, once it has said anything.
    pub(crate) fn pid(&self) -> Option<u32> {
        let [_, _, _, _, pid @ ..] = self.word();
        Some(u32::from_le_bytes(pid)).filter(|&pid| pid != 0)
    }

    /// How far the child has come.
    pub(crate) fn stage(&self) -> Stage {
        match self.word()[0] {
            0 => Stage::New,
            1 => Stage::Started,
            2 => Stage::Decoded,
            _ => Stage::Committed,
        }
    }

    /// The result or the error in a complete report, which is that of `process`; `None` if the report is not
    /// complete.
    pub(crate) fn read<R: DeserializeOwned>(
        &self,
        process: &ProcessLabel,
    ) -> Option<Result<R, ProcessError>> {
        let process = process.clone();
        if self.file().is_err() {
            return Some(Err(ProcessError::ReportClosed { process }));
        }
        if self.stage() != Stage::Committed {
            return None;
        }
        let kind = self.word()[1];
        let content = match self.content() {
            Ok(content) => content,
            Err(error) => {
                return Some(Err(ProcessError::Encode { process, reason: in_full(&error) }));
            }
        };
        let reason = String::from_utf8_lossy(&content).into_owned();
        Some(match kind {
            k if k == Kind::Returned as u8 => {
                codec::decode(&content).map_err(|source| ProcessError::Decode { process, source })
            }
            k if k == Kind::Panicked as u8 => Err(reported(process, &content, ProcessError::panicked)),
            k if k == Kind::Failed as u8 => Err(reported(process, &content, ProcessError::failed)),
            k if k == Kind::Refused as u8 => Err(ProcessError::Refused { process, reason }),
            k if k == Kind::Arguments as u8 => Err(ProcessError::Arguments { process, reason }),
            _ => Err(ProcessError::Encode { process, reason }),
        })
    }

    /// The panic that a complete report is about, if it is.
    pub(crate) fn panic(&self) -> Option<Panic> {
        let is_panic = self.stage() == Stage::Committed && self.word()[1] == Kind::Panicked as u8;
        if is_panic { codec::decode(&self.content().ok()?).ok() } else { None }
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let mut length = [0; 8];
        let file = self.file()?;
        file.read_exact_at(&mut length, LENGTH_AT)?;
        let length = u64::from_le_bytes(length);
        if length > file.metadata()?.len().saturating_sub(CONTENT_AT) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut content, CONTENT_AT)?;
        Ok(content)
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.file().is_err() {
            // The number is nobody's by now, or somebody else's.
            std::mem::forget(self.file.take());
        }
    }
}

/// The words for the case that `bytes` did not fit into a file because of the limit of file sizes.
pub(crate) fn too_long(bytes: usize, error: &io::Error) -> Option<String> {
    (error.raw_os_error() == Some(EFBIG)).then(|| {
        format!(
            "{bytes} bytes are more than the limit of file sizes, {}: raise it (ulimit -f, RLIMIT_FSIZE), \
             or send long values through a pipe",
            longest_file()
        )
    })
}

/// What this process, a child, writes first and last.
fn state_word(stage: Stage, kind: u8) -> [u8; 8] {
    let [a, b, c, d] = std::process::id().to_le_bytes();
    [stage as u8, kind, 0, 0, a, b, c, d]
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The kind and the content of a report: `content` encoded, or why it cannot be.
fn encoded(kind: Kind, content: &impl Serialize) -> (Kind, Vec<u8>) {
    let mut bytes = Vec::new();
    match codec::encode(content, &mut bytes) {
        Ok(()) => (kind, bytes),
        Err(error) => (Kind::Encode, in_full(&error).into_bytes()),
    }
}

/// The error that `is` makes of what was reported.
fn reported<T: DeserializeOwned>(
    process: ProcessLabel,
    content: &[u8],
    is: impl FnOnce(ProcessLabel, T) -> ProcessError,
) -> ProcessError {
    match codec::decode(content) {
        Ok(reported) => is(process, reported),
        Err(source) => ProcessError::Decode { process, source },
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Outcome, Panic, Report, Stage};
    use crate::error::ProcessError;
    use crate::label::ProcessLabel;
    use crate::remote::RemoteError;
    use std::os::unix::fs::FileExt;

    fn somebody() -> ProcessLabel {
        ProcessLabel::new("somebody", 7, "work")
    }

    #[test]
    fn stages_follow_each_other_and_only_the_last_has_content() {
        let report = Report::create().unwrap();
        assert_eq!((report.stage(), report.pid()), (Stage::New, None));
        for stage in [Stage::Started, Stage::Decoded] {
            report.mark(stage);
            assert_eq!((report.stage(), report.pid()), (stage, Some(std::process::id())));
            assert!(report.read::<u32>(&somebody()).is_none());
        }
        report.commit(Outcome::Returned(vec![7])).unwrap();
        assert_eq!(report.stage(), Stage::Committed);
        assert_eq!(report.read::<u8>(&somebody()).unwrap().unwrap(), 7);
        assert!(matches!(report.read::<(u8, u8)>(&somebody()), Some(Err(ProcessError::Decode { .. }))));
    }

    #[test]
    fn a_panic_arrives_whole() {
        let report = Report::create().unwrap();
        let panic = Panic { message: "m".into(), location: Some("l".into()), backtrace: None };
        report.commit(Outcome::Panicked(panic)).unwrap();
        assert!(matches!(
            report.read::<u8>(&somebody()),
            Some(Err(ProcessError::Panicked { message, location: Some(_), backtrace: None, .. })) if message == "m"
        ));
    }

    #[test]
    fn an_error_arrives_with_its_causes() {
        let report = Report::create().unwrap();
        let error = RemoteError::from(vec!["outer".to_owned(), "inner".to_owned()]);
        report.commit(Outcome::Failed(error.clone())).unwrap();
        assert!(
            matches!(report.read::<u8>(&somebody()), Some(Err(ProcessError::Failed { error: found, .. })) if found == error)
        );
    }

    #[test]
    fn an_impossible_length_is_an_error() {
        let report = Report::create().unwrap();
        report.store(Kind::Returned, &[1]).unwrap();
        report.file().unwrap().write_all_at(&u64::MAX.to_le_bytes(), 8).unwrap();
        assert!(matches!(report.read::<u8>(&somebody()), Some(Err(ProcessError::Encode { .. }))));
    }

    #[test]
    fn any_bytes_are_a_report_or_none() {
        let report = Report::create().unwrap();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let (mut whole, mut failed) = (0, 0);
        for _ in 0..5_000 {
            let content = 1 + next() % 40;
            let bytes: Vec<u8> = (0..16 + content).map(|_| (next() >> 32) as u8).collect();
            report.file().unwrap().set_len(0).unwrap();
            report.file().unwrap().write_all_at(&bytes, 0).unwrap();
            if next() % 4 != 0 {
                // A stage and a kind that there are, or nearly; a length that fits, or nearly.
                report.file().unwrap().write_all_at(&[(next() % 5) as u8, (next() % 7) as u8], 0).unwrap();
                report.file().unwrap().write_all_at(&(content + next() % 3 - 1).to_le_bytes(), 8).unwrap();
            }
            match report.read::<(String, Vec<Option<u64>>)>(&somebody()) {
                Some(Err(error)) => failed += usize::from(!error.to_string().is_empty()),
                Some(Ok(_)) | None => whole += 1,
            }
        }
        assert!(whole > 100 && failed > 100, "{whole} {failed}");
    }
}

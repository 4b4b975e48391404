//! The standard streams of a new process.

use crate::surroundings::Given;
use procession_sys::errno::EBADF;
use procession_sys::memfd::duplicate_above_stdio;
use procession_sys::start::Stream;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What a standard stream of a new process is: as in this process, nothing, a pipe to this process, or a file.
///
/// ```
/// use procession::{Process, Stdio};
/// use std::io::Read;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let child = Process::options().stdout(Stdio::piped()).spawn(|()| println!("hello"), ())?;
///     let mut said = String::new();
///     child.take_stdout().expect("it was asked for").read_to_string(&mut said)?;
///     assert_eq!(said, "hello\n");
///     child.join()?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Stdio(Choice);

#[derive(Debug)]
enum Choice {
    Inherit,
    Null,
    Piped,
    File(OwnedFd),
}

impl Stdio {
    /// The same as in this process.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Choice::Inherit)
    }

    /// `/dev/null`: nothing is read, and what is written is thrown away.
    #[must_use]
    pub fn null() -> Self {
        Self(Choice::Null)
    }

    /// A pipe whose other end this process has: see [`take_stdin`](crate::Process::take_stdin),
    /// [`take_stdout`](crate::Process::take_stdout) and [`take_stderr`](crate::Process::take_stderr). A pipe
    /// holds 64 KiB; a process that writes more waits until somebody reads.
    #[must_use]
    pub fn piped() -> Self {
        Self(Choice::Piped)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(file: OwnedFd) -> Self {
        Self(Choice::File(file))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self(Choice::File(file.into()))
    }
}

impl From<PipeReader> for Stdio {
    fn from(pipe: PipeReader) -> Self {
        Self(Choice::File(pipe.into()))
    }
}

impl From<PipeWriter> for Stdio {
    fn from(pipe: PipeWriter) -> Self {
        Self(Choice::File(pipe.into()))
    }
}

/// The options for the three streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<Stdio>,
    pub(crate) stdout: Option<Stdio>,
    pub(crate) stderr: Option<Stdio>,
}

/// This process's ends of the pipes to a child.
#[derive(Debug, Default)]
pub(crate) struct PipeEnds {
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<PipeReader>,
    pub(crate) stderr: Option<PipeReader>,
}

/// The child's ends, as long as it is not started.
#[derive(Debug)]
pub(crate) struct ChildStreams {
    stdin: ChildStream,
    stdout: ChildStream,
    stderr: ChildStream,
}

#[derive(Debug)]
enum ChildStream {
    Inherit,
    Null,
    File(OwnedFd),
}

impl Streams {
    /// What the child gets, and what stays here. A child reads nothing unless it is said, and writes to where
    /// this process writes.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub(crate) fn open(self) -> io::Result<(ChildStreams, PipeEnds)> {
        let stdin = self.stdin.unwrap_or_else(Stdio::null).0;
        let (stdin, input) = stdin.open(|| io::pipe().map(|(reader, writer)| (reader.into(), writer)))?;
        let output = |chosen: Option<Stdio>| {
            let output = chosen.unwrap_or_else(Stdio::inherit).0;
            output.open(|| io::pipe().map(|(reader, writer)| (writer.into(), reader)))
        };
        let ((stdout, out), (stderr, err)) = (output(self.stdout)?, output(self.stderr)?);
        let ends = PipeEnds { stdin: input, stdout: out, stderr: err };
        Ok((ChildStreams { stdin, stdout, stderr }, ends))
    }
}

impl Choice {
    /// What the child gets, and our end if it is a pipe; `pipe` makes one, the child's end first.
    fn open<P>(
        self,
        pipe: impl FnOnce() -> io::Result<(OwnedFd, P)>,
    ) -> io::Result<(ChildStream, Option<P>)> {
        match self {
            Self::Inherit => Ok((ChildStream::Inherit, None)),
            Self::Null => Ok((ChildStream::Null, None)),
            Self::File(file) => Ok((ChildStream::file(file)?, None)),
            Self::Piped => {
                let (theirs, ours) = pipe()?;
                Ok((ChildStream::file(theirs)?, Some(ours)))
            }
        }
    }
}

impl ChildStream {
    /// In this process the file may have the number of one of the three streams, if that was closed.
    fn file(file: OwnedFd) -> io::Result<Self> {
        let is_above = file.as_raw_fd() > 2;
        Ok(Self::File(if is_above { file } else { duplicate_above_stdio(&file)? }))
    }

    fn stream(&self) -> Stream {
        match self {
            Self::Inherit => Stream::Inherit,
            Self::Null => Stream::Null,
            Self::File(file) => Stream::File(file.as_raw_fd()),
        }
    }
}

impl ChildStreams {
    /// As the start of the process wants them.
    pub(crate) fn streams(&self) -> [Stream; 3] {
        [self.stdin.stream(), self.stdout.stream(), self.stderr.stream()]
    }

    /// As a process wants them that is copied: what each of them is, and the files among them. What the process
    /// inherits is a file, too, so that it is what this process has now.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(crate) fn given(&self) -> io::Result<([Given; 3], Vec<OwnedFd>)> {
        let mut files = Vec::new();
        let mut given = |stream: &ChildStream, ours: BorrowedFd<'_>| {
            let file = match stream {
                ChildStream::Null => return Ok(Given::Null),
                ChildStream::File(file) => duplicate_above_stdio(file)?,
                ChildStream::Inherit => match duplicate_above_stdio(ours) {
                    Err(error) if error.raw_os_error() == Some(EBADF) => return Ok(Given::Closed),
                    file => file?,
                },
            };
            files.push(file);
            Ok::<_, io::Error>(Given::File)
        };
        let given = [
            given(&self.stdin, io::stdin().as_fd())?,
            given(&self.stdout, io::stdout().as_fd())?,
            given(&self.stderr, io::stderr().as_fd())?,
        ];
        Ok((given, files))
    }

    /// Takes away the output, for as long as something else than the function may write to it: what it is to
    /// be then. A closed one stays closed.
    pub(crate) fn hold_back_stdout(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.stdout, ChildStream::Null) {
            ChildStream::Inherit => duplicate_above_stdio(io::stdout().as_fd()).ok(),
            ChildStream::Null => None,
            ChildStream::File(file) => Some(file),
        }
    }
}

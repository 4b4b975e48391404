//! What is printed for jobs: whole outputs or whole lines, one behind the other, never two mixed.
//!
//! Nothing here waits: what goes to a pipe or a terminal goes in small steps, each when there is room for it. So
//! signals are heard and times are kept, however slowly somebody reads.

use super::spool::{Said, Spool};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::VecDeque;
use std::io::{Error, stderr, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// A pipe that has room at all has room for so many bytes: POSIX's `PIPE_BUF`, by the kernel's measure.
const STEP: usize = 4096;
/// So many steps are made before signals are heard again.
const STEPS: usize = 256;
/// So much may wait to be printed before no more jobs are started, and no more of them is read.
const CONGESTED: usize = 1 << 20;

/// Where something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

impl Stream {
    fn with<T>(self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Out => act(stdout().as_fd()),
            Self::Err => act(stderr().as_fd()),
        }
    }
}

/// What stands in front of each line.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    text: Option<Rc<[u8]>>,
    at_line_start: bool,
}

impl Prefix {
    pub(crate) fn new(text: Option<Rc<[u8]>>) -> Self {
        Self { text, at_line_start: true }
    }

    /// The bytes with the prefix in front of each line that begins in them.
    pub(crate) fn put_before(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(text) = &self.text else { return bytes };
        let mut lines = Vec::with_capacity(bytes.len() + text.len());
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.at_line_start {
                lines.extend_from_slice(text);
            }
            lines.extend_from_slice(line);
            self.at_line_start = line.ends_with(b"\n");
        }
        lines
    }
}

/// Something to be printed.
#[derive(Debug)]
enum Part {
    Bytes(Stream, Vec<u8>),
    Said(Stream, Said, Prefix),
}

/// What waits to be printed.
#[derive(Debug, Default)]
pub(crate) struct Printer {
    parts: VecDeque<Part>,
    /// What is being printed.
    now: Vec<u8>,
    written: usize,
    to: Option<Stream>,
    /// The bytes of those parts that are in no spool.
    loose: usize,
    /// Whether nobody reads stderr.
    is_stderr_gone: bool,
}

impl Printer {
    /// Has bytes printed.
    pub(crate) fn print(&mut self, stream: Stream, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.loose += bytes.len();
            self.parts.push_back(Part::Bytes(stream, bytes));
        }
    }

    /// Has what a job has said printed.
    pub(crate) fn print_said(&mut self, stream: Stream, said: Said, prefix: Prefix) {
        if !said.is_empty() {
            self.parts.push_back(Part::Said(stream, said, prefix));
        }
    }

    /// Where the next bytes go; `None` when there are none.
    pub(crate) fn stream(&self) -> Option<Stream> {
        let waits = self.parts.front().map(|(Part::Bytes(stream, _) | Part::Said(stream, ..))| *stream);
        self.to.or(waits)
    }

    /// Whether so much waits that there should not be more.
    pub(crate) fn is_congested(&self) -> bool {
        self.loose > CONGESTED || self.parts.len() > STEP
    }

    /// Prints what there is room for, a good deal at the most.
    pub(crate) fn step(&mut self, spool: &mut Spool) -> Result<(), Failure> {
        for _ in 0..STEPS {
            if self.to.is_none() && !self.load(spool)? {
                break;
            }
            let Some(stream) = self.to else { break };
            match stream.with(|fd| write(fd, &self.now[self.written..])) {
                Ok(written) => self.written += written,
                Err(Errno::EINTR | Errno::EAGAIN) => break,
                Err(_) if stream == Stream::Err => {
                    // Nobody is told that nobody is to be told.
                    self.is_stderr_gone = true;
                    self.written = self.now.len();
                }
                Err(errno) => return output::written(Err(Error::from(errno))),
            }
            if stream == Stream::Out {
                output::written(Ok(()))?;
            }
            if self.written == self.now.len() {
                self.to = None;
            }
        }
        Ok(())
    }

    /// Takes the next bytes; whether there are any.
    fn load(&mut self, spool: &mut Spool) -> Result<bool, Failure> {
        while let Some(part) = self.parts.pop_front() {
            let (stream, bytes) = match part {
                Part::Bytes(stream, bytes) => {
                    self.loose -= bytes.len();
                    (stream, bytes)
                }
                Part::Said(stream, mut said, mut prefix) => {
                    let Some(bytes) = spool.take(&mut said).map_err(|error| lost(&error))? else { continue };
                    let bytes = prefix.put_before(bytes);
                    self.parts.push_front(Part::Said(stream, said, prefix));
                    (stream, bytes)
                }
            };
            if bytes.is_empty() || stream == Stream::Err && self.is_stderr_gone {
                continue;
            }
            (self.now, self.written, self.to) = (bytes, 0, Some(stream));
            return Ok(true);
        }
        Ok(false)
    }
}

/// Writes some of the bytes if there is room for any.
fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let is_file = fstat(fd).is_ok_and(|file| file.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits());
    let mut room = [PollFd::new(fd, PollFlags::POLLOUT)];
    if !is_file && poll(&mut room, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN);
    }
    let len = if is_file { bytes.len() } else { bytes.len().min(STEP) };
    nix::unistd::write(fd, &bytes[..len])
}

/// What jobs have said cannot be kept.
pub(crate) fn lost(error: &Error) -> Failure {
    let place = std::env::temp_dir();
    Failure::Error(format!("cannot keep the output of jobs in {} (TMPDIR): {error}", place.display()).into())
}

#[cfg(test)]
mod tests {
    use super::Prefix;

    #[test]
    fn each_line_has_its_prefix_however_it_is_cut() {
        let text = b"one\n\ntwo\nhalf";
        for cut in 0..text.len() {
            let mut prefix = Prefix::new(Some((*b"p\t").into()));
            let mut all = prefix.put_before(text[..cut].to_vec());
            all.extend(prefix.put_before(text[cut..].to_vec()));
            assert_eq!(String::from_utf8(all).unwrap(), "p\tone\np\t\np\ttwo\np\thalf", "{cut}");
        }
        assert_eq!(Prefix::new(None).put_before(text.to_vec()), text);
    }
}

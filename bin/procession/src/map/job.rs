//! One job: what it is, and while it runs, its process and what that says.

use super::inputs::Items;
use super::joblog::JobHash;
use super::output::{self, Prefix, Printer};
use super::spool::{Said, Spool};
use crate::passed_on::tell_group;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use procession_sys::clock::now_ns;
use procession_sys::signals as sig;
use procession_terminal::exit::Failure;
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// How often that is done before signals are heard again.
const READS: usize = 8;
/// How often something is read of a job that has ended: others may hold its stdout, and write without end.
const LAST_READS: usize = 1024;
/// A line that is longer than this is printed in parts.
const LONGEST_LINE: usize = 1 << 20;

thread_local! {
    /// What was read last.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is to be run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) seq: u64,
    pub(super) items: Items,
    pub(super) hash: JobHash,
    /// 1 at first.
    pub(super) attempt: u32,
    /// Where its results are kept.
    pub(super) place: Option<PathBuf>,
}

/// What was sent to a job to have it end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    ToEnd,
    Killed,
}

/// A job that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) job: Job,
    /// Of its process, and of the process group that this leads.
    pub(super) pid: u32,
    pub(super) slot: u32,
    pub(super) command: Vec<Vec<u8>>,
    /// In nanoseconds since the epoch, and on the monotonic clock.
    pub(super) began: u64,
    pub(super) began_at: u64,
    /// When it is told to end, or killed; the last moment there is for never.
    pub(super) until: u64,
    pub(super) told: Told,
    pub(super) timed_out: bool,
    /// Whether this process wants it to end, for another reason than its time.
    pub(super) stopped: bool,
    /// Stdout and stderr, if they are not this process's own.
    pub(super) captures: Vec<Capture>,
}

impl Running {
    /// Sends the signal to all processes of the job.
    pub(super) fn tell(&self, signal: i32) {
        tell_group(self.pid, signal);
    }

    /// Asks it to end, and kills it after a while.
    pub(super) fn ask_to_end(&mut self, patience_ns: u64) {
        self.told = Told::ToEnd;
        self.until = now_ns().saturating_add(patience_ns);
        self.tell(sig::SIGTERM);
        // Nobody hears it who is stopped.
        self.tell(sig::SIGCONT);
    }

    pub(super) fn kill(&mut self) {
        self.told = Told::Killed;
        self.until = u64::MAX;
        self.tell(sig::SIGKILL);
    }
}

/// What becomes of what a job says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// It is kept until the job has ended.
    AtEnd,
    /// Each line is printed when it is whole.
    ByLine,
}

/// One of a job's streams.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) stream: output::Stream,
    fd: Option<OwnedFd>,
    when: When,
    pub(super) said: Said,
    pub(super) prefix: Prefix,
    /// The beginning of a line, if lines are printed.
    line: Vec<u8>,
    pub(super) bytes: u64,
    file: Option<File>,
}

impl Capture {
    /// A new pipe: one end to read from, one for the job.
    pub(super) fn pipe(
        stream: output::Stream,
        when: When,
        prefix: Prefix,
        file: Option<File>,
    ) -> nix::Result<(Self, OwnedFd)> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // This end alone: the job's own behaves as pipes do.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (said, line) = (Said::default(), Vec::new());
        Ok((Self { stream, fd: Some(reader), when, said, prefix, line, bytes: 0, file }, writer))
    }

    /// What is to be polled, unless the stream has ended.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there, a good deal at the most.
    pub(super) fn read_some(&mut self, spool: &mut Spool, printer: &mut Printer) -> Result<(), Failure> {
        for _ in 0..READS {
            if !self.read(spool, printer)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads once; whether there was something.
    fn read(&mut self, spool: &mut Spool, printer: &mut Printer) -> Result<bool, Failure> {
        let Some(fd) = &self.fd else { return Ok(false) };
        // One for all, for it is long: it would be cleared each time.
        let buffer = &mut BUFFER.take();
        buffer.resize(READ_BYTES, 0);
        let read = nix::unistd::read(fd, buffer);
        let outcome = self.take(read, buffer, spool, printer);
        BUFFER.set(std::mem::take(buffer));
        outcome
    }

    fn take(
        &mut self,
        read: nix::Result<usize>,
        buffer: &[u8],
        spool: &mut Spool,
        printer: &mut Printer,
    ) -> Result<bool, Failure> {
        let bytes = match read {
            Ok(0) => {
                self.fd = None;
                return Ok(false);
            }
            Ok(len) => &buffer[..len],
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        self.bytes += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            file.write_all(bytes).map_err(|error| {
                Failure::Error(format!("cannot write the results of a job: {error}").into())
            })?;
        }
        match self.when {
            When::AtEnd => spool.add(&mut self.said, bytes).map_err(|error| output::lost(&error))?,
            When::ByLine => self.print_lines(bytes, printer),
        }
        Ok(true)
    }

    fn print_lines(&mut self, bytes: &[u8], printer: &mut Printer) {
        self.line.extend_from_slice(bytes);
        let end = match self.line.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => last + 1,
            None if self.line.len() > LONGEST_LINE => self.line.len(),
            None => return,
        };
        let rest = self.line.split_off(end);
        let lines = std::mem::replace(&mut self.line, rest);
        printer.print(self.stream, self.prefix.put_before(lines));
    }

    /// Takes the rest of what the ended job has said. The descriptor, if others still have the other end.
    pub(super) fn end(
        &mut self,
        spool: &mut Spool,
        printer: &mut Printer,
    ) -> Result<Option<OwnedFd>, Failure> {
        for _ in 0..LAST_READS {
            if !self.read(spool, printer)? {
                break;
            }
        }
        if !self.line.is_empty() {
            let mut line = std::mem::take(&mut self.line);
            // Another job's line is to begin on a line of its own.
            line.push(b'\n');
            printer.print(self.stream, self.prefix.put_before(line));
        }
        Ok(self.fd.take())
    }
}

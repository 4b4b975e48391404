//! A terminal for one worker of `procession run --pty`: what it prints looks to it as if somebody watched.
//!
//! The worker leads a session at it. So a worker, and all that it has started, is told by SIGHUP when this process is
//! gone, however that ended; and this process keeps their end open until the worker has ended, because to close what a
//! program prints into (as one does that has found its log) would be the end of the terminal otherwise.

use procession_terminal::exit::Failure;
use rustix::io::Result;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, Winsize};
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::fs::File;
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As large as terminals are where nobody says how large.
const USUAL: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
/// What stands before each line takes columns away, but for these.
const LEAST_COLUMNS: u16 = 20;

/// The worker's end.
pub(super) struct Terminal {
    theirs: OwnedFd,
    /// How many columns of each line are not the worker's.
    margin: u16,
}

impl Terminal {
    /// A new one, and the end at which what is printed can be read.
    ///
    /// # Errors
    /// The kernel's, with what to do.
    pub(super) fn open(margin: u16) -> std::result::Result<(Self, File), Failure> {
        let (ours, theirs) = pair().map_err(|error| {
            let why = "cannot make a terminal for a worker";
            let what = "raise `ulimit -n` or the limit in /proc/sys/kernel/pty/max, or start fewer";
            Failure::Error(format!("{why}: {error}; {what}").into())
        })?;
        let terminal = Self { theirs, margin };
        terminal.fit();
        Ok((terminal, ours.into()))
    }

    pub(super) fn theirs(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// Makes it as large as that of this process, if it has one.
    pub(super) fn fit(&self) {
        let here = [stdout().as_fd(), stderr().as_fd(), stdin().as_fd()].into_iter().find_map(size_of);
        let size = here.unwrap_or(USUAL);
        let left = size.ws_col.saturating_sub(self.margin).max(LEAST_COLUMNS.min(size.ws_col));
        // Nothing depends on it.
        let _: Result<()> = tcsetwinsize(&self.theirs, Winsize { ws_col: left, ..size });
    }
}

fn size_of(file: BorrowedFd<'_>) -> Option<Winsize> {
    // One that nobody has told how large it is has no columns.
    tcgetwinsize(file).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)
}

fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    let mut modes = tcgetattr(&theirs)?;
    // The terminal on which it is shown in the end does that, and files are to have lines as programs print them.
    modes.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    Ok((ours, theirs))
}

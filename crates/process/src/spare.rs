//! Spares: copies of a forkserver that were made beforehand.
//!
//! To copy a process takes longer than all else of a start: its page tables are copied, and then the copy takes a page
//! fault for each page that it touches first. So a server that has nothing to do makes a few copies, which do all that
//! can be done without a task, and wait. A request is handed over to one of them, together with the connection to the
//! server's parent.
//!
//! | step | the spare is killed here | the server is killed here |
//! |---|---|---|
//! | the spare waits | the server reads the end of their connection when it hands a request over; it tells the parent, who takes the status, and goes on without that spare | the spare reads the end, and ends |
//! | the server has handed a request over | the same: nobody has begun with it | the spare cannot answer, and ends: it lets go of the connection to the parent, whose report names no pid, and who asks another server |
//! | the spare has answered | it is a process that was killed | the spare writes its pid into the report, and lets go of the connection to the parent, who knows of the process by that |
//! | the server has told the parent | as before | as every process of a server |
//!
//! So a request is begun only by a spare whose answer has reached its server: a spare that was stopped, and goes on when
//! its server is no more, begins with nothing that another process has been asked for since. A spare that does not answer
//! in time is killed before anybody else is asked.
//!
//! A spare waits with all signals blocked, for its signals are those of the process that it will be from the moment in
//! which the parent is told of it; what had come before is thrown away, as it was not meant for that process.

use crate::child::{begin, prepare_copy};
use crate::requests::{self, READY};
use procession_sys::forking::{Forked, close_in_copy, fork_sibling};
use procession_sys::signals::{self, SIGKILL, SignalSet};
use procession_sys::{Deadline, crash_point, exit_now, fd_socket, pidfd, set_thread_name, start};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How many there are at most: a small pool is started by two requests, one right after the other.
const MOST: usize = 2;

/// How long a spare may take to answer: all that it has to do is to wake up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What `ps` calls it.
const NAME: &std::ffi::CStr = c"forkspare";

/// The copies of this server that wait.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Spare>);

#[derive(Debug)]
struct Spare {
    pid: u32,
    pidfd: OwnedFd,
    /// The connection with it.
    socket: OwnedFd,
}

impl Spares {
    /// Makes one more, unless there are enough; whether it did. In the copy, `let_go` tells the parent of it, and closes
    /// what only the server is to have: once the parent reads the end of the connection, it knows of all spares.
    pub(crate) fn add(&mut self, let_go: impl FnOnce()) -> bool {
        if self.0.len() >= MOST {
            return false;
        }
        let Ok((ours, theirs)) = fd_socket::pair() else { return false };
        match fork_sibling() {
            Ok(Forked::Child) => {
                drop(ours);
                self.0.clear();
                let_go();
                wait(theirs)
            }
            Ok(Forked::Parent(pid, Some(pidfd))) => {
                self.0.push(Spare { pid, pidfd, socket: ours });
                true
            }
            // Without a pidfd a spare that does not answer could not be killed: it reads the end.
            _ => false,
        }
    }

    /// Hands a request over, with `connection` as its last descriptor: the pid and the pidfd of the spare that has taken
    /// it. `lost` is told of each spare that has ended instead.
    pub(crate) fn hand_over(
        &mut self,
        files: &[OwnedFd],
        connection: BorrowedFd<'_>,
        mut lost: impl FnMut(u32),
    ) -> Option<(u32, OwnedFd)> {
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).chain([connection]).collect();
        while !self.0.is_empty() {
            let spare = self.0.remove(0);
            if requests::ask(&spare.socket, &fds).is_ok() && spare.takes_it() {
                return Some((spare.pid, spare.pidfd));
            }
            spare.end();
            lost(spare.pid);
        }
        None
    }

    /// Lets all of them end, and waits until they have: their parent takes their status after that of the server.
    pub(crate) fn end(self) {
        for Spare { pidfd, socket, .. } in self.0 {
            drop(socket);
            if !matches!(pidfd::wait(&pidfd, Some(PATIENCE)), Ok(true)) {
                drop(pidfd::send_signal(&pidfd, SIGKILL));
            }
        }
    }

    /// Closes what a copy of the server has of them.
    pub(crate) fn close_in_copy(&self) {
        for spare in &self.0 {
            close_in_copy(&spare.socket);
            close_in_copy(&spare.pidfd);
        }
    }
}

impl Spare {
    fn takes_it(&self) -> bool {
        matches!(pidfd::wait(&self.socket, Some(PATIENCE)), Ok(true))
            && matches!(requests::hear(&self.socket), Some((READY, ..)))
    }

    /// Kills it, and waits until it has ended.
    fn end(&self) {
        drop(pidfd::send_signal(&self.pidfd, SIGKILL));
        drop(pidfd::wait(&self.pidfd, Some(PATIENCE)));
    }
}

/// The life of a spare, up to the one that it becomes.
fn wait(socket: OwnedFd) -> ! {
    set_thread_name(NAME);
    prepare_copy();
    // One that is stopped reads no end of a connection.
    start::die_with_the_starter();
    crash_point("spare.made");
    let request = requests::next(&socket).and_then(Result::ok);
    let Some((files, connection)) = request.and_then(|mut files| files.pop().map(|last| (files, last)))
    else {
        exit_now(0)
    };
    crash_point("spare.asked");
    let all = signals::Inbox::open(SignalSet::from_bits(u64::MAX));
    while all.take(Deadline::after(Duration::ZERO)).is_some() {}
    // Whether the process is to end with its parent, is in its task.
    start::outlive_the_starter();
    if requests::say(&socket, READY, 0, &[]).is_err() {
        exit_now(0);
    }
    crash_point("spare.answered");
    drop(socket);
    begin(files, || drop(connection))
}

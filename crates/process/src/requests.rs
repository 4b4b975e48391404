//! What a process and its forkserver say to each other, and a forkserver to its spares: a word and a number, each in
//! four bytes, with descriptors.

use procession_sys::fd_socket::{self, MESSAGE, MOST_FDS, receive};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// To the server, to a spare: a process is wanted, and this is the first message of those that bring its descriptors.
/// The number is how many there are.
pub(crate) const COPY: u32 = 1;
/// To the server, to a spare: more descriptors.
const MORE: u32 = 2;
/// From the server: it is ready. From a spare: it takes the request.
pub(crate) const READY: u32 = 3;
/// From the server: the process's pid, with its pidfd if there is one.
pub(crate) const BORN: u32 = 4;
/// From the server: why there is no process, an errno.
pub(crate) const FAILED: u32 = 5;
/// From a spare that the server has made, on the server's connection: its pid.
pub(crate) const SPARE: u32 = 6;
/// From the server: the pid of a spare that has ended, of no use to anybody.
pub(crate) const LOST: u32 = 7;

/// What is heard: the word, the number, and the descriptors with them, unless there were no numbers for all of those.
pub(crate) type Heard = (u32, u32, io::Result<Vec<OwnedFd>>);

/// Says a word.
///
/// # Errors
/// `EPIPE` when the other end is closed.
pub(crate) fn say(socket: impl AsFd, word: u32, number: u32, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let ([a, b, c, d], [e, f, g, h]) = (word.to_le_bytes(), number.to_le_bytes());
    let message: [u8; MESSAGE] = [a, b, c, d, e, f, g, h];
    fd_socket::send(socket, message, fds)
}

/// Waits for the next word; `None` at the end of the connection.
pub(crate) fn hear(socket: impl AsFd) -> Option<Heard> {
    let ([a, b, c, d, e, f, g, h], fds) = receive(socket).ok().flatten()?;
    Some((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]), fds))
}

/// Asks for a process that is given these descriptors: all of it, or nothing that stays.
///
/// # Errors
/// As [`say`]; `EMFILE`, `ETOOMANYREFS` when this user has too many descriptors under way.
pub(crate) fn ask(socket: impl AsFd, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let count = u32::try_from(fds.len()).map_err(io::Error::other)?;
    for (index, part) in fds.chunks(MOST_FDS).enumerate() {
        let said = say(&socket, if index == 0 { COPY } else { MORE }, count, part);
        if said.is_err() && index > 0 {
            // It is not to keep the descriptors that it has by now.
            drop(say(&socket, COPY, 0, &[]));
        }
        said?;
    }
    Ok(())
}

/// Waits for the next request, and takes its descriptors: an error where there were no numbers for them, `None` at the
/// end of the connection.
pub(crate) fn next(socket: impl AsFd) -> Option<io::Result<Vec<OwnedFd>>> {
    let (mut files, mut wanted) = (Vec::new(), 0);
    loop {
        let (word, number, fds) = hear(&socket)?;
        if word == COPY {
            files.clear();
            wanted = usize::try_from(number).unwrap_or(usize::MAX);
        }
        if wanted == 0 {
            // The rest of a request that was refused: that is said once, however many messages bring the rest.
            continue;
        }
        match fds {
            Ok(fds) => files.extend(fds),
            Err(error) => return Some(Err(error)),
        }
        if files.len() >= wanted {
            return Some(Ok(files));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COPY, ask, hear, next};
    use procession_sys::fd_socket::{MOST_FDS, pair};
    use std::os::fd::{AsFd, BorrowedFd};

    #[test]
    #[expect(unsafe_code, reason = "a number is sent that is no descriptor")]
    fn a_request_that_fails_halfway_is_taken_back() {
        let (one, other) = pair().unwrap();
        // SAFETY: it is only looked at by the kernel, which knows no descriptor of this number.
        let missing = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
        let mut fds = vec![one.as_fd(); MOST_FDS];
        fds.push(missing);
        ask(&one, &fds).unwrap_err();
        let (word, _, first) = hear(&other).unwrap();
        assert_eq!((word, first.unwrap().len()), (COPY, MOST_FDS));
        let (word, number, none) = hear(&other).unwrap();
        assert_eq!((word, number, none.unwrap().len()), (COPY, 0, 0));
        ask(&one, &fds).unwrap_err();
        ask(&one, &[one.as_fd()]).unwrap();
        assert_eq!(next(&other).unwrap().unwrap().len(), 1);
    }
}

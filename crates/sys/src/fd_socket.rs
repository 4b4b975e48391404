//! A pair of connected sockets that carry short messages together with descriptors, each message whole.
#![expect(unsafe_code, reason = "received descriptors come as numbers")]

use crate::memfd::above_stdio;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, sendmsg, shutdown, socketpair,
};
use std::io::{IoSlice, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The kernel takes at most 253 descriptors in one message.
pub const MOST_FDS: usize = 250;

/// The bytes of each message.
pub const MESSAGE: usize = 8;

/// Two ends, connected with each other, both close-on-exec and numbered 3 or more. What is sent at one is
/// received at the other; when every copy of one is closed, the other one reads the end.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((above_stdio(one)?, above_stdio(other)?))
}

/// Sends a message, with copies of at most [`MOST_FDS`] descriptors.
///
/// # Errors
/// `EPIPE` when the other end is closed; `EMFILE`, `ETOOMANYREFS` when this user has too many descriptors under
/// way.
pub fn send(socket: impl AsFd, message: [u8; MESSAGE], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &control[..] };
    let bytes = [IoSlice::new(&message)];
    loop {
        match sendmsg::<()>(socket.as_fd().as_raw_fd(), &bytes, control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            sent => return Ok(sent.map(drop)?),
        }
    }
}

/// A message, and the descriptors with it: `EMFILE` where some got lost for want of numbers.
pub type Received = ([u8; MESSAGE], Result<Vec<OwnedFd>>);

/// Receives a message, waiting for it; `None` when every copy of the other end is closed. The descriptors are
/// close-on-exec.
///
/// # Errors
/// `ECONNRESET` when the other end was closed with messages unread; `EBADMSG` for a message of another length.
pub fn receive(socket: impl AsFd) -> Result<Option<Received>> {
    let mut message = [0; MESSAGE];
    let mut control = cmsg_space!([RawFd; MOST_FDS]);
    let mut bytes = libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: MESSAGE };
    // SAFETY: all zeroes are a msghdr.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut bytes, 1);
    (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), control.len() as _);
    let length = loop {
        let number = socket.as_fd().as_raw_fd();
        // SAFETY: the header leads to buffers of the lengths that it names, which outlive the call.
        let length = unsafe { libc::recvmsg(number, &raw mut header, libc::MSG_CMSG_CLOEXEC) };
        match usize::try_from(length) {
            Ok(length) => break length,
            Err(_) if Errno::last() == Errno::EINTR => {}
            Err(_) => return Err(Errno::last().into()),
        }
    };
    // Also those of a message that has lost some of them.
    let fds = owned(&header);
    match length {
        0 => Ok(None),
        MESSAGE if header.msg_flags & libc::MSG_CTRUNC != 0 => Ok(Some((message, Err(Errno::EMFILE.into())))),
        MESSAGE => Ok(Some((message, fds.into_iter().map(above_stdio).collect()))),
        _ => Err(Errno::EBADMSG.into()),
    }
}

/// The descriptors that came with a message. (nix tells of none if some got lost, and those that came stay open.)
fn owned(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the header's control buffer.
    let mut part = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: the pointer is null, or leads to a header in that buffer.
    while let Some(found) = unsafe { part.as_ref() } {
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: it only computes.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: the data lie behind their header.
            let data = unsafe { libc::CMSG_DATA(part) };
            // Of another type in other C libraries.
            let len: usize = found.cmsg_len as _;
            // SAFETY: they are as long as the header says, and nobody changes them any more.
            let data = unsafe { std::slice::from_raw_parts(data, len.saturating_sub(empty)) };
            for number in data.as_chunks().0 {
                // SAFETY: the kernel just made this descriptor for us; nobody else knows its number.
                fds.push(unsafe { OwnedFd::from_raw_fd(RawFd::from_ne_bytes(*number)) });
            }
        }
        // SAFETY: as for the first.
        part = unsafe { libc::CMSG_NXTHDR(header, part) };
    }
    fds
}

/// Says that nothing more is sent at this end, by whomever has a copy of it: the other side reads the end, and can
/// still send.
pub fn hang_up(socket: impl AsFd) {
    // It fails only where there is no connection any more.
    let _ = shutdown(socket.as_fd().as_raw_fd(), Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE, MOST_FDS, hang_up, pair, receive, send};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};

    #[test]
    fn messages_come_whole_with_their_descriptors_and_then_comes_the_end() {
        let (one, other) = pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let many: Vec<BorrowedFd<'_>> = (0..MOST_FDS).map(|_| writer.as_fd()).collect();
        send(&one, [1; MESSAGE], &[]).unwrap();
        send(&one, [2; MESSAGE], &many).unwrap();
        assert_eq!(
            receive(&other).unwrap().map(|(bytes, fds)| (bytes, fds.unwrap().len())),
            Some(([1; MESSAGE], 0))
        );
        let (bytes, fds) = receive(&other).unwrap().unwrap();
        let fds = fds.unwrap();
        assert_eq!((bytes, fds.len()), ([2; MESSAGE], MOST_FDS));
        drop(writer);
        File::from(fds.into_iter().next().unwrap()).write_all(b"x").unwrap();
        let mut said = String::new();
        { reader }.read_to_string(&mut said).unwrap();
        assert_eq!(said, "x");
        // Without numbers for all of them, none is kept, and the message comes.
        let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let limit = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        send(&one, [3; MESSAGE], &[one.as_fd(); MOST_FDS]).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, before as u64 + 20, limit.1).unwrap();
        let (bytes, fds) = receive(&other).unwrap().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, limit.0, limit.1).unwrap();
        assert_eq!((bytes, fds.unwrap_err().raw_os_error()), ([3; MESSAGE], Some(libc::EMFILE)));
        assert_eq!(std::fs::read_dir("/proc/self/fd").unwrap().count(), before);
        let copy = one.try_clone().unwrap();
        hang_up(&one);
        assert!(receive(&other).unwrap().is_none());
        assert_eq!(send(&copy, [0; MESSAGE], &[]).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        send(&other, [4; MESSAGE], &[]).unwrap();
        drop(other);
        assert_eq!(receive(&copy).unwrap().unwrap().0, [4; MESSAGE]);
        assert!(receive(&copy).unwrap().is_none());
    }
}

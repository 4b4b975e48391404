//! A pair of connected sockets that carry short messages together with descriptors, each message whole.
#![expect(unsafe_code, reason = "received descriptors come as numbers")]

use crate::memfd::above_stdio;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg,
    sendmsg, shutdown, socketpair,
};
use std::io::{IoSlice, IoSliceMut, Result};
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

/// Receives a message, waiting for it; `None` when every copy of the other end is closed. The descriptors are
/// close-on-exec.
///
/// # Errors
/// `ECONNRESET` when the other end was closed with messages unread; `EMFILE` where descriptors got lost for
/// want of numbers; `EBADMSG` for a message of another length.
pub fn receive(socket: impl AsFd) -> Result<Option<([u8; MESSAGE], Vec<OwnedFd>)>> {
    let mut message = [0; MESSAGE];
    let mut control = cmsg_space!([RawFd; MOST_FDS]);
    let (length, fds, flags) = loop {
        let mut bytes = [IoSliceMut::new(&mut message)];
        let number = socket.as_fd().as_raw_fd();
        match recvmsg::<()>(number, &mut bytes, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(received) => {
                let fds: Vec<OwnedFd> = received.cmsgs()?.flat_map(owned).collect();
                break (received.bytes, fds, received.flags);
            }
        }
    };
    match length {
        0 => Ok(None),
        _ if flags.contains(MsgFlags::MSG_CTRUNC) => Err(Errno::EMFILE.into()),
        MESSAGE => Ok(Some((message, fds.into_iter().map(above_stdio).collect::<Result<_>>()?))),
        _ => Err(Errno::EBADMSG.into()),
    }
}

fn owned(message: ControlMessageOwned) -> Vec<OwnedFd> {
    let ControlMessageOwned::ScmRights(numbers) = message else { return Vec::new() };
    // SAFETY: the kernel just made these descriptors for us; nobody else knows their numbers.
    numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect()
}

/// Ends the connection for all who have copies of either end: both sides read the end.
pub fn hang_up(socket: impl AsFd) {
    // It fails only where there is no connection any more.
    let _ = shutdown(socket.as_fd().as_raw_fd(), Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE, MOST_FDS, hang_up, pair, receive, send};
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
        assert_eq!(receive(&other).unwrap().map(|(bytes, fds)| (bytes, fds.len())), Some(([1; MESSAGE], 0)));
        let (bytes, fds) = receive(&other).unwrap().unwrap();
        assert_eq!((bytes, fds.len()), ([2; MESSAGE], MOST_FDS));
        drop(writer);
        File::from(fds.into_iter().next().unwrap()).write_all(b"x").unwrap();
        let mut said = String::new();
        { reader }.read_to_string(&mut said).unwrap();
        assert_eq!(said, "x");
        let copy = one.try_clone().unwrap();
        hang_up(&one);
        assert!(receive(&other).unwrap().is_none() && receive(&copy).unwrap().is_none());
        assert_eq!(send(&other, [0; MESSAGE], &[]).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    }
}

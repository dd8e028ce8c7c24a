//! Packets between a host and a process of models, with the files that go along.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::MESSAGE_BYTES;

/// Files that go along with one packet at most.
const FILES: usize = 2;

/// One end of a pair.
pub(super) struct Socket(OwnedFd);

/// Room for a packet; made once, and used for each.
pub(super) struct Packet(Box<[u8]>);

impl Default for Packet {
    fn default() -> Self {
        Self(vec![0; MESSAGE_BYTES].into())
    }
}

impl Socket {
    /// Two ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Waits no longer than this in [`Socket::receive`].
    pub(super) fn waits(&self, limit: Duration) -> io::Result<()> {
        Ok(set_socket_timeout(&self.0, Timeout::Recv, Some(limit))?)
    }

    /// Sends a message.
    pub(super) fn send(&self, message: &impl Serialize, room: &mut Packet) -> io::Result<()> {
        let bytes = postcard::to_slice(message, &mut room.0).map_err(io::Error::other)?;
        // Nobody reads so slowly that there is no room: there is one message at a time on a lane.
        retry(|| rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)).map(drop)
    }

    /// Sends a message and files.
    pub(super) fn send_files(&self, message: &impl Serialize, files: &[BorrowedFd<'_>], room: &mut Packet) -> io::Result<()> {
        let bytes = postcard::to_slice(message, &mut room.0).map_err(io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if !along.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        retry(|| sendmsg(&self.0, &[IoSlice::new(bytes)], &mut along, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)).map(drop)
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// `WouldBlock` where none came in time, `UnexpectedEof` where the other end is gone, `InvalidData` where it is no such
    /// message.
    pub(super) fn receive<T: DeserializeOwned>(&self, room: &mut Packet) -> io::Result<T> {
        self.get(room, RecvFlags::TRUNC)
    }

    /// The message that is there.
    ///
    /// # Errors
    /// As [`Socket::receive`].
    pub(super) fn received<T: DeserializeOwned>(&self, room: &mut Packet) -> io::Result<T> {
        self.get(room, RecvFlags::TRUNC | RecvFlags::DONTWAIT)
    }

    fn get<T: DeserializeOwned>(&self, room: &mut Packet, flags: RecvFlags) -> io::Result<T> {
        let (_, length) = retry(|| rustix::net::recv(&self.0, &mut *room.0, flags))?;
        decoded(&room.0, length)
    }

    /// Waits for a message with files.
    ///
    /// # Errors
    /// As [`Socket::receive`].
    pub(super) fn receive_files<T: DeserializeOwned>(&self, room: &mut Packet) -> io::Result<(T, Vec<File>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let got = retry(|| recvmsg(&self.0, &mut [IoSliceMut::new(&mut room.0)], &mut along, RecvFlags::CMSG_CLOEXEC | RecvFlags::TRUNC))?;
        let mut files = Vec::new();
        for message in along.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights.map(File::from));
            }
        }
        Ok((decoded(&room.0, got.bytes)?, files))
    }
}

fn decoded<T: DeserializeOwned>(room: &[u8], length: usize) -> io::Result<T> {
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let bytes = room.get(..length).ok_or(io::ErrorKind::InvalidData)?;
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for Socket {
    fn from(file: OwnedFd) -> Self {
        Self(file)
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn messages_travel_with_their_files() {
        let (one, other) = Socket::pair().unwrap();
        let mut room = Packet::default();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        one.send_files(&7u32, &[file.as_fd()], &mut room).unwrap();
        let (got, mut files) = other.receive_files::<u32>(&mut room).unwrap();
        let mut text = String::new();
        files[0].rewind().unwrap();
        files[0].read_to_string(&mut text).unwrap();
        assert_eq!((got, text.as_str()), (7, "inside"));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (one, other) = Socket::pair().unwrap();
        let mut room = Packet::default();
        let kind = |outcome: io::Result<String>| outcome.unwrap_err().kind();
        assert_eq!(kind(other.received(&mut room)), io::ErrorKind::WouldBlock);
        other.waits(Duration::from_millis(1)).unwrap();
        assert_eq!(kind(other.receive(&mut room)), io::ErrorKind::WouldBlock);
        rustix::net::send(&one, &[9], SendFlags::empty()).unwrap();
        assert_eq!(kind(other.receive(&mut room)), io::ErrorKind::InvalidData);
        rustix::net::send(&one, &vec![1; MESSAGE_BYTES + 1], SendFlags::empty()).unwrap();
        assert_eq!(kind(other.receive(&mut room)), io::ErrorKind::InvalidData);
        assert!(one.send(&"x".repeat(MESSAGE_BYTES), &mut room).is_err());
        drop(one);
        assert_eq!(kind(other.receive(&mut room)), io::ErrorKind::UnexpectedEof);
    }
}

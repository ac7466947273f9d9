//! Datagrams with file descriptors over a connected unix socket, for the node agent's protocol.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Most descriptors taken with one datagram. More are closed by the kernel and reported.
pub const MAX_DESCRIPTORS: usize = 16;

/// A connected `SOCK_SEQPACKET` socket; non-blocking.
#[derive(Debug)]
pub struct Seqpacket(OwnedFd);

/// One received datagram. Its descriptors are owned before anyone looks at its bytes.
#[derive(Debug)]
pub struct Datagram {
    /// Bytes written to the buffer; 0 is the end of the connection.
    pub length: usize,
    /// Descriptors that came with it, closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// Whether the kernel had to leave out bytes or descriptors.
    pub is_truncated: bool,
}

impl Seqpacket {
    /// Connects to a listening socket in the file system.
    ///
    /// # Errors
    /// Nobody listens, the backlog is full (`WouldBlock`), or the path is too long.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Two ends of one connection.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (a, b) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(a), Self(b)))
    }

    /// Takes the next datagram.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else ends the connection.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(buffer)],
            &mut ancillary,
            flags,
        )?;
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        let is_truncated = received
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
        Ok(Datagram {
            length: received.bytes,
            descriptors,
            is_truncated,
        })
    }

    /// Sends one datagram with copies of `descriptors`.
    ///
    /// # Errors
    /// The other end is gone, or does not read (`WouldBlock`); too many descriptors.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(
            &self.0,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

impl AsFd for Seqpacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes and descriptors of one datagram arrive together, and end with the connection.
    #[test]
    fn a_datagram_arrives_whole_with_its_descriptors() {
        let (near, far) = Seqpacket::pair().unwrap();
        let mut buffer = [0; 16];

        near.send(b"hello", &[near.as_fd(), near.as_fd()]).unwrap();
        let datagram = far.receive(&mut buffer).unwrap();

        assert_eq!(&buffer[..datagram.length], b"hello");
        assert_eq!(
            (datagram.descriptors.len(), datagram.is_truncated),
            (2, false)
        );
        assert_eq!(
            far.receive(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop((near, datagram));
        assert_eq!(far.receive(&mut buffer).unwrap().length, 0);
    }

    /// A datagram longer than the buffer is reported, not silently cut.
    #[test]
    fn a_cut_datagram_is_reported() {
        let (near, far) = Seqpacket::pair().unwrap();

        near.send(b"too long", &[]).unwrap();

        assert!(far.receive(&mut [0; 4]).unwrap().is_truncated);
    }
}

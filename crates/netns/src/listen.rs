//! Listening sockets, for the case that no agent hands them over.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tcp::canonical;

/// As many waiting connections as the kernel allows by default (`somaxconn`).
const BACKLOG: i32 = 4096;

/// Whether the application must, may or must not see the client's own address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OriginalSource {
    /// A listener that cannot be transparent is an error.
    Required,
    /// Transparent where possible.
    #[default]
    BestEffort,
    /// Never transparent.
    Off,
}

/// How a listening socket is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListenOptions {
    /// `SO_MARK`, inherited by accepted sockets.
    pub mark: Option<u32>,
    /// Whether it becomes transparent.
    pub original_source: OriginalSource,
    /// Bind `0.0.0.0` instead of the dual-stack `::`.
    pub ipv4_only: bool,
    /// Share the port with another generation (`SO_REUSEPORT`).
    pub reuse_port: bool,
}

/// Listens on a port of every address.
///
/// # Errors
/// The port is taken, or a required option is not permitted.
pub fn listen(port: u16, options: ListenOptions) -> io::Result<OwnedFd> {
    let domain = if options.ipv4_only {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    let address = if options.ipv4_only {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
    } else {
        socket.set_only_v6(false)?;
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
    };
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    set_transparent(&socket, options)?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes the next waiting connection, non-blocking, with its canonical source address.
///
/// # Errors
/// `WouldBlock` when nobody waits; `EMFILE` and its kin when this process is out of descriptors.
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, address) = acceptfrom_with(listener, flags)?;
    let address = address.and_then(|any| SocketAddr::try_from(any).ok());
    let source = address.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    Ok((socket, canonical(source)))
}

fn set_transparent(socket: &Socket, options: ListenOptions) -> io::Result<()> {
    if options.original_source == OriginalSource::Off {
        return Ok(());
    }
    // A dual-stack socket needs both: the IPv4 option rules its IPv4-mapped connections.
    let both = socket.set_ip_transparent_v4(true).and_then(|()| {
        if options.ipv4_only {
            Ok(())
        } else {
            socket.set_ip_transparent_v6(true)
        }
    });
    match options.original_source {
        OriginalSource::Required => both,
        OriginalSource::BestEffort | OriginalSource::Off => Ok(()),
    }
}

//! Non-blocking connects, with and without somebody else's source address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::tcp::set_keepalive;

/// When the kernel asks a silent far end whether it still lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes until the connection is given up.
    pub probes: u32,
}

impl Default for Keepalive {
    /// Istio's values. Source: node-proxy specification §2.5.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(180),
            interval: Duration::from_secs(180),
            probes: 9,
        }
    }
}

/// What every socket that we open carries.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectOptions {
    /// `SO_MARK`: keeps our own packets out of the redirection.
    pub mark: Option<u32>,
    /// Keepalive, unless off.
    pub keepalive: Option<Keepalive>,
}

/// Ports of spoofed sockets: outside the range that clients' kernels choose from (32768-60999), so
/// that a spoofed connection is never the same four numbers as one of the client's own.
const FIRST_SPOOFED_PORT: u16 = 10240;
const SPOOFED_PORTS: u16 = 32768 - FIRST_SPOOFED_PORT;

/// How many ports are tried; at half the range taken, 32 misses in a row are one in 4 billion.
const SPOOF_ATTEMPTS: u16 = 32;

/// Starts to connect. Writable means decided: then ask [`crate::socket_error`].
///
/// # Errors
/// The kernel refuses at once (no route, no permission, no descriptor).
pub fn connect(destination: SocketAddr, options: ConnectOptions) -> io::Result<OwnedFd> {
    let socket = open(destination, options)?;
    start(&socket, destination)?;
    Ok(socket.into())
}

/// Starts to connect from somebody else's address, so that the destination sees who called.
///
/// `draw` chooses where in the port range the search begins; any value will do, a random one
/// collides least. A source that equals the destination, or is of another family, is not spoofed.
/// Source: node-proxy specification §2.3; ports as measured in the capture research.
///
/// # Errors
/// As [`connect`]; or no free port for this source and destination.
pub fn connect_from(
    source: IpAddr,
    destination: SocketAddr,
    options: ConnectOptions,
    draw: u16,
) -> io::Result<OwnedFd> {
    if source == destination.ip() || source.is_ipv4() != destination.is_ipv4() {
        return connect(destination, options);
    }
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in 0..SPOOF_ATTEMPTS {
        let offset = draw.wrapping_add(attempt.wrapping_mul(STRIDE)) % SPOOFED_PORTS;
        let from = SocketAddr::new(source, FIRST_SPOOFED_PORT + offset);
        match connect_spoofed(from, destination, options) {
            Err(error) if is_port_taken(&error) => last = error,
            // Not permitted to be transparent here: the plain address is better than no connection.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return connect(destination, options);
            }
            other => return other,
        }
    }
    Err(last)
}

/// An odd step, so that successive attempts are far apart.
const STRIDE: u16 = 7919;

fn connect_spoofed(
    from: SocketAddr,
    destination: SocketAddr,
    options: ConnectOptions,
) -> io::Result<OwnedFd> {
    let socket = open(destination, options)?;
    if destination.is_ipv4() {
        socket.set_ip_transparent_v4(true)?;
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_ip_transparent_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    start(&socket, destination)?;
    Ok(socket.into())
}

fn open(destination: SocketAddr, options: ConnectOptions) -> io::Result<Socket> {
    let domain = Domain::for_address(destination);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    socket.set_tcp_nodelay(true)?;
    if let Some(keepalive) = options.keepalive {
        set_keepalive(&socket, keepalive)?;
    }
    Ok(socket)
}

fn start(socket: &Socket, destination: SocketAddr) -> io::Result<()> {
    match socket.connect(&destination.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(()),
        other => other,
    }
}

fn is_port_taken(error: &io::Error) -> bool {
    let taken = [Errno::ADDRINUSE, Errno::ADDRNOTAVAIL];
    taken
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

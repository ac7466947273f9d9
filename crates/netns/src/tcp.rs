//! Questions to and settings of one TCP socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::Shutdown;
use socket2::{SockRef, TcpKeepalive};

use crate::Keepalive;

/// Where the application wanted to go before redirection.
///
/// The IPv4 option is tried first, then the IPv6 one: a dual-stack socket needs both. `None` when
/// neither knows: the connection was not redirected, or came by TPROXY, and the local address is
/// the answer.
/// Source: node-proxy specification §2.2.
pub fn original_destination(socket: impl AsFd) -> Option<SocketAddr> {
    let socket = SockRef::from(&socket);
    let found = socket
        .original_dst_v4()
        .or_else(|_| socket.original_dst_v6())
        .ok()?;
    found.as_socket().map(canonical)
}

/// The socket's own address; an IPv4-mapped one becomes IPv4.
///
/// # Errors
/// The socket is not an IP socket, or is gone.
pub fn local_address(socket: impl AsFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(&socket).local_addr()?;
    address
        .as_socket()
        .map(canonical)
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Takes the pending error of a socket, if there is one.
pub fn socket_error(socket: impl AsFd) -> Option<io::Error> {
    SockRef::from(&socket).take_error().unwrap_or_else(Some)
}

/// Sends small writes at once.
///
/// # Errors
/// The socket is gone.
pub fn set_no_delay(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket).set_tcp_nodelay(true)
}

/// Notices a dead far end even when nobody speaks.
///
/// # Errors
/// The socket is gone.
pub fn set_keepalive(socket: impl AsFd, keepalive: Keepalive) -> io::Result<()> {
    let values = TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.probes);
    SockRef::from(&socket).set_tcp_keepalive(&values)
}

/// Makes the next close of this socket a reset (RST) instead of an orderly end (FIN).
pub fn reset_on_close(socket: impl AsFd) {
    // Fails only on a socket that is gone already, which is then reset as well.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
}

/// Tells the far end that nothing more will be written.
///
/// # Errors
/// The connection is gone already.
pub fn shutdown_write(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, Shutdown::Write)?)
}

pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

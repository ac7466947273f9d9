//! Sockets in network namespaces; the only crate that may hold unsafe code.
//!
//! A socket stays in the namespace in which it was made, so [`Namespace::enter`] makes it there
//! and comes back; connect, accept and I/O need no namespace afterwards. Everything here returns
//! at once: sockets are non-blocking and closed on exec.

mod connect;
mod listen;
mod namespace;
mod seqpacket;
mod tcp;

pub use connect::{ConnectOptions, Keepalive, connect, connect_from};
pub use listen::{ListenOptions, OriginalSource, accept, listen};
pub use namespace::{Namespace, NamespaceId};
pub use seqpacket::{Datagram, MAX_DESCRIPTORS, Seqpacket};
pub use tcp::{
    local_address, original_destination, reset_on_close, set_keepalive, set_no_delay,
    shutdown_write, socket_error,
};

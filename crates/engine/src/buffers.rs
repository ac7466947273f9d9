//! Memory that all connections of a worker share.

use ambimesh_tls::sealed_len;

/// One set per worker; in use for the length of one call.
pub(crate) struct Buffers {
    /// What was read from a socket: an application's bytes behind room for a frame header, or a
    /// tunnel's records.
    pub(crate) read: Vec<u8>,
    /// Records before they are written.
    pub(crate) sealed: Vec<u8>,
    /// Frames that were opened.
    pub(crate) plain: Vec<u8>,
}

impl Buffers {
    /// Read at once: big enough that a system call costs little per byte, small enough for the
    /// second-level cache.
    pub(crate) const READ_BYTES: usize = 256 << 10;
    /// In front of payload.
    pub(crate) const FRAME_HEADER_BYTES: usize = 9;
    /// One record that began in the read before, or a handshake message in parts.
    const UNREAD_BYTES: usize = 128 << 10;
    const CONTROL_BYTES: usize = 16 << 10;

    pub(crate) fn new() -> Self {
        Self {
            read: vec![0; Self::UNREAD_BYTES + Self::READ_BYTES],
            sealed: vec![0; sealed_len(Self::READ_BYTES) + sealed_len(Self::CONTROL_BYTES)],
            plain: Vec::with_capacity(Self::READ_BYTES),
        }
    }
}

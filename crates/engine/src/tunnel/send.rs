//! Sealing and writing.

use std::io;

use ambimesh_tls::{TlsError, sealed_len};

use super::{Stage, Tunnel};
use crate::buffers::Buffers;
use crate::flow::Flow;
use crate::slots::Key;
use crate::worker::{Work, Worker};

/// The tunnel cannot be written to any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendFailed {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// Sealed at once. Control frames are hardly ever more; payload never is.
const CHUNK_BYTES: usize = Buffers::READ_BYTES;

impl Tunnel {
    /// Seals and writes control frames, then `payload`; keeps what the socket does not take.
    ///
    /// The caller sends payload only while nothing is unsent.
    pub(crate) fn send(&mut self, payload: &[u8], sealed: &mut [u8]) -> Result<(), SendFailed> {
        let Stage::Open(session) = &mut self.stage else {
            return Ok(());
        };
        let control = std::mem::take(self.codec.control());
        let mut at = 0;
        for chunk in control
            .chunks(CHUNK_BYTES)
            .chain(payload.chunks(CHUNK_BYTES))
        {
            if sealed.len() - at < sealed_len(chunk.len()) {
                write(&mut self.socket, &mut self.unsent, &sealed[..at])?;
                at = 0;
            }
            at += session.seal(chunk, &mut sealed[at..])?;
        }
        write(&mut self.socket, &mut self.unsent, &sealed[..at])?;
        *self.codec.control() = recycled(control);
        Ok(())
    }

    /// Writes bytes that are sealed already: handshake flights and alerts.
    pub(crate) fn send_sealed(&mut self, sealed: &[u8]) -> io::Result<()> {
        write(&mut self.socket, &mut self.unsent, sealed)
    }

    /// Control frames, unless earlier bytes still wait.
    pub(crate) fn send_control(&mut self, sealed: &mut [u8]) -> Result<(), SendFailed> {
        if self.has_unsent() || self.codec.control().is_empty() {
            return Ok(());
        }
        self.send(&[], sealed)
    }

    /// Writes what the socket did not take earlier. Returns whether nothing is left.
    fn send_unsent(&mut self) -> io::Result<bool> {
        while self.has_unsent() && self.socket.is_writable() {
            self.sent += self.socket.write(&self.unsent[self.sent..])?;
        }
        if self.has_unsent() {
            return Ok(false);
        }
        self.unsent = Vec::new();
        self.sent = 0;
        Ok(true)
    }

    /// Last words: an orderly end of TLS, as far as the socket takes it.
    pub(crate) fn say_goodbye(&mut self, sealed: &mut [u8]) {
        // Whoever does not read does not hear it; the close that follows is enough.
        let _ = self.send_control(sealed);
        if self.has_unsent() {
            return;
        }
        if let Stage::Open(session) = &mut self.stage
            && let Ok(length) = session.close(sealed)
        {
            let _ = self.send_sealed(&sealed[..length]);
        }
    }

    fn take_blocked(&mut self) -> Vec<Key<Flow>> {
        std::mem::take(&mut self.blocked)
    }
}

impl Worker {
    /// Writes a tunnel's waiting control frames.
    pub(crate) fn flush_tunnel(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        if let Err(error) = tunnel.send_control(&mut self.buffers.sealed) {
            self.break_tunnel(key, &error.to_string());
        }
    }

    /// The socket may take more: what was left over first, then whoever waits.
    pub(crate) fn resume_sending(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        if !tunnel.has_unsent() {
            return;
        }
        match tunnel.send_unsent() {
            Ok(true) => {
                self.flush_tunnel(key);
                self.wake_blocked(key);
            }
            Ok(false) => {}
            Err(error) => self.break_tunnel(key, &error.to_string()),
        }
    }

    /// Lets every flow that waits for socket or credit try again.
    pub(crate) fn wake_blocked(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        for flow_key in tunnel.take_blocked() {
            if let Some(flow) = self.flows.get_mut(flow_key) {
                flow.is_blocked = false;
                self.agenda.push_back(Work::Flow(flow_key));
            }
        }
    }
}

fn write(socket: &mut crate::socket::Socket, unsent: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let taken = if unsent.is_empty() {
        socket.write(bytes)?
    } else {
        0
    };
    unsent.extend_from_slice(&bytes[taken..]);
    Ok(())
}

/// Keeps a small buffer for the next frames, gives a large one back.
fn recycled(mut control: Vec<u8>) -> Vec<u8> {
    const KEEP_BYTES: usize = 512;
    if control.capacity() > KEEP_BYTES {
        return Vec::new();
    }
    control.clear();
    control
}

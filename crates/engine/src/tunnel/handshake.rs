//! From a TCP connection to an open session.

use ambimesh_tls::{Handshake, Session, Step, TlsError};
use ambimesh_types::CloseReason;

use super::{Side, Stage, Tunnel};
use crate::slots::Key;
use crate::socket::Read;
use crate::timer::TimerKind;
use crate::worker::{Target, Worker};

/// Read at once during a handshake; both flights are smaller.
const FLIGHT_BYTES: usize = 16 << 10;

impl Worker {
    /// The TCP connect of a dialed tunnel is decided.
    pub(super) fn finish_dial(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        if let Err(error) = tunnel.socket.connect_result() {
            self.close_tunnel(
                key,
                CloseReason::ConnectFailed,
                &format!("connection failed: {error}"),
            );
            return;
        }
        let Stage::Connecting(config) = std::mem::replace(&mut tunnel.stage, Stage::Broken) else {
            return;
        };
        self.begin_handshake(key, Handshake::client(config));
    }

    /// Starts TLS; the client's first flight goes out at once.
    pub(crate) fn begin_handshake(
        &mut self,
        key: Key<Tunnel>,
        handshake: Result<Handshake, TlsError>,
    ) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        match handshake {
            Ok(handshake) => tunnel.stage = Stage::Handshake(Box::new(handshake)),
            Err(error) => return self.close_tunnel(key, error.reason(), &error.to_string()),
        }
        self.timers
            .set(TimerKind::Handshake, self.now, Target::Tunnel(key));
        self.advance_handshake(key, 0);
        self.drive_tunnel(key);
    }

    /// Reads what arrived and lets the handshake go on; until nothing more can be read.
    pub(super) fn continue_handshake(&mut self, key: Key<Tunnel>) {
        loop {
            let Some(tunnel) = self.tunnels.get_mut(key) else {
                return;
            };
            if !matches!(tunnel.stage, Stage::Handshake(_)) {
                return self.drive_tunnel(key);
            }
            let buffer = &mut self.buffers.read[..FLIGHT_BYTES];
            match tunnel.socket.read(buffer) {
                Read::Bytes(length) => self.advance_handshake(key, length),
                Read::Blocked => return,
                Read::End => {
                    let detail = "peer closed the connection during the tls handshake";
                    return self.close_tunnel(key, CloseReason::TlsFailure, detail);
                }
                Read::Failed(error) => {
                    return self.close_tunnel(key, CloseReason::TlsFailure, &error.to_string());
                }
            }
        }
    }

    /// Feeds the first `length` bytes of the read buffer to the handshake.
    fn advance_handshake(&mut self, key: Key<Tunnel>, length: usize) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        let Stage::Handshake(handshake) = &mut tunnel.stage else {
            return;
        };
        let mut flight = Vec::new();
        let step = handshake.advance(&self.buffers.read[..length], &mut flight);
        if let Err(error) = tunnel.send_sealed(&flight) {
            // The peer's alert, if one arrived, says more than a broken pipe.
            let (reason, detail) = match &step {
                Err(tls) => (tls.reason(), tls.to_string()),
                Ok(_) => (CloseReason::TlsFailure, error.to_string()),
            };
            return self.close_tunnel(key, reason, &detail);
        }
        match step {
            Ok(Step::Blocked) => {}
            Ok(Step::Done) => self.finish_handshake(key),
            Err(error) => self.close_tunnel(key, error.reason(), &error.to_string()),
        }
    }

    fn finish_handshake(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        let Stage::Handshake(handshake) = std::mem::replace(&mut tunnel.stage, Stage::Broken)
        else {
            return;
        };
        match handshake.finish() {
            Ok(session) => self.open_tunnel(key, session),
            Err(error) => self.close_tunnel(key, error.reason(), &error.to_string()),
        }
    }

    fn open_tunnel(&mut self, key: Key<Tunnel>, session: Session) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        if let Side::Server { peer, .. } = &mut tunnel.side {
            *peer = session.peer().cloned();
        }
        tunnel.stage = Stage::Open(Box::new(session));
        self.timers
            .set(TimerKind::Ping, self.now, Target::Tunnel(key));
        let openers = match &mut tunnel.side {
            Side::Client { openers, .. } => std::mem::take(openers),
            Side::Server { .. } => Vec::new(),
        };
        for flow in openers {
            self.open_stream(key, flow);
        }
        self.flush_tunnel(key);
        self.open_leftover(key);
    }
}

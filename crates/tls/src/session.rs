//! Handshakes and records, without I/O.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ambimesh_types::Identity;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};

use crate::error::TlsError;
use crate::identity::identities_of;
use crate::svid::ALPN;

/// What comes out of one step of a handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The peer must speak next.
    Blocked,
    /// The handshake is done: take the session.
    Done,
}

/// A handshake under way, fed with whatever bytes arrived.
pub struct Handshake {
    connection: Connection,
    unread: Vec<u8>,
    early: Vec<u8>,
    has_failed: bool,
}

/// An established session: opens and seals records.
pub struct Session {
    connection: Connection,
    /// Received bytes that are no whole record yet, or part of a handshake message.
    unread: Vec<u8>,
    /// Plaintext that was opened together with the end of the handshake.
    early: Vec<u8>,
    peer: Option<Identity>,
    /// After an error rustls must not be asked again: it would panic.
    has_failed: bool,
    /// Our side has ended: nothing may be sealed.
    has_closed: bool,
}

enum Connection {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// Does the same for either role.
macro_rules! either {
    ($connection:expr, $role:ident => $do:expr) => {
        match $connection {
            Connection::Client($role) => $do,
            Connection::Server($role) => $do,
        }
    };
}

/// A mutual handshake with a long chain is about 10 KiB.
const MAX_HANDSHAKE_BYTES: usize = 128 << 10;
const MAX_RECORD_PLAINTEXT: usize = 16 << 10;
/// Header, inner content type, and tag.
const RECORD_OVERHEAD: usize = 5 + 1 + 16;
/// Room for a key update or an alert in front of the data.
const CONTROL_ROOM: usize = 256;

/// An upper bound of what sealing `plain_len` bytes takes.
#[must_use]
pub const fn sealed_len(plain_len: usize) -> usize {
    plain_len + (plain_len / MAX_RECORD_PLAINTEXT + 1) * RECORD_OVERHEAD + CONTROL_ROOM
}

impl Handshake {
    /// Begins as the dialing side; call [`Self::advance`] with nothing to get the first flight.
    ///
    /// # Errors
    /// The configuration is unusable.
    pub fn client(config: Arc<ClientConfig>) -> Result<Self, TlsError> {
        // An address is never sent as server name, and our verifier does not look at it.
        let unnamed = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        let connection = UnbufferedClientConnection::new(config, unnamed)?;
        Ok(Self {
            connection: Connection::Client(Box::new(connection)),
            unread: Vec::new(),
            early: Vec::new(),
            has_failed: false,
        })
    }

    /// Begins as the accepting side.
    ///
    /// # Errors
    /// The configuration is unusable.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            connection: Connection::Server(Box::new(connection)),
            unread: Vec::new(),
            early: Vec::new(),
            has_failed: false,
        })
    }

    /// Takes received bytes, in any chunking, and appends what must be sent to `output`.
    ///
    /// # Errors
    /// The handshake failed; `output` may hold an alert that is worth sending.
    pub fn advance(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Step, TlsError> {
        if self.has_failed {
            return Err(FAILED);
        }
        if self.unread.len() + input.len() > MAX_HANDSHAKE_BYTES {
            self.has_failed = true;
            return Err(TlsError::HandshakeTooLarge {
                limit: MAX_HANDSHAKE_BYTES,
            });
        }
        self.unread.extend_from_slice(input);
        let (unread, early) = (&mut self.unread, &mut self.early);
        let result = either!(&mut self.connection, c => c.advance(unread, early, output));
        self.has_failed = result.is_err();
        result
    }

    /// Takes the session after [`Step::Done`].
    ///
    /// What the peer sent behind its handshake is kept: call [`Session::open`] once with exactly
    /// [`Session::unread`] before the first read.
    ///
    /// # Errors
    /// The peer does not speak HTTP/2.
    pub fn finish(self) -> Result<Session, TlsError> {
        if self.has_failed {
            return Err(FAILED);
        }
        let common = self.connection.common();
        if common.alpn_protocol() != Some(ALPN) {
            return Err(TlsError::NotHttp2);
        }
        let leaf = common.peer_certificates().and_then(<[_]>::first);
        let peer = leaf.and_then(|leaf| identities_of(leaf).into_iter().next());
        Ok(Session {
            connection: self.connection,
            unread: self.unread,
            early: self.early,
            peer,
            has_failed: false,
            has_closed: false,
        })
    }
}

impl Session {
    /// Who is at the other end: the first identity of its verified certificate.
    #[must_use]
    pub fn peer(&self) -> Option<&Identity> {
        self.peer.as_ref()
    }

    /// Received bytes that wait for the rest of their record.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Opens every whole record of `received`, which must begin with [`Self::unread`].
    ///
    /// Appends plaintext to `plain`, and to `reply` what must be sent before anything sealed
    /// later (key updates). Returns whether the peer has closed its side.
    ///
    /// # Errors
    /// The peer broke TLS; `reply` may hold an alert. The session is then useless.
    pub fn open(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<bool, TlsError> {
        if self.has_failed {
            return Err(FAILED);
        }
        plain.append(&mut std::mem::take(&mut self.early));
        let (consumed, result) = either!(&mut self.connection, c => c.open(received, plain, reply));
        self.unread.clear();
        if consumed < received.len() {
            self.unread.extend_from_slice(&received[consumed..]);
        } else {
            self.unread = Vec::new();
        }
        self.has_failed = result.is_err();
        result
    }

    /// Seals `plain` into the front of `out`, which has at least [`sealed_len`] bytes; returns how
    /// many were written.
    ///
    /// # Errors
    /// The session is closed, or `out` is too small.
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, TlsError> {
        self.write(out, Write::Data(plain))
    }

    /// Writes the orderly end of our side into the front of `out`; returns how many bytes.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn close(&mut self, out: &mut [u8]) -> Result<usize, TlsError> {
        let result = self.write(out, Write::Close);
        self.has_closed = true;
        result
    }

    /// Changes our sending key, as after very much traffic; the next [`Self::seal`] announces it.
    ///
    /// # Errors
    /// The session is closed.
    pub fn refresh_key(&mut self) -> Result<(), TlsError> {
        if self.has_failed || self.has_closed {
            return Err(FAILED);
        }
        let unread = &mut self.unread;
        either!(&mut self.connection, c => c.refresh(unread))
    }

    fn write(&mut self, out: &mut [u8], write: Write<'_>) -> Result<usize, TlsError> {
        if self.has_failed || self.has_closed {
            return Err(FAILED);
        }
        let unread = &mut self.unread;
        let result = either!(&mut self.connection, c => c.write(unread, out, write));
        self.has_failed = result.is_err();
        result
    }
}

impl Connection {
    fn common(&self) -> &CommonState {
        either!(self, c => c)
    }
}

enum Write<'a> {
    Data(&'a [u8]),
    Close,
}

/// What rustls' two roles have in common; it has no trait for it.
trait Records {
    type Role;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Role>;

    /// Whether an encoded message waits to be taken.
    fn has_output(&self) -> bool;

    fn advance(
        &mut self,
        unread: &mut Vec<u8>,
        early: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Step, TlsError> {
        loop {
            let UnbufferedStatus { discard, state } = self.process(unread);
            let step = match state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, output)?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => {
                    sent.done();
                    None
                }
                Ok(ConnectionState::BlockedHandshake) => Some(Step::Blocked),
                // rustls opens what follows the handshake before it says that the handshake is done.
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(Ok(record)) = records.next_record() {
                        early.extend_from_slice(record.payload);
                    }
                    None
                }
                Ok(ConnectionState::WriteTraffic(_)) => Some(Step::Done),
                Ok(_) => {
                    return Err(TlsError::State {
                        wanted: "finish its handshake",
                    });
                }
                Err(error) => {
                    self.collect_alert(&mut unread[discard..], output);
                    return Err(error.into());
                }
            };
            unread.drain(..discard);
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// Returns how many bytes of `received` were used, even when the rest is broken.
    fn open(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> (usize, Result<bool, TlsError>) {
        let mut at = 0;
        let mut is_closed = false;
        loop {
            let UnbufferedStatus { discard, state } = self.process(&mut received[at..]);
            at += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(Ok(record)) = records.next_record() {
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    if let Err(error) = encode(data, reply) {
                        return (at, Err(error));
                    }
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                Ok(ConnectionState::PeerClosed) => is_closed = true,
                Ok(ConnectionState::Closed) => return (at, Ok(true)),
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => {
                    return (at, Ok(is_closed));
                }
                Ok(_) => {
                    return (
                        at,
                        Err(TlsError::State {
                            wanted: "open records",
                        }),
                    );
                }
                Err(error) => {
                    self.collect_alert(&mut received[at..], reply);
                    return (at, Err(error.into()));
                }
            }
        }
    }

    fn write(
        &mut self,
        unread: &mut Vec<u8>,
        out: &mut [u8],
        write: Write<'_>,
    ) -> Result<usize, TlsError> {
        let mut at = 0;
        loop {
            // Unread bytes go along: rustls remembers how far it looked into them and would index
            // past the end of an empty buffer.
            let UnbufferedStatus { discard, state } = self.process(unread);
            match state? {
                ConnectionState::EncodeTlsData(mut data) => {
                    at += data.encode(&mut out[at..]).map_err(|_| TOO_SMALL)?;
                }
                ConnectionState::TransmitTlsData(sent) => sent.done(),
                ConnectionState::WriteTraffic(mut traffic) => {
                    let written = match write {
                        Write::Data(plain) => traffic.encrypt(plain, &mut out[at..]),
                        Write::Close => traffic.queue_close_notify(&mut out[at..]),
                    };
                    unread.drain(..discard);
                    return written.map(|n| at + n).map_err(|_| TOO_SMALL);
                }
                // Announced once, by whoever asks first; the data before it is all opened.
                ConnectionState::PeerClosed => {}
                _ => return Err(TlsError::State { wanted: "write" }),
            }
            unread.drain(..discard);
        }
    }

    fn refresh(&mut self, unread: &mut [u8]) -> Result<(), TlsError> {
        match self.process(unread).state? {
            ConnectionState::WriteTraffic(traffic) => Ok(traffic.refresh_traffic_keys()?),
            _ => Err(TlsError::State {
                wanted: "refresh its key",
            }),
        }
    }

    /// Appends the alert that rustls queued with an error; the error itself is known already.
    fn collect_alert(&mut self, unread: &mut [u8], output: &mut Vec<u8>) {
        // The unread bytes go along for the same reason as in `write`. Queued output comes before
        // input is looked at, so one call per message is enough and nothing is read.
        while self.has_output() {
            let Ok(ConnectionState::EncodeTlsData(data)) = self.process(unread).state else {
                return;
            };
            if encode(data, output).is_err() {
                return;
            }
        }
    }
}

impl Records for UnbufferedClientConnection {
    type Role = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Role> {
        self.process_tls_records(input)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Records for UnbufferedServerConnection {
    type Role = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Role> {
        self.process_tls_records(input)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

const FAILED: TlsError = TlsError::State { wanted: "go on" };
const TOO_SMALL: TlsError = TlsError::State {
    wanted: "write into so small a buffer",
};

fn encode<Role>(mut data: EncodeTlsData<'_, Role>, output: &mut Vec<u8>) -> Result<(), TlsError> {
    let start = output.len();
    let required = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        _ => return Err(TlsError::State { wanted: "encode" }),
    };
    output.resize(start + required, 0);
    match data.encode(&mut output[start..]) {
        Ok(written) => {
            output.truncate(start + written);
            Ok(())
        }
        Err(_) => Err(TlsError::State { wanted: "encode" }),
    }
}

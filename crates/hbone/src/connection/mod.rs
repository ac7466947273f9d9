//! The protocol state of one tunnel.

mod control;
mod data;
mod headers;
mod receive;
mod send;

use std::collections::VecDeque;

use crate::frame;
use crate::hpack::Decoder;
use crate::settings::{self, PeerSettings};
use crate::stream::Streams;
use crate::window::{DEFAULT_WINDOW, ReceiveWindow, SendWindow};
use crate::{ConnectionError, ErrorCode, Event, Settings, StreamId};
use headers::HeaderBlock;
use receive::Stage;

/// Which end of the tunnel this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Dialled the tunnel; opens streams.
    Client,
    /// Accepted the tunnel; answers them.
    Server,
}

/// The peer's announcement that it takes no new streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GoingAway {
    /// The last stream the peer has, or will have, worked on.
    pub last_stream: u32,
    /// Why; `NO_ERROR` for an orderly shutdown.
    pub code: ErrorCode,
}

/// One end of one HTTP/2 connection that carries only CONNECT streams.
///
/// Shape: does no I/O, reads no clock; see the crate's page for how to drive it.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    settings: Settings,
    peer: PeerSettings,
    /// Whether the peer's first SETTINGS arrived.
    is_established: bool,
    /// Whether the peer confirmed ours, so that our windows and limits are in force.
    is_confirmed: bool,
    streams: Streams,
    /// The highest stream number opened: by us (client) or by the peer (server).
    highest_stream: u32,
    /// The highest stream that reached the caller: what a GOAWAY of ours says.
    last_accepted: u32,
    send: SendWindow,
    receive: ReceiveWindow,
    stage: Stage,
    /// Payload of a frame that has not arrived whole.
    partial: Vec<u8>,
    /// A header block that waits for CONTINUATION.
    header_block: Option<HeaderBlock>,
    decoder: Decoder,
    /// Events that the last frame caused; empty before the next frame is read.
    queued: VecDeque<Event<'static>>,
    control: Vec<u8>,
    flood: Flood,
    shutdown: Shutdown,
    peer_going_away: Option<GoingAway>,
    failure: Option<ConnectionError>,
}

/// What counts against `Limits`.
#[derive(Debug, Default)]
struct Flood {
    /// Bytes of answers since `control` was last taken.
    answers: usize,
    early_resets: u32,
    empty_data: u32,
}

/// How far our own going away has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shutdown {
    No,
    /// The first GOAWAY is out; the PING behind it is not answered yet.
    Announced,
    /// The final GOAWAY is out: new streams are ignored.
    Final,
}

impl Connection {
    /// Starts a connection: preface, SETTINGS and the connection's credit are in `control()`.
    #[must_use]
    pub fn new(role: Role, settings: Settings) -> Self {
        let settings = settings.clamped();
        let mut connection = Self {
            role,
            settings,
            peer: PeerSettings::assumed(settings.assumed_stream_limit),
            is_established: false,
            is_confirmed: false,
            streams: Streams::default(),
            highest_stream: 0,
            last_accepted: 0,
            send: SendWindow::new(DEFAULT_WINDOW),
            receive: ReceiveWindow::new(settings.connection_window, DEFAULT_WINDOW),
            stage: Stage::start(role),
            partial: Vec::new(),
            header_block: None,
            decoder: Decoder::new(),
            queued: VecDeque::new(),
            control: Vec::new(),
            flood: Flood::default(),
            shutdown: Shutdown::No,
            peer_going_away: None,
            failure: None,
        };
        connection.greet();
        connection
    }

    fn greet(&mut self) {
        let special = match self.role {
            Role::Client => {
                self.control.extend_from_slice(frame::PREFACE);
                (settings::ENABLE_PUSH, 0)
            }
            Role::Server => (
                settings::MAX_CONCURRENT_STREAMS,
                self.settings.max_concurrent_streams,
            ),
        };
        let values = [
            special,
            (settings::INITIAL_WINDOW_SIZE, self.settings.stream_window),
            (settings::MAX_FRAME_SIZE, self.settings.max_frame_size),
            (
                settings::MAX_HEADER_LIST_SIZE,
                self.settings.max_header_list,
            ),
        ];
        frame::push_settings(&mut self.control, &values);
        self.return_credit(0);
    }

    /// Frames to write, in order. The caller takes them all: copy and `clear`, or swap.
    pub fn control(&mut self) -> &mut Vec<u8> {
        &mut self.control
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the peer's SETTINGS have arrived. Bound the wait for it: a silent peer is no peer.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.is_established
    }

    /// How many streams the peer allows at once, now. Before its SETTINGS: what we assume.
    #[must_use]
    pub fn stream_limit(&self) -> u32 {
        self.peer.max_concurrent_streams
    }

    /// Streams that count towards a limit: not yet ended both ways, nor reset.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.count_open()
    }

    /// Whether `open` would find room: the limit is not reached and nobody is going away.
    #[must_use]
    pub fn can_open(&self) -> bool {
        self.check_open().is_ok()
    }

    /// Whether the stream exists: not reset, and not (ended both ways and wholly consumed).
    #[must_use]
    pub fn has_stream(&self, stream: StreamId) -> bool {
        self.streams.find(stream).is_some()
    }

    /// Whether the peer will send nothing more on this stream. True for a stream that is gone.
    #[must_use]
    pub fn has_peer_ended(&self, stream: StreamId) -> bool {
        self.streams
            .find(stream)
            .is_none_or(|stream| stream.has_peer_ended)
    }

    /// Whether we have ended our side of this stream. True for a stream that is gone.
    #[must_use]
    pub fn has_ended(&self, stream: StreamId) -> bool {
        self.streams
            .find(stream)
            .is_none_or(|stream| stream.has_ended)
    }

    /// Whether the answer was sent (server) or has arrived (client).
    #[must_use]
    pub fn is_answered(&self, stream: StreamId) -> bool {
        self.streams
            .find(stream)
            .is_some_and(|stream| stream.is_answered)
    }

    /// Whether no new streams will be opened: a GOAWAY was sent or received, or the tunnel failed.
    #[must_use]
    pub fn is_going_away(&self) -> bool {
        self.shutdown != Shutdown::No || self.peer_going_away.is_some() || self.failure.is_some()
    }

    /// The peer's GOAWAY, if it sent one.
    #[must_use]
    pub fn peer_going_away(&self) -> Option<GoingAway> {
        self.peer_going_away
    }

    /// Whether the tunnel may be closed: going away for good, and no stream left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let is_final = self.shutdown == Shutdown::Final
            || self.peer_going_away.is_some()
            || self.failure.is_some();
        is_final && self.streams.is_empty()
    }

    /// Gives the peer connection credit, in batches.
    fn return_credit(&mut self, bytes: u32) {
        if let Some(increment) = self.receive.give_back(bytes) {
            frame::push_window_update(&mut self.control, 0, increment);
        }
    }

    /// Takes a stream out and returns the credit of what will never be consumed now.
    fn drop_stream(&mut self, id: StreamId) -> Option<crate::stream::Stream> {
        let stream = self.streams.remove(id)?;
        self.return_credit(stream.on_loan);
        Some(stream)
    }
}

//! What we announce, what the peer announced, and what a peer may make grow.

use crate::ConnectionError;
use crate::frame::{MAX_31_BITS, MAX_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE};
use crate::window::DEFAULT_WINDOW;

/// What we announce to the peer, and limits that are ours alone.
///
/// The defaults are Istio's (specification §6.3) but for the windows; fields outside their range are clamped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// What a peer may send on one stream before we return credit. Units: bytes, at most 2^31-1.
    pub stream_window: u32,
    /// The same for the whole tunnel. At least 65,535: HTTP/2 cannot start lower.
    pub connection_window: u32,
    /// The longest frame we accept: 16,384 to 16,777,215 bytes.
    pub max_frame_size: u32,
    /// The largest header list we accept, as RFC 9113 §6.5.2 counts it.
    pub max_header_list: u32,
    /// Streams the peer may have open at once (announced by a server only).
    pub max_concurrent_streams: u32,
    /// Streams we open at once before the peer has said how many it allows (client only).
    pub assumed_stream_limit: u32,
    /// What a hostile peer may make grow.
    pub limits: Limits,
}

/// Bounds against hostile peers. An honest one comes nowhere near.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Answers (PONG, SETTINGS ACK, `RST_STREAM`) waiting in `control()`. Units: bytes.
    pub pending_answers: usize,
    /// Streams that the peer made end before their answer; each answer and each
    /// `refill_limits` gives back.
    pub early_resets: u32,
    /// Empty DATA frames in a row.
    pub empty_data: u32,
    /// CONTINUATION frames of one header block.
    pub continuations: u32,
}

impl Settings {
    /// Defaults for the end that opens streams.
    ///
    /// Bound: a tunnel holds at most `connection_window` bytes of payload that applications do not
    /// read, 256 MiB; a stream at most 2 MiB. (Istio: 16 and 4 MiB, where four stalled readers use
    /// up the tunnel of everybody else.)
    #[must_use]
    pub fn client() -> Self {
        Self {
            stream_window: 0,
            connection_window: 0,
            max_frame_size: 1 << 20,
            max_header_list: 16 << 10,
            max_concurrent_streams: 0,
            assumed_stream_limit: 100,
            limits: Limits::default(),
        }
        .with_stream_window(STREAM_WINDOW)
    }

    /// Defaults for the end that answers.
    #[must_use]
    pub fn server() -> Self {
        Self {
            max_header_list: 64 << 10,
            max_concurrent_streams: 200,
            ..Self::client()
        }
    }

    /// The same with another stream window, and the connection window with which 128 streams can
    /// stand still, full, while others go on: more than a node proxy puts on one tunnel (100).
    #[must_use]
    pub fn with_stream_window(self, bytes: u32) -> Self {
        Self {
            stream_window: bytes,
            connection_window: bytes.saturating_mul(128).min(MAX_31_BITS),
            ..self
        }
    }

    /// The same with every field in the range that HTTP/2 allows.
    pub(crate) fn clamped(self) -> Self {
        Self {
            stream_window: self.stream_window.clamp(1, MAX_31_BITS),
            connection_window: self.connection_window.clamp(DEFAULT_WINDOW, MAX_31_BITS),
            max_frame_size: self
                .max_frame_size
                .clamp(MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE),
            ..self
        }
    }

    /// The encoded size up to which a header block is read at all.
    ///
    /// A list within the limit never encodes to more than its size. Twice that leaves room to
    /// answer one that is too large politely; beyond it the tunnel ends.
    pub(crate) fn max_header_block(&self) -> usize {
        (self.max_header_list as usize)
            .saturating_mul(2)
            .max(MIN_MAX_FRAME_SIZE as usize)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_answers: 64 << 10,
            early_resets: 500,
            empty_data: 1000,
            continuations: 64,
        }
    }
}

/// Half of Istio's, so that stalled readers hold less. Measured on one bulk stream: CPU per byte as
/// with 4 MiB; 1 MiB costs 14 % more.
const STREAM_WINDOW: u32 = 2 << 20;

/// Setting numbers. Source: RFC 9113 §6.5.2.
pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(crate) const ENABLE_PUSH: u16 = 0x2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// What the peer announced; before that, what HTTP/2 or we assume.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PeerSettings {
    pub(crate) initial_window: u32,
    pub(crate) max_frame_size: u32,
    pub(crate) max_header_list: Option<u32>,
    pub(crate) max_concurrent_streams: u32,
    /// Whether `HEADER_TABLE_SIZE` came, so that our next header block must say what we use.
    pub(crate) has_table_size: bool,
}

impl PeerSettings {
    pub(crate) fn assumed(stream_limit: u32) -> Self {
        Self {
            initial_window: DEFAULT_WINDOW,
            max_frame_size: MIN_MAX_FRAME_SIZE,
            max_header_list: None,
            max_concurrent_streams: stream_limit,
            has_table_size: false,
        }
    }

    /// Takes the payload of a SETTINGS frame, whose length is a multiple of six.
    ///
    /// Only the last value of each setting counts, so that a frame of ten thousand window changes
    /// costs one walk over the streams.
    pub(crate) fn update(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        for &[a, b, c, d, e, f] in payload.as_chunks::<6>().0 {
            self.set(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]))?;
        }
        Ok(())
    }

    fn set(&mut self, id: u16, value: u32) -> Result<(), ConnectionError> {
        let range = match id {
            ENABLE_PUSH => 0..=1,
            INITIAL_WINDOW_SIZE => 0..=MAX_31_BITS,
            MAX_FRAME_SIZE => MIN_MAX_FRAME_SIZE..=MAX_MAX_FRAME_SIZE,
            _ => 0..=u32::MAX,
        };
        if !range.contains(&value) {
            return Err(ConnectionError::BadSetting { id, value });
        }
        match id {
            HEADER_TABLE_SIZE => self.has_table_size = true,
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
            INITIAL_WINDOW_SIZE => self.initial_window = value,
            MAX_FRAME_SIZE => self.max_frame_size = value,
            MAX_HEADER_LIST_SIZE => self.max_header_list = Some(value),
            _ => {}
        }
        Ok(())
    }
}

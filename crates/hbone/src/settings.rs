//! What we announce, what the peer announced, and what a peer may make grow.

use crate::error::ConnectionError;
use crate::frame::{self, Kind};

/// What we announce to the peer, and limits that are ours alone.
///
/// The defaults are Istio's (specification §6.3); fields outside their range are clamped.
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
    /// Answers (PONG, SETTINGS ACK, RST_STREAM) waiting in `control()`. Units: bytes.
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
    #[must_use]
    pub fn client() -> Self {
        Self {
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            max_frame_size: 1 << 20,
            max_header_list: 16 << 10,
            max_concurrent_streams: 0,
            assumed_stream_limit: 100,
            limits: Limits::default(),
        }
    }

    /// Defaults for the end that answers.
    #[must_use]
    pub fn server() -> Self {
        Self { max_header_list: 64 << 10, max_concurrent_streams: 200, ..Self::client() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending_answers: 64 << 10, early_resets: 500, empty_data: 1000, continuations: 64 }
    }
}

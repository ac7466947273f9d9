//! What the peer did.

use crate::{BadRequest, ConnectRequest, ConnectResponse, ErrorCode, StreamError, StreamId};

/// One thing the peer did, in the order it did them.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A well-formed CONNECT (server only). Answer with `respond` or `reset`; its DATA may follow
    /// before the answer is given.
    Request {
        /// The new stream.
        stream: StreamId,
        /// What is asked for.
        request: ConnectRequest,
    },
    /// A request that is no good CONNECT (server only). The stream is open: answer with
    /// [`Connection::reject`](crate::Connection::reject) and the problem's own status.
    BadRequest {
        /// The new stream.
        stream: StreamId,
        /// Why it is refused.
        problem: BadRequest,
    },
    /// A stream above the advertised maximum; already refused with `REFUSED_STREAM` (server only).
    /// For counting; the stream does not exist.
    Refused {
        /// The number the peer had chosen.
        stream: StreamId,
    },
    /// The answer to our CONNECT (client only). Comes once per stream, before any of its DATA.
    Response {
        /// The stream that was opened.
        stream: StreamId,
        /// Status and headers.
        response: ConnectResponse,
    },
    /// Payload, borrowed from the input; never empty. Owed to [`Connection::consumed`](crate::Connection::consumed).
    Data {
        /// The stream it belongs to.
        stream: StreamId,
        /// Part of a DATA frame, as it arrived.
        bytes: &'a [u8],
    },
    /// The peer will send no more on this stream; we may go on sending. At most once per stream.
    End {
        /// The half-closed stream.
        stream: StreamId,
    },
    /// The stream is gone, both ways, and its credit settled: drop what is not delivered yet.
    Reset {
        /// The stream, which no longer exists.
        stream: StreamId,
        /// The code of the `RST_STREAM`, received or sent.
        code: ErrorCode,
        /// Who ended it.
        cause: ResetCause,
    },
    /// `sendable` was zero and is no longer.
    Writable {
        /// The stream, or `None`: ask every stream that waits.
        stream: Option<StreamId>,
    },
    /// The peer changed how many streams it allows: see `stream_limit`.
    StreamLimit {
        /// The new limit.
        limit: u32,
    },
    /// The peer takes no new streams. Those above `last_stream` get a `Reset` of their own next.
    GoAway {
        /// The last stream it has, or will have, worked on.
        last_stream: u32,
        /// Why; `NO_ERROR` for an orderly shutdown.
        code: ErrorCode,
    },
    /// The answer to our `ping`.
    Pong {
        /// What the ping carried.
        payload: [u8; 8],
    },
}

/// Who ended a stream that was reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResetCause {
    /// The peer sent `RST_STREAM`.
    Peer,
    /// The peer's GOAWAY excludes the stream: it was never worked on and may be tried elsewhere.
    GoAway,
    /// The peer broke the protocol on this stream and we reset it.
    Violation(StreamError),
}

impl Event<'_> {
    /// Whether a reset stream was certainly not worked on, so that opening it again is safe.
    ///
    /// Source: RFC 9113 §8.7.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Reset {
                code: ErrorCode::REFUSED_STREAM,
                ..
            }
        )
    }
}

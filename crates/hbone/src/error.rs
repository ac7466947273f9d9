//! Every way a tunnel, a stream or a call can fail.

use std::fmt;

/// The error code of `RST_STREAM` and GOAWAY. Source: RFC 9113 §7.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ErrorCode(pub u32);

#[expect(missing_docs, reason = "the names are the standard's")]
impl ErrorCode {
    pub const NO_ERROR: Self = Self(0x0);
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    pub const INTERNAL_ERROR: Self = Self(0x2);
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    pub const STREAM_CLOSED: Self = Self(0x5);
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub const REFUSED_STREAM: Self = Self(0x7);
    pub const CANCEL: Self = Self(0x8);
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    pub const CONNECT_ERROR: Self = Self(0xa);
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        match usize::try_from(self.0)
            .ok()
            .and_then(|code| NAMES.get(code))
        {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {:#x}", self.0),
        }
    }
}

/// The peer broke HTTP/2 or exceeded a limit so that the whole tunnel ends.
///
/// Always the peer's fault. The matching GOAWAY is already in `control()`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The first bytes of a client are not HTTP/2's.
    #[error("peer does not speak HTTP/2")]
    BadPreface,
    /// The first frame is not SETTINGS.
    #[error("first frame is not SETTINGS")]
    MissingSettings,
    /// A frame is longer than we allow, or has a length its type cannot have.
    #[error("{frame} frame of {length} bytes")]
    FrameSize {
        /// The frame's type.
        frame: &'static str,
        /// Its announced length.
        length: usize,
    },
    /// A frame where the protocol has no place for it.
    #[error("{what}")]
    Protocol {
        /// What was wrong.
        what: &'static str,
    },
    /// A setting outside its range.
    #[error("value {value} of setting {id:#x} is out of range")]
    BadSetting {
        /// The setting's number.
        id: u16,
        /// The value sent.
        value: u32,
    },
    /// More DATA than the connection's window allowed.
    #[error("peer sent more than the connection window")]
    WindowExceeded,
    /// A window above 2^31-1.
    #[error("connection window grew beyond 2^31-1")]
    WindowOverflow,
    /// A header block that HPACK cannot decode: the two tables would differ from here on.
    #[error("header block: {what}")]
    Compression {
        /// What was wrong.
        what: &'static str,
    },
    /// A header block whose encoded size is beyond the limit, or in too many frames.
    #[error("header block is larger than {limit} bytes or split into too many frames")]
    HeaderBlockTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Frames that want an answer, faster than the answers could be written.
    #[error("more than {limit} bytes of answers are waiting (PING, SETTINGS or RST_STREAM flood)")]
    ControlFlood {
        /// The limit in bytes.
        limit: usize,
    },
    /// Streams opened and thrown away faster than they were answered ("rapid reset").
    #[error("more than {limit} streams were reset before they were answered")]
    RapidReset {
        /// The limit in streams.
        limit: u32,
    },
    /// Empty DATA frames without end.
    #[error("more than {limit} empty DATA frames in a row")]
    EmptyDataFlood {
        /// The limit in frames.
        limit: u32,
    },
}

impl ConnectionError {
    /// The code that the GOAWAY carries.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadPreface | Self::MissingSettings | Self::Protocol { .. } => {
                ErrorCode::PROTOCOL_ERROR
            }
            Self::BadSetting {
                id: crate::settings::INITIAL_WINDOW_SIZE,
                ..
            }
            | Self::WindowExceeded
            | Self::WindowOverflow => ErrorCode::FLOW_CONTROL_ERROR,
            Self::BadSetting { .. } => ErrorCode::PROTOCOL_ERROR,
            Self::FrameSize { .. } => ErrorCode::FRAME_SIZE_ERROR,
            Self::Compression { .. } => ErrorCode::COMPRESSION_ERROR,
            Self::HeaderBlockTooLarge { .. }
            | Self::ControlFlood { .. }
            | Self::RapidReset { .. }
            | Self::EmptyDataFlood { .. } => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }
}

/// The peer broke HTTP/2 on one stream, which we therefore reset; the tunnel goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A frame that a stream in this state cannot get.
    #[error("{what}")]
    Protocol {
        /// What was wrong.
        what: &'static str,
    },
    /// DATA or HEADERS after the peer had ended its side.
    #[error("peer sent more after it had ended the stream")]
    AfterEnd,
    /// More DATA than the stream's window allowed.
    #[error("peer sent more than the stream window")]
    WindowExceeded,
    /// A window above 2^31-1.
    #[error("stream window grew beyond 2^31-1")]
    WindowOverflow,
    /// The answer's header list is larger than we allow.
    #[error("header list is larger than {limit} bytes")]
    HeaderListTooLarge {
        /// The limit in bytes, counted as RFC 9113 §6.5.2 does.
        limit: usize,
    },
}

impl StreamError {
    /// The code that the `RST_STREAM` carries.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Protocol { .. } => ErrorCode::PROTOCOL_ERROR,
            Self::AfterEnd => ErrorCode::STREAM_CLOSED,
            Self::WindowExceeded | Self::WindowOverflow => ErrorCode::FLOW_CONTROL_ERROR,
            Self::HeaderListTooLarge { .. } => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }
}

/// Why no stream was opened. All but `HeaderListTooLarge` and `NotClient`: try another tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer allows no more streams at once; wait for one to end, or dial another tunnel.
    #[error("peer allows {limit} streams at once")]
    StreamLimit {
        /// What the peer allows now.
        limit: u32,
    },
    /// A GOAWAY was sent or received, or the tunnel failed.
    #[error("tunnel is going away")]
    GoingAway,
    /// All 2^30 stream numbers of this tunnel are used.
    #[error("tunnel has no stream numbers left")]
    StreamIdsExhausted,
    /// The request's headers exceed what the peer accepts.
    #[error("header list of {size} bytes is larger than the {limit} the peer accepts")]
    HeaderListTooLarge {
        /// Size of the list.
        size: usize,
        /// The peer's limit.
        limit: usize,
    },
    /// Only the client opens streams.
    #[error("only the client opens streams")]
    NotClient,
}

/// Why nothing was sent on a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The stream was reset, has ended or never was: an ordinary race, drop the bytes.
    #[error("stream is closed")]
    Closed,
    /// The request has no answer yet, or has one already, or this is the client.
    #[error("stream cannot be answered now")]
    NotAnswerable,
    /// Longer than `sendable` said.
    #[error("{length} bytes do not fit: {sendable} may be sent")]
    BeyondWindow {
        /// Bytes asked for.
        length: usize,
        /// Bytes allowed.
        sendable: usize,
    },
    /// The answer's headers exceed what the peer accepts.
    #[error("header list of {size} bytes is larger than the {limit} the peer accepts")]
    HeaderListTooLarge {
        /// Size of the list.
        size: usize,
        /// The peer's limit.
        limit: usize,
    },
}

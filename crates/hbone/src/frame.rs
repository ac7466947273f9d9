//! Frame headers and the frames we send. Source: RFC 9113 §4.1 and §6.

use crate::ErrorCode;

/// The fixed length of a frame header.
pub(crate) const HEADER_LENGTH: usize = 9;

/// The smallest limit for a frame's payload that a peer may announce, and the one it starts with.
pub(crate) const MIN_MAX_FRAME_SIZE: u32 = 1 << 14;

/// The largest length the header can say.
pub(crate) const MAX_MAX_FRAME_SIZE: u32 = (1 << 24) - 1;

/// Highest stream number, and highest window.
pub(crate) const MAX_31_BITS: u32 = (1 << 31) - 1;

/// The bytes a client begins with. Source: RFC 9113 §3.4.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

impl Kind {
    fn from_wire(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }

    /// The standard's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Data => "DATA",
            Self::Headers => "HEADERS",
            Self::Priority => "PRIORITY",
            Self::RstStream => "RST_STREAM",
            Self::Settings => "SETTINGS",
            Self::PushPromise => "PUSH_PROMISE",
            Self::Ping => "PING",
            Self::GoAway => "GOAWAY",
            Self::WindowUpdate => "WINDOW_UPDATE",
            Self::Continuation => "CONTINUATION",
            Self::Unknown => "unknown",
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const WITH_PRIORITY: u8 = 0x20;

/// A frame header as it came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) length: u32,
    pub(crate) stream: u32,
    flags: u8,
}

impl FrameHeader {
    pub(crate) fn parse(bytes: [u8; HEADER_LENGTH]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Self {
            kind: Kind::from_wire(kind),
            length: u32::from_be_bytes([0, a, b, c]),
            stream: u32::from_be_bytes(stream) & MAX_31_BITS,
            flags,
        }
    }

    pub(crate) fn is_ack(self) -> bool {
        self.flags & ACK != 0
    }

    pub(crate) fn ends_stream(self) -> bool {
        self.flags & END_STREAM != 0
    }

    pub(crate) fn ends_headers(self) -> bool {
        self.flags & END_HEADERS != 0
    }

    pub(crate) fn is_padded(self) -> bool {
        self.flags & PADDED != 0
    }

    pub(crate) fn has_priority(self) -> bool {
        self.flags & WITH_PRIORITY != 0
    }
}

/// The header of a DATA frame. `length` is below 2^24: it never exceeds the peer's frame size.
pub(crate) fn data_header(stream: u32, length: u32, end: bool) -> [u8; HEADER_LENGTH] {
    header(length, DATA, if end { END_STREAM } else { 0 }, stream)
}

/// A header block as HEADERS and, where it exceeds `max_frame_size`, CONTINUATION.
pub(crate) fn push_headers(
    out: &mut Vec<u8>,
    stream: u32,
    block: &[u8],
    end: bool,
    max_frame_size: u32,
) {
    let mut chunks = block.chunks(max_frame_size as usize).peekable();
    let mut kind = HEADERS;
    let mut flags = if end { END_STREAM } else { 0 };
    while let Some(chunk) = chunks.next() {
        if chunks.peek().is_none() {
            flags |= END_HEADERS;
        }
        push(out, kind, flags, stream, &[chunk]);
        kind = CONTINUATION;
        flags = 0;
    }
}

pub(crate) fn push_settings(out: &mut Vec<u8>, values: &[(u16, u32)]) {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()))
        .collect();
    push(out, SETTINGS, 0, 0, &[&payload]);
}

pub(crate) fn push_settings_ack(out: &mut Vec<u8>) {
    push(out, SETTINGS, ACK, 0, &[]);
}

pub(crate) fn push_ping(out: &mut Vec<u8>, payload: [u8; 8], is_ack: bool) {
    push(out, PING, if is_ack { ACK } else { 0 }, 0, &[&payload]);
}

pub(crate) fn push_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    push(out, RST_STREAM, 0, stream, &[&code.0.to_be_bytes()]);
}

pub(crate) fn push_go_away(out: &mut Vec<u8>, last_stream: u32, code: ErrorCode, debug: &str) {
    let parts = [
        &last_stream.to_be_bytes()[..],
        &code.0.to_be_bytes(),
        debug.as_bytes(),
    ];
    push(out, GOAWAY, 0, 0, &parts);
}

pub(crate) fn push_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    push(out, WINDOW_UPDATE, 0, stream, &[&increment.to_be_bytes()]);
}

fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).unwrap_or(MAX_MAX_FRAME_SIZE);
    out.extend_from_slice(&header(length, kind, flags, stream));
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn header(length: u32, kind: u8, flags: u8, stream: u32) -> [u8; HEADER_LENGTH] {
    let [_, high, middle, low] = length.to_be_bytes();
    let [first, second, third, fourth] = stream.to_be_bytes();
    [high, middle, low, kind, flags, first, second, third, fourth]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags, length and the reserved bit of a header are read as RFC 9113 §4.1 says.
    #[test]
    fn header_is_read_back() {
        let header = FrameHeader::parse(data_header(7, 0x01_02_03, true));

        assert_eq!(
            (header.kind, header.length, header.stream),
            (Kind::Data, 0x01_02_03, 7)
        );
        assert!(header.ends_stream() && !header.is_padded() && !header.ends_headers());
        assert_eq!(FrameHeader::parse([0, 0, 0, 9, 4, 0x80, 0, 0, 1]).stream, 1);
    }

    /// A block beyond the frame size becomes HEADERS and CONTINUATION; only the last ends it.
    #[test]
    fn long_header_block_is_split() {
        let mut out = Vec::new();

        push_headers(&mut out, 1, &[7; 25], true, 10);

        let starts = [0, 19, 38].map(|at| (out[at + 2], out[at + 3], out[at + 4]));
        assert_eq!(
            starts,
            [
                (10, HEADERS, END_STREAM),
                (10, CONTINUATION, 0),
                (5, 9, END_HEADERS)
            ]
        );
    }
}

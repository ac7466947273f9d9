//! Frames that no honest peer would send, and some that it would.

/// The bytes a client begins with. Source: RFC 9113 §3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types. Source: RFC 9113 §6.
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags. Source: RFC 9113 §6.
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A byte string made of frames, valid or not, in the order of the calls.
#[derive(Clone, Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// No frames yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What an honest client begins with: the preface and empty SETTINGS.
    #[must_use]
    pub fn client() -> Self {
        Self(PREFACE.to_vec()).settings(&[])
    }

    /// What an honest server begins with: empty SETTINGS.
    #[must_use]
    pub fn server() -> Self {
        Self::new().settings(&[])
    }

    /// Any frame with a truthful length.
    #[must_use]
    pub fn frame(self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.header(length, kind, flags, stream).raw(payload)
    }

    /// A frame header alone, whatever follows.
    #[must_use]
    pub fn header(mut self, length: u32, kind: u8, flags: u8, stream: u32) -> Self {
        self.0.extend_from_slice(&length.to_be_bytes()[1..]);
        self.0.extend_from_slice(&[kind, flags]);
        self.0.extend_from_slice(&stream.to_be_bytes());
        self
    }

    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// SETTINGS with these (id, value) pairs.
    #[must_use]
    pub fn settings(self, values: &[(u16, u32)]) -> Self {
        let payload: Vec<u8> = values
            .iter()
            .flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        self.frame(kind::SETTINGS, 0, 0, &payload)
    }

    /// The answer to SETTINGS.
    #[must_use]
    pub fn settings_ack(self) -> Self {
        self.frame(kind::SETTINGS, flag::ACK, 0, &[])
    }

    /// A whole CONNECT request.
    #[must_use]
    pub fn connect(self, stream: u32, authority: &str) -> Self {
        let block = fields(&[(":method", "CONNECT"), (":authority", authority)]);
        self.headers(stream, &block)
    }

    /// HEADERS in one frame that leaves the stream open.
    #[must_use]
    pub fn headers(self, stream: u32, block: &[u8]) -> Self {
        self.frame(kind::HEADERS, flag::END_HEADERS, stream, block)
    }

    /// DATA without padding.
    #[must_use]
    pub fn data(self, stream: u32, payload: &[u8], end: bool) -> Self {
        self.frame(kind::DATA, u8::from(end), stream, payload)
    }

    /// DATA followed by `padding` zero bytes.
    #[must_use]
    pub fn padded_data(self, stream: u32, payload: &[u8], padding: u8, end: bool) -> Self {
        let padded = [&[padding], payload, &vec![0; padding.into()]].concat();
        self.frame(kind::DATA, flag::PADDED | u8::from(end), stream, &padded)
    }

    /// `RST_STREAM`.
    #[must_use]
    pub fn reset(self, stream: u32, code: u32) -> Self {
        self.frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    /// `WINDOW_UPDATE`.
    #[must_use]
    pub fn window_update(self, stream: u32, increment: u32) -> Self {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
    }

    /// PING.
    #[must_use]
    pub fn ping(self, ack: bool, payload: [u8; 8]) -> Self {
        self.frame(kind::PING, u8::from(ack), 0, &payload)
    }

    /// GOAWAY with a debug text.
    #[must_use]
    pub fn go_away(self, last_stream: u32, code: u32, debug: &[u8]) -> Self {
        let payload = [&last_stream.to_be_bytes()[..], &code.to_be_bytes(), debug].concat();
        self.frame(kind::GOAWAY, 0, 0, &payload)
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A header block of literals that touch no table: valid HPACK whatever came before.
///
/// # Panics
/// When a name or value is longer than 126 bytes.
#[must_use]
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(
                u8::try_from(text.len())
                    .ok()
                    .filter(|&length| length < 127)
                    .expect("short"),
            );
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

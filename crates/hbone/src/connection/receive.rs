//! Bytes in, events out: from the input to whole frames.

use super::{Connection, Role};
use crate::frame::{FrameHeader, HEADER_LENGTH, Kind, MIN_MAX_FRAME_SIZE, PREFACE};
use crate::{ConnectionError, ErrorCode, Event};

/// What the next bytes of the input are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// The client's first bytes, of which so many have arrived.
    Preface { matched: usize },
    /// A frame header, of which so many bytes have arrived.
    Header {
        bytes: [u8; HEADER_LENGTH],
        have: usize,
    },
    /// Payload that is acted on when `needed` bytes are there; the rest of the frame is skipped.
    Whole { header: FrameHeader, needed: u32 },
    /// Payload without meaning.
    Skip { left: u32 },
    /// The byte that says how much padding a DATA frame has.
    PadLength { header: FrameHeader },
    /// Payload of a DATA frame, then its padding.
    Data {
        stream: u32,
        left: u32,
        padding: u32,
        end: bool,
    },
}

/// What one step through the input led to.
pub(super) enum Step<'a> {
    /// Nothing for the caller yet.
    Continue,
    /// The input is used up.
    NeedInput,
    /// Payload.
    Event(Event<'a>),
}

impl Stage {
    /// What a connection reads first.
    pub(super) fn start(role: Role) -> Self {
        match role {
            Role::Client => Self::HEADER,
            Role::Server => Self::Preface { matched: 0 },
        }
    }

    /// The beginning of a frame.
    pub(super) const HEADER: Self = Self::Header {
        bytes: [0; HEADER_LENGTH],
        have: 0,
    };
}

impl Connection {
    /// The next thing the peer did, advancing `input` past what was read.
    ///
    /// `None`: all of `input` is used up (an unfinished frame is remembered). Never skips: call
    /// until `None`. The result does not depend on how the bytes were cut, except that the DATA of
    /// one frame may come in several events.
    ///
    /// # Errors
    /// The tunnel is over. Write `control()`, which ends with the GOAWAY, and close; every further
    /// call returns the same error.
    pub fn next_event<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Event<'a>>, ConnectionError> {
        loop {
            if let Some(error) = self.failure {
                *input = &[];
                return Err(error);
            }
            while let Some(event) = self.queued.pop_front() {
                if self.deliver(&event) {
                    return Ok(Some(event));
                }
            }
            match self.step(input) {
                Ok(Step::Continue) => {}
                Ok(Step::NeedInput) => return Ok(None),
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Err(error) => self.fail(error),
            }
        }
    }

    /// Brings the state in line with an event that leaves the queue; `false`: it is void, since
    /// the caller has reset the stream meanwhile.
    fn deliver(&mut self, event: &Event<'_>) -> bool {
        let Event::End { stream: id } = *event else {
            return true;
        };
        let Some(stream) = self.streams.find_mut(id) else {
            return false;
        };
        stream.has_peer_ended = true;
        self.streams.remove_if_done(id);
        true
    }

    /// Ends the tunnel because of `error`, telling the peer why.
    fn fail(&mut self, error: ConnectionError) {
        self.close_with(error.code(), &error.to_string());
        self.failure = Some(error);
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Result<Step<'a>, ConnectionError> {
        match self.stage {
            Stage::Preface { matched } => self.read_preface(input, matched),
            Stage::Header { bytes, have } => self.read_header(input, bytes, have),
            Stage::Whole { header, needed } => self.read_whole(input, header, needed),
            Stage::Skip { left } => Ok(self.skip(input, left)),
            Stage::PadLength { header } => self.read_pad_length(input, header),
            Stage::Data {
                stream,
                left,
                padding,
                end,
            } => Ok(self.read_data(input, stream, left, padding, end)),
        }
    }

    fn read_preface<'a>(
        &mut self,
        input: &mut &'a [u8],
        matched: usize,
    ) -> Result<Step<'a>, ConnectionError> {
        let expected = PREFACE.get(matched..).unwrap_or_default();
        let arrived = take(input, expected.len());
        if !expected.starts_with(arrived) {
            return Err(ConnectionError::BadPreface);
        }
        if arrived.len() < expected.len() {
            self.stage = Stage::Preface {
                matched: matched + arrived.len(),
            };
            return Ok(Step::NeedInput);
        }
        self.stage = Stage::HEADER;
        Ok(Step::Continue)
    }

    fn read_header<'a>(
        &mut self,
        input: &mut &'a [u8],
        mut bytes: [u8; HEADER_LENGTH],
        have: usize,
    ) -> Result<Step<'a>, ConnectionError> {
        let missing = bytes.get_mut(have..).unwrap_or_default();
        let arrived = take(input, missing.len());
        let is_whole = arrived.len() == missing.len();
        for (to, from) in missing.iter_mut().zip(arrived) {
            *to = *from;
        }
        if !is_whole {
            self.stage = Stage::Header {
                bytes,
                have: have + arrived.len(),
            };
            return Ok(Step::NeedInput);
        }
        self.stage = self.begin_frame(FrameHeader::parse(bytes))?;
        Ok(Step::Continue)
    }

    /// Checks all that a frame header can tell and says how to read the payload.
    fn begin_frame(&mut self, header: FrameHeader) -> Result<Stage, ConnectionError> {
        self.check_order(header)?;
        let length = header.length;
        if length > self.settings.max_frame_size {
            return Err(bad_size(header));
        }
        let needed = match header.kind {
            Kind::Data => return self.begin_data(header),
            Kind::Headers | Kind::Continuation => {
                self.check_block_size(header)?;
                length
            }
            Kind::Settings if header.is_ack() => exact(header, 0)?,
            // A bound on memory; the standard has seven settings of six bytes.
            Kind::Settings if !length.is_multiple_of(6) || length > MIN_MAX_FRAME_SIZE => {
                return Err(bad_size(header));
            }
            Kind::Settings => length,
            Kind::Ping => exact(header, 8)?,
            Kind::GoAway if length < 8 => return Err(bad_size(header)),
            Kind::GoAway => 8,
            Kind::RstStream | Kind::WindowUpdate => exact(header, 4)?,
            Kind::Priority => {
                exact(header, 5)?;
                return Ok(Stage::Skip { left: length });
            }
            Kind::PushPromise => return Err(protocol("PUSH_PROMISE, which is disabled")),
            Kind::Unknown => return Ok(Stage::Skip { left: length }),
        };
        Ok(Stage::Whole { header, needed })
    }

    /// Whether this frame may come now, and on this stream number.
    fn check_order(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        if !self.is_established && (header.kind != Kind::Settings || header.is_ack()) {
            return Err(ConnectionError::MissingSettings);
        }
        match (&self.header_block, header.kind) {
            (Some(block), Kind::Continuation) if block.stream == header.stream => return Ok(()),
            (Some(_), _) => return Err(protocol("frame inside a header block")),
            (None, Kind::Continuation) => return Err(protocol("CONTINUATION of no header block")),
            (None, _) => {}
        }
        let is_on_stream = header.stream != 0;
        match header.kind {
            Kind::Data | Kind::Headers | Kind::Priority | Kind::RstStream if !is_on_stream => {
                Err(protocol("stream frame without a stream"))
            }
            Kind::Settings | Kind::Ping | Kind::GoAway if is_on_stream => {
                Err(protocol("connection frame on a stream"))
            }
            Kind::Data | Kind::RstStream | Kind::WindowUpdate if self.is_idle(header.stream) => {
                Err(protocol("frame on a stream that was never opened"))
            }
            _ => Ok(()),
        }
    }

    /// Whether nobody has opened this stream yet. Every number below one in use counts as used.
    pub(super) fn is_idle(&self, stream: u32) -> bool {
        stream != 0 && (stream > self.highest_stream || stream.is_multiple_of(2))
    }

    fn read_whole<'a>(
        &mut self,
        input: &mut &'a [u8],
        header: FrameHeader,
        needed: u32,
    ) -> Result<Step<'a>, ConnectionError> {
        let missing = (needed as usize).saturating_sub(self.partial.len());
        let arrived = take(input, missing);
        if arrived.len() < missing {
            self.partial.extend_from_slice(arrived);
            return Ok(Step::NeedInput);
        }
        self.stage = match header.length.saturating_sub(needed) {
            0 => Stage::HEADER,
            left => Stage::Skip { left },
        };
        if self.partial.is_empty() {
            self.handle(header, arrived)?;
        } else {
            // Taken, not cleared: an idle tunnel keeps no buffer.
            let mut payload = std::mem::take(&mut self.partial);
            payload.extend_from_slice(arrived);
            self.handle(header, &payload)?;
        }
        Ok(Step::Continue)
    }

    fn handle(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), ConnectionError> {
        match header.kind {
            Kind::Headers => self.handle_headers(header, payload),
            Kind::Continuation => self.handle_continuation(header, payload),
            Kind::Settings if header.is_ack() => {
                self.handle_settings_ack();
                Ok(())
            }
            Kind::Settings => self.handle_settings(payload),
            Kind::Ping => {
                let payload = payload.first_chunk().copied().unwrap_or_default();
                self.handle_ping(header.is_ack(), payload)
            }
            Kind::GoAway => {
                let code = ErrorCode(number(payload.get(4..).unwrap_or_default()));
                self.handle_go_away(number(payload), code)
            }
            Kind::RstStream => self.handle_reset(header.stream, ErrorCode(number(payload))),
            Kind::WindowUpdate => self.handle_window_update(header.stream, number(payload)),
            Kind::Data | Kind::Priority | Kind::PushPromise | Kind::Unknown => Ok(()),
        }
    }

    fn skip<'a>(&mut self, input: &mut &'a [u8], left: u32) -> Step<'a> {
        let left = left - short(take(input, left as usize).len());
        if left > 0 {
            self.stage = Stage::Skip { left };
            return Step::NeedInput;
        }
        self.stage = Stage::HEADER;
        Step::Continue
    }
}

/// Cuts up to `most` bytes off the input.
pub(super) fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

/// A length that is known to be below 2^24, or to be cut off there.
pub(super) fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(super) fn protocol(what: &'static str) -> ConnectionError {
    ConnectionError::Protocol { what }
}

pub(super) fn bad_size(header: FrameHeader) -> ConnectionError {
    ConnectionError::FrameSize {
        frame: header.kind.as_str(),
        length: header.length as usize,
    }
}

fn exact(header: FrameHeader, length: u32) -> Result<u32, ConnectionError> {
    if header.length == length {
        Ok(length)
    } else {
        Err(bad_size(header))
    }
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.first_chunk().copied().unwrap_or_default())
}

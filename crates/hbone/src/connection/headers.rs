//! HEADERS and CONTINUATION: requests, answers, trailers.

use super::receive::{protocol, short};
use super::{Connection, Shutdown};
use crate::fields::{Discard, Fields};
use crate::frame::{FrameHeader, Kind};
use crate::hpack::FieldSink;
use crate::stream::Stream;
use crate::window::{DEFAULT_WINDOW, ReceiveWindow, SendWindow};
use crate::{ConnectionError, ErrorCode, Event, Role, StreamError, StreamId};

/// A header block whose last frame has not come.
#[derive(Debug)]
pub(super) struct HeaderBlock {
    pub(super) stream: u32,
    end: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

/// What a header block on some stream can mean.
enum Meaning {
    Request,
    Answer,
    Trailers,
    /// The stream ended or was reset, perhaps while this was under way.
    Closed,
}

impl Connection {
    /// Refuses a block that is too large before any of it is kept.
    pub(super) fn check_block_size(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        // Padding and priority of HEADERS are not part of the block.
        const EXTRA: usize = 1 + 255 + 5;
        let limit = self.settings.max_header_block();
        let before = self.header_block.as_ref();
        let size = before.map_or(0, |block| block.bytes.len()) + header.length as usize;
        let continuations = before.map_or(0, |block| block.continuations);
        let is_too_large = size > limit + EXTRA;
        if is_too_large || continuations >= self.settings.limits.continuations {
            return Err(ConnectionError::HeaderBlockTooLarge { limit });
        }
        Ok(())
    }

    pub(super) fn handle_headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        let fragment = strip(header, payload)?;
        if header.ends_headers() {
            return self.handle_block(header.stream, header.ends_stream(), fragment);
        }
        self.header_block = Some(HeaderBlock {
            stream: header.stream,
            end: header.ends_stream(),
            bytes: fragment.to_vec(),
            continuations: 0,
        });
        Ok(())
    }

    pub(super) fn handle_continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        let Some(mut block) = self.header_block.take() else {
            return Ok(());
        };
        block.bytes.extend_from_slice(payload);
        if header.ends_headers() {
            return self.handle_block(block.stream, block.end, &block.bytes);
        }
        block.continuations += 1;
        self.header_block = Some(block);
        Ok(())
    }

    /// Acts on a whole block. It is decoded whatever it means: HPACK's table must see it.
    fn handle_block(
        &mut self,
        stream: u32,
        end: bool,
        block: &[u8],
    ) -> Result<(), ConnectionError> {
        let id = StreamId::new(stream);
        match self.meaning(id)? {
            Meaning::Request => {
                let mut fields = Fields::new(self.settings.max_header_list as usize);
                self.decode(block, &mut fields)?;
                self.accept(id, fields, end)
            }
            Meaning::Answer => {
                let mut fields = Fields::new(self.settings.max_header_list as usize);
                self.decode(block, &mut fields)?;
                self.take_answer(id, fields, end)
            }
            Meaning::Trailers => {
                self.decode(block, &mut Discard)?;
                self.take_trailers(id, end)
            }
            Meaning::Closed => {
                self.decode(block, &mut Discard)?;
                self.refuse_closed(id)
            }
        }
    }

    fn meaning(&self, id: StreamId) -> Result<Meaning, ConnectionError> {
        let is_new = self.is_idle(id.value());
        if is_new && (self.role == Role::Client || id.value().is_multiple_of(2)) {
            return Err(protocol(
                "HEADERS on a stream that only the other end may open",
            ));
        }
        Ok(match self.streams.find(id) {
            _ if is_new => Meaning::Request,
            None => Meaning::Closed,
            Some(stream) if self.role == Role::Client && !stream.is_answered => Meaning::Answer,
            Some(_) => Meaning::Trailers,
        })
    }

    fn decode(&mut self, block: &[u8], sink: &mut impl FieldSink) -> Result<(), ConnectionError> {
        let decoded = self.decoder.decode(block, sink);
        decoded.map_err(|error| ConnectionError::Compression { what: error.0 })
    }

    /// A new stream of the peer's.
    fn accept(&mut self, id: StreamId, fields: Fields, end: bool) -> Result<(), ConnectionError> {
        self.highest_stream = id.value();
        if self.shutdown == Shutdown::Final {
            // The peer learns from our GOAWAY that this one was never worked on.
            return Ok(());
        }
        // Streams that ended with payload still on loan count: they hold memory of ours.
        if self.streams.len() >= self.settings.max_concurrent_streams as usize {
            return self.refuse(id);
        }
        let receive = self.new_receive_window();
        self.streams.push(Stream::new(
            id,
            SendWindow::new(self.peer.initial_window),
            receive,
        ));
        self.last_accepted = id.value();
        self.queued.push_back(match fields.into_request() {
            Ok(request) => Event::Request {
                stream: id,
                request,
            },
            Err(problem) => Event::BadRequest {
                stream: id,
                problem,
            },
        });
        if end {
            self.queued.push_back(Event::End { stream: id });
        }
        Ok(())
    }

    /// The window of a new stream. Until the peer confirmed our settings it may not know a smaller
    /// window than HTTP/2's own; a larger one it can only use when it knows it.
    pub(super) fn new_receive_window(&self) -> ReceiveWindow {
        let window = self.settings.stream_window;
        let known = if self.is_confirmed {
            window
        } else {
            window.max(DEFAULT_WINDOW)
        };
        ReceiveWindow::new(window, known)
    }

    fn refuse(&mut self, id: StreamId) -> Result<(), ConnectionError> {
        self.answer_with_reset(id, ErrorCode::REFUSED_STREAM)?;
        self.queued.push_back(Event::Refused { stream: id });
        if self.is_confirmed {
            self.count_early_reset()
        } else {
            Ok(())
        }
    }

    fn take_answer(
        &mut self,
        id: StreamId,
        fields: Fields,
        end: bool,
    ) -> Result<(), ConnectionError> {
        let response = match fields.into_response() {
            Err(violation) => return self.violate(id, violation),
            Ok(response) => response,
        };
        if response.status < 200 {
            // Informational; the answer is still to come.
            let what = "informational answer that ends the stream";
            return if end {
                self.violate(id, StreamError::Protocol { what })
            } else {
                Ok(())
            };
        }
        if let Some(stream) = self.streams.find_mut(id) {
            stream.is_answered = true;
        }
        self.queued.push_back(Event::Response {
            stream: id,
            response,
        });
        if end {
            self.queued.push_back(Event::End { stream: id });
        }
        Ok(())
    }

    /// Trailers mean the end. CONNECT has none (RFC 9113 §8.5), but a gateway between HTTP
    /// versions may send them, and losing the end of a tunnel would be worse.
    fn take_trailers(&mut self, id: StreamId, end: bool) -> Result<(), ConnectionError> {
        if self.has_peer_ended(id) {
            return self.violate(id, StreamError::AfterEnd);
        }
        if !end {
            return self.violate(
                id,
                StreamError::Protocol {
                    what: "HEADERS on an open tunnel",
                },
            );
        }
        self.queued.push_back(Event::End { stream: id });
        Ok(())
    }

    /// HEADERS on a stream that is gone. A client may see them after its own reset; a server too,
    /// but there they may also be a number used twice, whose user must not wait for ever.
    fn refuse_closed(&mut self, id: StreamId) -> Result<(), ConnectionError> {
        match self.role {
            Role::Client => Ok(()),
            Role::Server => self.answer_with_reset(id, ErrorCode::STREAM_CLOSED),
        }
    }
}

/// The header block inside a HEADERS payload, without padding and priority.
fn strip(header: FrameHeader, payload: &[u8]) -> Result<&[u8], ConnectionError> {
    debug_assert_eq!(header.kind, Kind::Headers);
    let mut rest = payload;
    let mut padding = 0;
    let too_short = protocol("padding or priority longer than its frame");
    if header.is_padded() {
        let (&length, after) = rest.split_first().ok_or(too_short)?;
        padding = usize::from(length);
        rest = after;
    }
    if header.has_priority() {
        rest = rest.get(5..).ok_or(too_short)?;
    }
    let length = rest.len().checked_sub(padding).ok_or(too_short)?;
    debug_assert!(short(length) <= header.length);
    Ok(rest.get(..length).unwrap_or_default())
}

//! DATA in: flow control, padding, and payload passed on without a copy.

use super::Connection;
use super::receive::{Stage, Step, bad_size, protocol, short, take};
use crate::frame::{FrameHeader, push_window_update};
use crate::{ConnectionError, Event, Role, StreamError, StreamId};

impl Connection {
    /// Charges both windows for the whole frame, before any of its payload is there.
    pub(super) fn begin_data(&mut self, header: FrameHeader) -> Result<Stage, ConnectionError> {
        self.count_empty_data(header)?;
        if header.is_padded() && header.length == 0 {
            return Err(bad_size(header));
        }
        if !self.receive.charge(header.length) {
            return Err(ConnectionError::WindowExceeded);
        }
        let id = StreamId::new(header.stream);
        match self.charge_stream(id, header.length) {
            Ok(true) if header.is_padded() => Ok(Stage::PadLength { header }),
            Ok(true) => Ok(Stage::Data {
                stream: header.stream,
                left: header.length,
                padding: 0,
                end: header.ends_stream(),
            }),
            Ok(false) => {
                // Reset while this was under way. Nobody will ever consume it.
                self.return_credit(header.length);
                Ok(Stage::Skip {
                    left: header.length,
                })
            }
            Err(violation) => {
                self.return_credit(header.length);
                self.violate(id, violation)?;
                Ok(Stage::Skip {
                    left: header.length,
                })
            }
        }
    }

    /// Whether the stream exists and takes the frame.
    fn charge_stream(&mut self, id: StreamId, length: u32) -> Result<bool, StreamError> {
        let role = self.role;
        let Some(stream) = self.streams.find_mut(id) else {
            return Ok(false);
        };
        if stream.has_peer_ended {
            return Err(StreamError::AfterEnd);
        }
        if role == Role::Client && !stream.is_answered {
            return Err(StreamError::Protocol {
                what: "DATA before the answer",
            });
        }
        if !stream.receive.charge(length) {
            return Err(StreamError::WindowExceeded);
        }
        stream.on_loan = stream.on_loan.saturating_add(length);
        Ok(true)
    }

    fn count_empty_data(&mut self, header: FrameHeader) -> Result<(), ConnectionError> {
        if header.length > 0 || header.ends_stream() {
            self.flood.empty_data = 0;
            return Ok(());
        }
        self.flood.empty_data += 1;
        let limit = self.settings.limits.empty_data;
        if self.flood.empty_data > limit {
            return Err(ConnectionError::EmptyDataFlood { limit });
        }
        Ok(())
    }

    pub(super) fn read_pad_length<'a>(
        &mut self,
        input: &mut &'a [u8],
        header: FrameHeader,
    ) -> Result<Step<'a>, ConnectionError> {
        let Some(&padding) = take(input, 1).first() else {
            return Ok(Step::NeedInput);
        };
        let padding = u32::from(padding);
        let rest = header.length.saturating_sub(1);
        let left = rest
            .checked_sub(padding)
            .ok_or(protocol("padding longer than its frame"))?;
        // Padding never reaches the caller, so its credit goes back here.
        self.credit(StreamId::new(header.stream), 1 + padding);
        let end = header.ends_stream();
        self.stage = Stage::Data {
            stream: header.stream,
            left,
            padding,
            end,
        };
        Ok(Step::Continue)
    }

    pub(super) fn read_data<'a>(
        &mut self,
        input: &mut &'a [u8],
        stream: u32,
        left: u32,
        padding: u32,
        end: bool,
    ) -> Step<'a> {
        let id = StreamId::new(stream);
        let bytes = take(input, left as usize);
        let left = left - short(bytes.len());
        let padding = padding
            - if left == 0 {
                short(take(input, padding as usize).len())
            } else {
                0
            };
        let is_whole = left == 0 && padding == 0;
        self.stage = if is_whole {
            Stage::HEADER
        } else {
            Stage::Data {
                stream,
                left,
                padding,
                end,
            }
        };
        if is_whole && end {
            self.queued.push_back(Event::End { stream: id });
        }
        // A stream that was reset inside its frame got its credit back then.
        if !bytes.is_empty() && self.has_stream(id) {
            return Step::Event(Event::Data { stream: id, bytes });
        }
        if is_whole {
            Step::Continue
        } else {
            Step::NeedInput
        }
    }

    /// Returns credit for bytes that were charged to a stream and have left.
    pub(super) fn credit(&mut self, id: StreamId, bytes: u32) {
        let Some(stream) = self.streams.find_mut(id) else {
            return;
        };
        let bytes = bytes.min(stream.on_loan);
        stream.on_loan -= bytes;
        if !stream.has_peer_ended
            && let Some(increment) = stream.receive.give_back(bytes)
        {
            push_window_update(&mut self.control, id.value(), increment);
        }
        self.streams.remove_if_done(id);
        self.return_credit(bytes);
    }
}

//! What we tell the peer.

use super::control::DRAIN_PING;
use super::receive::short;
use super::{Connection, Role, Shutdown};
use crate::frame;
use crate::header_list::FIELD_OVERHEAD;
use crate::hpack::{TABLE_SIZE_ZERO, encode_field, encode_status};
use crate::stream::Stream;
use crate::window::SendWindow;
use crate::{
    ConnectRequest, ConnectResponse, ErrorCode, HeaderList, OpenError, SendError, StreamId,
};

impl Connection {
    /// Opens a stream (client only). DATA may follow at once, before the answer.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was sent and the tunnel is unharmed.
    pub fn open(&mut self, request: &ConnectRequest) -> Result<StreamId, OpenError> {
        self.check_open()?;
        let authority = request.authority.to_string();
        let pseudo = [(":method", "CONNECT"), (":authority", authority.as_str())];
        self.check_header_list(&pseudo, &request.headers)
            .map_err(|(size, limit)| OpenError::HeaderListTooLarge { size, limit })?;

        let id = StreamId::new(self.next_stream());
        let mut block = self.new_block();
        for (name, value) in pseudo {
            encode_field(name.as_bytes(), value.as_bytes(), &mut block);
        }
        self.push_headers(id, block, &request.headers, false);
        let receive = self.new_receive_window();
        self.streams.push(Stream::new(
            id,
            SendWindow::new(self.peer.initial_window),
            receive,
        ));
        self.highest_stream = id.value();
        Ok(id)
    }

    /// Whether a stream may be opened now.
    pub(super) fn check_open(&self) -> Result<(), OpenError> {
        let limit = self.peer.max_concurrent_streams;
        if self.role == Role::Server {
            return Err(OpenError::NotClient);
        }
        if self.is_going_away() {
            return Err(OpenError::GoingAway);
        }
        if self.next_stream() > frame::MAX_31_BITS {
            return Err(OpenError::StreamIdsExhausted);
        }
        if self.open_streams() >= limit as usize {
            return Err(OpenError::StreamLimit { limit });
        }
        Ok(())
    }

    fn next_stream(&self) -> u32 {
        if self.highest_stream == 0 {
            1
        } else {
            self.highest_stream.saturating_add(2)
        }
    }

    /// Answers a request (server only) with a status of 200 or more; `end` also ends our side.
    ///
    /// # Errors
    /// `Closed` when the stream is gone, `NotAnswerable` when it was answered before.
    pub fn respond(
        &mut self,
        stream: StreamId,
        response: &ConnectResponse,
        end: bool,
    ) -> Result<(), SendError> {
        let found = self.streams.find(stream).ok_or(SendError::Closed)?;
        if self.role == Role::Client || found.is_answered {
            return Err(SendError::NotAnswerable);
        }
        self.check_header_list(&[(":status", "200")], &response.headers)
            .map_err(|(size, limit)| SendError::HeaderListTooLarge { size, limit })?;

        let mut block = self.new_block();
        encode_status(response.status, &mut block);
        self.push_headers(stream, block, &response.headers, end);
        self.flood.early_resets = self.flood.early_resets.saturating_sub(1);
        if let Some(found) = self.streams.find_mut(stream) {
            found.is_answered = true;
            found.has_ended = end;
        }
        self.streams.remove_if_done(stream);
        Ok(())
    }

    /// Refuses a request (server only): answers with `status`, ends our side, and tells a peer
    /// that is still sending to stop. The stream is gone afterwards.
    ///
    /// # Errors
    /// As `respond`.
    pub fn reject(&mut self, stream: StreamId, status: u16) -> Result<(), SendError> {
        self.respond(stream, &ConnectResponse::new(status), true)?;
        // A complete answer followed by NO_ERROR is not lost. Source: RFC 9113 §8.1.
        self.reset(stream, ErrorCode::NO_ERROR);
        Ok(())
    }

    /// The longest DATA frame that may be sent now: both windows and the peer's frame size.
    ///
    /// Zero when the stream is gone, ended by us, not answered (server), or out of credit.
    #[must_use]
    pub fn sendable(&self, stream: StreamId) -> usize {
        match self.streams.find(stream) {
            Some(found) if self.may_send(found) => {
                let window = found.send.available().min(self.send.available());
                window.min(self.peer.max_frame_size) as usize
            }
            _ => 0,
        }
    }

    /// Whether our side is open, whatever the credit.
    fn may_send(&self, stream: &Stream) -> bool {
        !stream.has_ended && (self.role == Role::Client || stream.is_answered)
    }

    /// The header of a DATA frame; exactly `length` payload bytes must follow it. `end` ends our
    /// side. Takes `length` from both windows.
    ///
    /// # Errors
    /// Nothing was taken: the stream is gone, or `length` exceeds `sendable`.
    pub fn data_header(
        &mut self,
        stream: StreamId,
        length: usize,
        end: bool,
    ) -> Result<[u8; 9], SendError> {
        let sendable = self.sendable(stream);
        let found = self.streams.find(stream).ok_or(SendError::Closed)?;
        if !self.may_send(found) {
            return Err(if found.has_ended {
                SendError::Closed
            } else {
                SendError::NotAnswerable
            });
        }
        if length > sendable {
            return Err(SendError::BeyondWindow { length, sendable });
        }
        let taken = short(length);
        self.send.take(taken);
        if let Some(found) = self.streams.find_mut(stream) {
            found.send.take(taken);
            found.has_ended = end;
        }
        self.streams.remove_if_done(stream);
        Ok(frame::data_header(stream.value(), taken, end))
    }

    /// Ends our side with an empty DATA frame in `control()`; write earlier payload first.
    /// No effect on a stream that is gone, ended, or not answered yet (server).
    pub fn end(&mut self, stream: StreamId) {
        if let Ok(header) = self.data_header(stream, 0, true) {
            self.control.extend_from_slice(&header);
        }
    }

    /// Abandons a stream, both ways; no event follows. Undelivered payload counts as consumed.
    /// No effect on a stream that is gone; of one that ended both ways, only the credit is settled.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        if let Some(dropped) = self.drop_stream(stream)
            && dropped.is_open()
        {
            frame::push_reset(&mut self.control, stream.value(), code);
        }
    }

    /// Returns credit for payload of `Data` events that left this process.
    ///
    /// `WINDOW_UPDATE`s are sent per quarter of a window. No effect on a stream that is gone: its
    /// credit was settled when it went.
    pub fn consumed(&mut self, stream: StreamId, bytes: usize) {
        self.credit(stream, short(bytes));
    }

    /// Asks the peer for a sign of life: it comes as [`Event::Pong`](crate::Event::Pong).
    pub fn ping(&mut self, payload: [u8; 8]) {
        frame::push_ping(&mut self.control, payload, false);
    }

    /// Begins an orderly shutdown: streams that are open go on, new ones are soon refused.
    ///
    /// Two steps, so that a request already under way is not lost: a GOAWAY that excludes nothing
    /// yet and a PING now; the final GOAWAY when the PING is answered. Done when `is_finished`.
    /// Source: RFC 9113 §6.8.
    pub fn drain(&mut self) {
        if self.shutdown != Shutdown::No || self.failure.is_some() {
            return;
        }
        if self.role == Role::Client {
            // Servers open no streams, so there is nothing to wait for.
            self.finish_drain();
            return;
        }
        self.shutdown = Shutdown::Announced;
        frame::push_go_away(
            &mut self.control,
            frame::MAX_31_BITS,
            ErrorCode::NO_ERROR,
            "",
        );
        frame::push_ping(&mut self.control, DRAIN_PING, false);
    }

    /// Fixes the last stream this end works on.
    pub(super) fn finish_drain(&mut self) {
        self.shutdown = Shutdown::Final;
        frame::push_go_away(
            &mut self.control,
            self.last_accepted,
            ErrorCode::NO_ERROR,
            "",
        );
    }

    /// Ends the tunnel: queues a GOAWAY with `code`, forgets every stream and event. Write
    /// `control()` and close the transport. No effect after a failure, which has said so already.
    pub fn close(&mut self, code: ErrorCode) {
        if self.failure.is_none() {
            self.close_with(code, "");
        }
    }

    pub(super) fn close_with(&mut self, code: ErrorCode, debug: &str) {
        self.shutdown = Shutdown::Final;
        self.streams.clear();
        self.queued.clear();
        frame::push_go_away(&mut self.control, self.last_accepted, code, debug);
    }

    /// Forgives what counts towards [`Limits::early_resets`](crate::Limits). Call about once a
    /// second (or with each keep-alive): the codec has no clock.
    pub fn refill_limits(&mut self) {
        self.flood.early_resets = 0;
    }

    /// A header block; the first after a changed table size says that we use none.
    fn new_block(&mut self) -> Vec<u8> {
        let mut block = Vec::with_capacity(512);
        if std::mem::take(&mut self.peer.has_table_size) {
            block.push(TABLE_SIZE_ZERO);
        }
        block
    }

    fn push_headers(&mut self, id: StreamId, mut block: Vec<u8>, headers: &HeaderList, end: bool) {
        for (name, value) in headers.iter() {
            encode_field(name, value, &mut block);
        }
        let size = self.peer.max_frame_size;
        frame::push_headers(&mut self.control, id.value(), &block, end, size);
    }

    /// Size and limit, when the peer would refuse the list.
    fn check_header_list(
        &self,
        pseudo: &[(&str, &str)],
        headers: &HeaderList,
    ) -> Result<(), (usize, usize)> {
        let pseudo = pseudo
            .iter()
            .map(|(name, value)| name.len() + value.len() + FIELD_OVERHEAD);
        let size = pseudo.sum::<usize>() + headers.size();
        match self.peer.max_header_list {
            Some(limit) if size > limit as usize => Err((size, limit as usize)),
            _ => Ok(()),
        }
    }
}

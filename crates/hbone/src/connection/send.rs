//! What we tell the peer.

use crate::{
    ConnectRequest, ConnectResponse, Connection, ErrorCode, OpenError, SendError, StreamId,
};

impl Connection {
    /// Opens a stream (client only). DATA may follow at once, before the answer.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was sent and the tunnel is unharmed.
    pub fn open(&mut self, request: &ConnectRequest) -> Result<StreamId, OpenError> {
        todo!()
    }

    /// Answers a request (server only); `end` also ends our side.
    ///
    /// # Errors
    /// `Closed` when the stream is gone, `NotAnswerable` when it was answered before.
    pub fn respond(
        &mut self,
        stream: StreamId,
        response: &ConnectResponse,
        end: bool,
    ) -> Result<(), SendError> {
        todo!()
    }

    /// Refuses a request (server only): answers with `status`, ends our side, and tells a peer
    /// that is still sending to stop. The stream is gone afterwards.
    ///
    /// # Errors
    /// As `respond`.
    pub fn reject(&mut self, stream: StreamId, status: u16) -> Result<(), SendError> {
        todo!()
    }

    /// The longest DATA frame that may be sent now: both windows and the peer's frame size.
    ///
    /// Zero when the stream is gone, ended by us, not answered (server), or out of credit.
    #[must_use]
    pub fn sendable(&self, stream: StreamId) -> usize {
        todo!()
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
        todo!()
    }

    /// Ends our side with an empty DATA frame in `control()`; write earlier payload first.
    /// No effect on a stream that is gone or ended.
    pub fn end(&mut self, stream: StreamId) {
        todo!()
    }

    /// Abandons a stream, both ways; no event follows. Undelivered payload counts as consumed.
    /// No effect on a stream that is gone; of one that ended both ways, only the credit is settled.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        todo!()
    }

    /// Returns credit for payload of `Data` events that left this process.
    ///
    /// WINDOW_UPDATEs are sent per quarter of a window. No effect on a stream that is gone: its
    /// credit was settled when it went.
    pub fn consumed(&mut self, stream: StreamId, bytes: usize) {
        todo!()
    }

    /// Asks the peer for a sign of life: it comes as [`Event::Pong`](crate::Event::Pong).
    pub fn ping(&mut self, payload: [u8; 8]) {
        todo!()
    }

    /// Begins an orderly shutdown: streams that are open go on, new ones are soon refused.
    ///
    /// Two steps, so that a request already under way is not lost: a GOAWAY that excludes nothing
    /// yet and a PING now; the final GOAWAY when the PING is answered. Done when `is_finished`.
    /// Source: RFC 9113 §6.8.
    pub fn drain(&mut self) {
        todo!()
    }

    /// Ends the tunnel: queues a GOAWAY with `code`; write `control()` and close the transport.
    pub fn close(&mut self, code: ErrorCode) {
        todo!()
    }

    /// Forgives what counts towards [`Limits::early_resets`](crate::Limits). Call about once a
    /// second (or with each keep-alive): the codec has no clock.
    pub fn refill_limits(&mut self) {
        todo!()
    }
}

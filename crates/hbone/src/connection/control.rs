//! Frames without payload for the caller: SETTINGS, PING, GOAWAY, `RST_STREAM`, `WINDOW_UPDATE`.

use super::receive::protocol;
use super::{Connection, GoingAway, Shutdown};
use crate::frame;
use crate::window::DEFAULT_WINDOW;
use crate::{ConnectionError, ErrorCode, Event, ResetCause, Role, StreamError, StreamId};

/// What the PING of a drain carries.
pub(super) const DRAIN_PING: [u8; 8] = *b"drain\0\0\0";

impl Connection {
    pub(super) fn handle_settings(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        self.count_answer()?;
        let before = self.peer;
        if !self.is_established {
            // From its first SETTINGS on, a peer that says nothing allows any number.
            self.peer.max_concurrent_streams = u32::MAX;
            self.is_established = true;
        }
        self.peer.update(payload)?;
        frame::push_settings_ack(&mut self.control);
        let limit = self.peer.max_concurrent_streams;
        if self.role == Role::Client && limit != before.max_concurrent_streams {
            self.queued.push_back(Event::StreamLimit { limit });
        }
        let change = i64::from(self.peer.initial_window) - i64::from(before.initial_window);
        self.shift_send_windows(change)
    }

    /// A changed initial window also changes the open streams. Source: RFC 9113 §6.9.2.
    fn shift_send_windows(&mut self, change: i64) -> Result<(), ConnectionError> {
        if change == 0 {
            return Ok(());
        }
        let mut is_writable = false;
        for stream in self.streams.iter_mut() {
            let was_blocked = stream.send.available() == 0;
            stream
                .send
                .grow(change)
                .map_err(|_| ConnectionError::WindowOverflow)?;
            is_writable |= was_blocked && stream.send.available() > 0;
        }
        if is_writable && self.send.available() > 0 {
            self.queued.push_back(Event::Writable { stream: None });
        }
        Ok(())
    }

    /// Our settings are in force: a window below the default is only now the peer's too.
    pub(super) fn handle_settings_ack(&mut self) {
        if self.is_confirmed {
            return;
        }
        self.is_confirmed = true;
        let excess = DEFAULT_WINDOW.saturating_sub(self.settings.stream_window);
        for stream in self.streams.iter_mut() {
            stream.receive.shrink(excess);
        }
    }

    pub(super) fn handle_ping(
        &mut self,
        is_ack: bool,
        payload: [u8; 8],
    ) -> Result<(), ConnectionError> {
        if !is_ack {
            self.count_answer()?;
            frame::push_ping(&mut self.control, payload, true);
        } else if payload == DRAIN_PING && self.shutdown == Shutdown::Announced {
            self.finish_drain();
        } else {
            self.queued.push_back(Event::Pong { payload });
        }
        Ok(())
    }

    pub(super) fn handle_go_away(
        &mut self,
        last_stream: u32,
        code: ErrorCode,
    ) -> Result<(), ConnectionError> {
        let last_stream = last_stream & frame::MAX_31_BITS;
        let going_away = GoingAway { last_stream, code };
        if self
            .peer_going_away
            .is_some_and(|earlier| earlier.last_stream < last_stream)
        {
            return Err(protocol("GOAWAY that takes back an earlier one"));
        }
        if self.peer_going_away.replace(going_away) == Some(going_away) {
            return Ok(());
        }
        self.queued.push_back(Event::GoAway { last_stream, code });
        if self.role == Role::Client {
            for stream in self.streams.split_above(last_stream) {
                self.return_credit(stream.on_loan);
                self.queued.push_back(Event::Reset {
                    stream: stream.id,
                    code: ErrorCode::REFUSED_STREAM,
                    cause: ResetCause::GoAway,
                });
            }
        }
        Ok(())
    }

    pub(super) fn handle_reset(
        &mut self,
        stream: u32,
        code: ErrorCode,
    ) -> Result<(), ConnectionError> {
        self.lose_stream(StreamId::new(stream), code, ResetCause::Peer)
    }

    pub(super) fn handle_window_update(
        &mut self,
        stream: u32,
        increment: u32,
    ) -> Result<(), ConnectionError> {
        let increment = increment & frame::MAX_31_BITS;
        if stream != 0 {
            return self.grow_stream_window(StreamId::new(stream), increment);
        }
        if increment == 0 {
            return Err(protocol("WINDOW_UPDATE of zero"));
        }
        let was_blocked = self.send.available() == 0;
        self.send
            .grow(i64::from(increment))
            .map_err(|_| ConnectionError::WindowOverflow)?;
        if was_blocked && !self.streams.is_empty() {
            self.queued.push_back(Event::Writable { stream: None });
        }
        Ok(())
    }

    fn grow_stream_window(&mut self, id: StreamId, increment: u32) -> Result<(), ConnectionError> {
        let was_blocked = self.sendable(id) == 0;
        let Some(stream) = self.streams.find_mut(id) else {
            return Ok(());
        };
        if increment == 0 {
            return self.violate(
                id,
                StreamError::Protocol {
                    what: "WINDOW_UPDATE of zero",
                },
            );
        }
        if stream.send.grow(i64::from(increment)).is_err() {
            return self.violate(id, StreamError::WindowOverflow);
        }
        if was_blocked && self.sendable(id) > 0 {
            self.queued.push_back(Event::Writable { stream: Some(id) });
        }
        Ok(())
    }

    /// Resets a stream on which the peer broke the protocol.
    pub(super) fn violate(
        &mut self,
        id: StreamId,
        violation: StreamError,
    ) -> Result<(), ConnectionError> {
        self.answer_with_reset(id, violation.code())?;
        self.lose_stream(id, violation.code(), ResetCause::Violation(violation))
    }

    pub(super) fn answer_with_reset(
        &mut self,
        id: StreamId,
        code: ErrorCode,
    ) -> Result<(), ConnectionError> {
        self.count_answer()?;
        frame::push_reset(&mut self.control, id.value(), code);
        Ok(())
    }

    /// Takes out a stream by the peer's doing and says so.
    fn lose_stream(
        &mut self,
        id: StreamId,
        code: ErrorCode,
        cause: ResetCause,
    ) -> Result<(), ConnectionError> {
        let Some(stream) = self.drop_stream(id) else {
            return Ok(());
        };
        self.queued.push_back(Event::Reset {
            stream: id,
            code,
            cause,
        });
        if self.role == Role::Server && !stream.is_answered {
            self.count_early_reset()?;
        }
        Ok(())
    }

    /// Counts a stream that made work and was thrown away before it was answered: by the peer, by
    /// an error it provoked (so that it cannot have *us* reset), or above the limit it knows.
    pub(super) fn count_early_reset(&mut self) -> Result<(), ConnectionError> {
        self.flood.early_resets += 1;
        let limit = self.settings.limits.early_resets;
        if self.flood.early_resets > limit {
            return Err(ConnectionError::RapidReset { limit });
        }
        Ok(())
    }

    /// Makes room for one answer, or finds that the peer asks faster than we can write.
    fn count_answer(&mut self) -> Result<(), ConnectionError> {
        const LONGEST_ANSWER: usize = frame::HEADER_LENGTH + 8;
        if self.control.is_empty() {
            self.flood.answers = 0;
        }
        self.flood.answers += LONGEST_ANSWER;
        let limit = self.settings.limits.pending_answers;
        if self.flood.answers > limit {
            return Err(ConnectionError::ControlFlood { limit });
        }
        Ok(())
    }
}

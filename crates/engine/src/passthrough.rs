//! Bytes between two sockets.

use std::io;

use ambimesh_types::CloseReason;

use crate::flow::{Far, Flow, Lane};
use crate::slots::Key;
use crate::socket::{Read, Socket};
use crate::worker::{Work, Worker};

/// Reads of one direction in a row, before others get their turn.
const READS_IN_A_ROW: usize = 8;

/// Read at once; also the most that a blocked direction holds.
const READ_BYTES: usize = 64 << 10;

/// How one direction went.
enum Moved {
    /// Nothing more to read now, or nowhere to put it.
    Paused,
    /// More can be moved at once.
    More,
    /// The end that was read from is gone.
    ReaderFailed(io::Error),
    /// The end that was written to is gone.
    WriterFailed(io::Error),
}

impl Worker {
    /// Moves what can be moved between the two sockets of a flow.
    pub(crate) fn drive_pair(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let (Some(near), Far::Socket(far)) = (&mut flow.near, &mut flow.far) else {
            return;
        };
        let buffer = &mut self.buffers.read[..READ_BYTES];
        let up = relay(near, far, &mut flow.up, buffer);
        let down = relay(far, near, &mut flow.down, buffer);
        let is_paused = matches!((&up, &down), (Moved::Paused, Moved::Paused));
        let (near_failed, far_failed) = (near.has_failed(), far.has_failed());
        match (up, down) {
            (Moved::ReaderFailed(error), _) | (_, Moved::WriterFailed(error)) => {
                self.near_failed(key, &error.to_string());
            }
            (Moved::WriterFailed(error), _) | (_, Moved::ReaderFailed(error)) => {
                self.finish(key, CloseReason::DestinationReset, Some(&error.to_string()));
            }
            _ if flow.is_finished() => self.finish(key, CloseReason::Finished, None),
            _ if is_paused && near_failed => self.near_failed(key, "connection reset"),
            _ if is_paused && far_failed => {
                self.finish(key, CloseReason::DestinationReset, Some("connection reset"));
            }
            _ if is_paused => self.watch_half_closed(key),
            _ => self.agenda.push_back(Work::Flow(key)),
        }
    }
}

fn relay(from: &mut Socket, to: &mut Socket, lane: &mut Lane, buffer: &mut [u8]) -> Moved {
    for _ in 0..READS_IN_A_ROW {
        while lane.is_holding() {
            if !to.is_writable() {
                return Moved::Paused;
            }
            match to.write(lane.held()) {
                Ok(length) => lane.pass(length),
                Err(error) => return Moved::WriterFailed(error),
            }
        }
        if lane.has_ended {
            if !lane.is_closed {
                to.shutdown_write();
                lane.is_closed = true;
            }
            return Moved::Paused;
        }
        match from.read(buffer) {
            Read::Bytes(length) => {
                lane.bytes += length as u64;
                match to.write(&buffer[..length]) {
                    Ok(written) if written == length => {}
                    Ok(written) => lane.hold(&buffer[written..length]),
                    Err(error) => return Moved::WriterFailed(error),
                }
            }
            Read::End => lane.has_ended = true,
            Read::Blocked => return Moved::Paused,
            Read::Failed(error) => return Moved::ReaderFailed(error),
        }
    }
    Moved::More
}

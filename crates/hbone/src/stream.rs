//! Streams of one tunnel.

use std::fmt;

use crate::window::{ReceiveWindow, SendWindow};

/// A stream's number on the wire. Odd, since only clients open streams; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(u32);

impl StreamId {
    pub(crate) const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What we know of one stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) send: SendWindow,
    pub(crate) receive: ReceiveWindow,
    /// Bytes the peer was charged for and has not got back: delivered but not consumed, or
    /// announced by the frame that is arriving.
    pub(crate) on_loan: u32,
    pub(crate) is_answered: bool,
    pub(crate) has_peer_ended: bool,
    pub(crate) has_ended: bool,
}

impl Stream {
    /// A stream whose request has just been sent or received.
    pub(crate) fn new(id: StreamId, send: SendWindow, receive: ReceiveWindow) -> Self {
        Self {
            id,
            send,
            receive,
            on_loan: 0,
            is_answered: false,
            has_peer_ended: false,
            has_ended: false,
        }
    }

    /// Whether it counts towards a limit of concurrent streams.
    pub(crate) fn is_open(&self) -> bool {
        !(self.has_peer_ended && self.has_ended)
    }

    /// Whether nothing is left to do: ended both ways, and all payload consumed.
    fn is_done(&self) -> bool {
        !self.is_open() && self.on_loan == 0
    }
}

/// The streams of a connection, ordered by number.
///
/// New streams have the highest number, so opening appends; a search is a few steps in one
/// piece of memory. No hashing: a peer chooses the numbers.
#[derive(Debug, Default)]
pub(crate) struct Streams(Vec<Stream>);

impl Streams {
    pub(crate) fn push(&mut self, stream: Stream) {
        debug_assert!(self.0.last().is_none_or(|last| last.id < stream.id));
        self.0.push(stream);
    }

    pub(crate) fn find(&self, id: StreamId) -> Option<&Stream> {
        self.0.get(self.position(id)?)
    }

    pub(crate) fn find_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let position = self.position(id)?;
        self.0.get_mut(position)
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        Some(self.0.remove(self.position(id)?))
    }

    /// Forgets the stream if nothing is left to do on it.
    pub(crate) fn remove_if_done(&mut self, id: StreamId) {
        if self.find(id).is_some_and(Stream::is_done) {
            self.remove(id);
        }
    }

    /// Takes out every stream above `last`, in order.
    pub(crate) fn split_above(&mut self, last: u32) -> Vec<Stream> {
        let start = self.0.partition_point(|stream| stream.id.value() <= last);
        self.0.split_off(start)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.iter_mut()
    }

    pub(crate) fn count_open(&self) -> usize {
        self.0.iter().filter(|stream| stream.is_open()).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn position(&self, id: StreamId) -> Option<usize> {
        self.0.binary_search_by_key(&id, |stream| stream.id).ok()
    }
}

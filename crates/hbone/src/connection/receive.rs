//! Bytes in, events out.

use crate::{Connection, ConnectionError, Event};

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
        let _ = input;
        todo!()
    }
}

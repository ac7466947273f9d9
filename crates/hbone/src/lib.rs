//! A CONNECT-only HTTP/2 codec without I/O: the protocol state of one HBONE tunnel.
//!
//! A [`Connection`] is given the plaintext that arrived, in any chunking, and returns [`Event`]s;
//! it is told what to do (`open`, `respond`, `reset`, …) and leaves the frames to write in
//! [`Connection::control`]. Payload is never copied: a [`Event::Data`] borrows from the input, and
//! [`Connection::data_header`] gives the nine bytes that go in front of payload to be sent.
//!
//! How to drive one:
//!
//! 1. After every call, write what is in `control()` and clear it. Bytes of `control()` may go
//!    between two DATA frames, never inside one, and a stream's HEADERS before its DATA.
//! 2. When plaintext arrives, call [`Connection::next_event`] until it returns `None`; the input
//!    is then used up. Events may be acted on at once, also with calls on the connection.
//! 3. Payload of a `Data` event is on loan: call [`Connection::consumed`] when it left this
//!    process, or [`Connection::reset`] when it never will. The peer gets its credit back then.
//! 4. To send, ask [`Connection::sendable`], write `data_header` and then exactly that many bytes.
//!    Zero means wait for a [`Event::Writable`].
//! 5. An error from `next_event` ends the tunnel: write `control()` (it holds the GOAWAY), close.
//!
//! Total: no input makes it panic, and everything that a peer can make grow is limited by
//! [`Limits`] with an error of its own.
//!
//! Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK), the node proxy specification §6.

mod connection;
mod error;
mod event;
mod fields;
mod frame;
mod header_list;
mod hpack;
mod request;
mod settings;
mod stream;
mod window;

pub use connection::{Connection, GoingAway, Role};
pub use error::{ConnectionError, ErrorCode, OpenError, SendError, StreamError};
pub use event::{Event, ResetCause};
pub use header_list::HeaderList;
pub use request::{BadRequest, ConnectRequest, ConnectResponse};
pub use settings::{Limits, Settings};
pub use stream::StreamId;

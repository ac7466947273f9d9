//! Two connections, or one and a script, joined by bytes in memory.

#![allow(dead_code, reason = "each test binary uses a part")]

use ambimesh_hbone::{
    ConnectRequest, ConnectResponse, Connection, ConnectionError, Event, Role, Settings, StreamId,
};

/// One end, and the bytes it has written that the other has not read.
pub struct End {
    pub connection: Connection,
    wire: Vec<u8>,
}

impl End {
    pub fn client(settings: Settings) -> Self {
        Self {
            connection: Connection::new(Role::Client, settings),
            wire: Vec::new(),
        }
    }

    pub fn server(settings: Settings) -> Self {
        Self {
            connection: Connection::new(Role::Server, settings),
            wire: Vec::new(),
        }
    }

    /// Opens a stream to a fixed target.
    pub fn open(&mut self) -> StreamId {
        self.connection
            .open(&request())
            .expect("the tunnel takes a stream")
    }

    /// Answers with 200.
    pub fn accept(&mut self, stream: StreamId) {
        self.connection
            .respond(stream, &ConnectResponse::new(200), false)
            .expect("a new stream");
    }

    /// Writes one DATA frame of at most `most` bytes of the stream's pattern; returns its length.
    pub fn write(&mut self, stream: StreamId, offset: usize, most: usize) -> usize {
        let length = self.connection.sendable(stream).min(most);
        if length > 0 {
            self.flush();
            let header = self
                .connection
                .data_header(stream, length, false)
                .expect("sendable");
            self.wire.extend_from_slice(&header);
            self.wire
                .extend((offset..offset + length).map(|at| pattern(stream, at)));
        }
        length
    }

    /// Writes frames until the window is used up or `most` bytes are out.
    pub fn write_all(&mut self, stream: StreamId, offset: usize, most: usize) -> usize {
        let mut written = 0;
        loop {
            match self.write(stream, offset + written, most - written) {
                0 => return written,
                more => written += more,
            }
        }
    }

    /// Bytes written and not read.
    pub fn pending(&mut self) -> usize {
        self.flush();
        self.wire.len()
    }

    /// Takes what was written.
    pub fn take(&mut self) -> Vec<u8> {
        self.flush();
        std::mem::take(&mut self.wire)
    }

    fn flush(&mut self) {
        self.wire.append(self.connection.control());
    }
}

/// Carries at most `most` bytes and acts on the events. Returns how many were carried.
pub fn carry(
    from: &mut End,
    to: &mut End,
    most: usize,
    mut act: impl FnMut(&mut End, Event<'_>),
) -> usize {
    from.flush();
    let bytes: Vec<u8> = from.wire.drain(..most.min(from.wire.len())).collect();
    let mut input = &bytes[..];
    while let Some(event) = to
        .connection
        .next_event(&mut input)
        .expect("an honest peer")
    {
        act(to, event);
    }
    assert!(input.is_empty());
    bytes.len()
}

/// Feeds `bytes` in pieces of `size` and describes every event; the DATA of a stream that
/// follows itself is joined, since only its cutting may differ.
pub fn describe(connection: &mut Connection, bytes: &[u8], size: usize) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut data: Option<(StreamId, Vec<u8>)> = None;
    let mut flush = |data: &mut Option<(StreamId, Vec<u8>)>, line: Option<String>| {
        seen.extend(
            data.take()
                .map(|(stream, bytes)| format!("{stream}: {bytes:?}")),
        );
        seen.extend(line);
    };
    for mut piece in bytes.chunks(size) {
        loop {
            match connection.next_event(&mut piece) {
                Ok(Some(Event::Data { stream, bytes })) => match &mut data {
                    Some((last, joined)) if *last == stream => joined.extend_from_slice(bytes),
                    _ => {
                        flush(&mut data, None);
                        data = Some((stream, bytes.to_vec()));
                    }
                },
                Ok(Some(event)) => flush(&mut data, Some(format!("{event:?}"))),
                Ok(None) => break,
                Err(error) => {
                    flush(&mut data, Some(format!("{error:?}")));
                    return seen;
                }
            }
        }
    }
    flush(&mut data, None);
    seen
}

/// Feeds `bytes` to a fresh server and returns the error that ends it, if any.
pub fn serve(settings: Settings, bytes: &[u8]) -> Result<Vec<String>, ConnectionError> {
    let mut connection = Connection::new(Role::Server, settings);
    let mut seen = Vec::new();
    let mut input = bytes;
    while let Some(event) = connection.next_event(&mut input)? {
        seen.push(format!("{event:?}"));
    }
    Ok(seen)
}

pub fn request() -> ConnectRequest {
    let mut request = ConnectRequest::new("10.0.0.1:80".parse().expect("an address"));
    request.headers.push(
        "baggage",
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=demo",
    );
    request
}

/// The byte at some place of a stream: wrong order, loss and mix-ups show.
pub fn pattern(stream: StreamId, at: usize) -> u8 {
    let mixed = (at as u64 ^ (u64::from(stream.value()) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

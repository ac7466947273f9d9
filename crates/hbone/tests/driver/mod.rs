//! A connection on a byte stream, with a small application on top: what an engine does, plainly.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;

use ambimesh_hbone::{ConnectRequest, ConnectResponse, Connection, ErrorCode, Event, StreamId};
use ambimesh_testkit::reference::{LARGE_HEADER, host};
use ambimesh_types::Authority;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What sits on top of a connection.
pub trait Application {
    /// Something happened.
    fn take(&mut self, connection: &mut Connection, event: Event<'_>);
    /// A chance to send; everything goes through `out`.
    fn pump(&mut self, connection: &mut Connection, out: &mut Vec<u8>);
    /// Whether the connection may be closed.
    fn is_done(&self) -> bool;
}

/// Runs until the application is done or the peer closes.
pub async fn drive<T, A>(connection: &mut Connection, io: T, application: &mut A)
where
    T: AsyncRead + AsyncWrite,
    A: Application,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut out = Vec::new();
    let mut buffer = vec![0; 100_000];
    loop {
        if out.len() < 1 << 20 {
            application.pump(connection, &mut out);
        }
        out.append(connection.control());
        if application.is_done() && out.is_empty() {
            return;
        }
        tokio::select! {
            read = reader.read(&mut buffer) => {
                let Ok(length @ 1..) = read else { return };
                let mut input = &buffer[..length];
                while let Some(event) = connection.next_event(&mut input).expect("h2 is honest") {
                    application.take(connection, event);
                }
            }
            written = writer.write(&out), if !out.is_empty() => match written {
                Ok(length) => drop(out.drain(..length)),
                Err(_) => return,
            },
        }
    }
}

/// Bytes of a stream that wait for credit.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    has_end: bool,
    /// Whether the bytes came from the peer, whose credit they hold.
    is_loan: bool,
}

impl Waiting {
    /// Sends what credit allows; `true` when all is sent, the end included.
    fn send(&mut self, connection: &mut Connection, stream: StreamId, out: &mut Vec<u8>) -> bool {
        loop {
            let length = connection.sendable(stream).min(self.bytes.len());
            if length == 0 {
                break;
            }
            out.append(connection.control());
            let header = connection
                .data_header(stream, length, false)
                .expect("sendable");
            out.extend_from_slice(&header);
            out.extend(self.bytes.drain(..length));
            if self.is_loan {
                connection.consumed(stream, length);
            }
        }
        let is_over = self.bytes.is_empty() && self.has_end;
        if is_over {
            connection.end(stream);
        }
        is_over
    }
}

/// A server that does what the host of a request says, as the reference server does.
#[derive(Default)]
pub struct Server {
    streams: BTreeMap<StreamId, Waiting>,
    resetting: Vec<StreamId>,
}

impl Application for Server {
    fn take(&mut self, connection: &mut Connection, event: Event<'_>) {
        match event {
            Event::Request { stream, request } => self.answer(connection, stream, &request),
            Event::BadRequest { stream, problem } => {
                connection
                    .reject(stream, problem.status())
                    .expect("a new stream");
            }
            Event::Data { stream, .. } if self.resetting.contains(&stream) => {
                connection.reset(stream, ErrorCode::CANCEL);
            }
            Event::Data { stream, bytes } => {
                let waiting = self.streams.get_mut(&stream).expect("an accepted stream");
                waiting.bytes.extend_from_slice(bytes);
            }
            Event::End { stream } => {
                if let Some(waiting) = self.streams.get_mut(&stream) {
                    waiting.has_end = true;
                }
            }
            Event::Reset { stream, .. } => drop(self.streams.remove(&stream)),
            _ => {}
        }
    }

    fn pump(&mut self, connection: &mut Connection, out: &mut Vec<u8>) {
        self.streams
            .retain(|&stream, waiting| !waiting.send(connection, stream, out));
    }

    fn is_done(&self) -> bool {
        false
    }
}

impl Server {
    fn answer(&mut self, connection: &mut Connection, stream: StreamId, request: &ConnectRequest) {
        let name = match &request.authority {
            Authority::Hostname(name, _) => name.to_string(),
            Authority::Address(_) => String::new(),
        };
        let mut response = ConnectResponse::new(200);
        match name.as_str() {
            host::REFUSE => return connection.reject(stream, 503).expect("a new stream"),
            host::RESET => self.resetting.push(stream),
            host::DRAIN => connection.drain(),
            host::HEADERS => response.headers.push("large", vec![b'x'; LARGE_HEADER]),
            _ => {}
        }
        connection
            .respond(stream, &response, false)
            .expect("a new stream");
        self.streams.insert(
            stream,
            Waiting {
                is_loan: true,
                ..Waiting::default()
            },
        );
    }
}

/// How an exchange of the client's ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    Finished(u16, Vec<u8>),
    Reset(ErrorCode),
}

struct Running {
    index: usize,
    exchange: Exchange,
    waiting: Waiting,
    status: u16,
    received: Vec<u8>,
}

/// One request of the client's.
#[derive(Clone)]
pub struct Exchange {
    pub authority: String,
    pub payload: Vec<u8>,
    /// Reset the stream once so much has come back.
    pub abort_after: Option<usize>,
}

/// A client that runs a list of exchanges, as many at once as the peer allows.
pub struct Client {
    queue: Vec<(usize, Exchange)>,
    running: BTreeMap<StreamId, Running>,
    pub outcomes: Vec<Option<Outcome>>,
    pub largest_header: usize,
    pub most_at_once: usize,
}

impl Client {
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        let outcomes = vec![None; exchanges.len()];
        let mut queue: Vec<(usize, Exchange)> = exchanges.into_iter().enumerate().collect();
        queue.reverse();
        Self {
            queue,
            running: BTreeMap::new(),
            outcomes,
            largest_header: 0,
            most_at_once: 0,
        }
    }

    /// A refused stream was never worked on: it goes back into the queue.
    fn retry(&mut self, stream: StreamId) {
        if let Some(running) = self.running.remove(&stream) {
            self.queue.push((running.index, running.exchange));
        }
    }

    fn finish(&mut self, stream: StreamId, outcome: impl FnOnce(Running) -> Outcome) {
        if let Some(running) = self.running.remove(&stream) {
            let index = running.index;
            self.outcomes[index] = Some(outcome(running));
        }
    }
}

impl Application for Client {
    fn take(&mut self, connection: &mut Connection, event: Event<'_>) {
        match event {
            Event::Response { stream, response } => {
                let running = self.running.get_mut(&stream).expect("a stream of ours");
                running.status = response.status;
                let large = response.headers.value_of("large").map_or(0, <[u8]>::len);
                self.largest_header = self.largest_header.max(large);
            }
            Event::Data { stream, bytes } => {
                let running = self.running.get_mut(&stream).expect("a stream of ours");
                running.received.extend_from_slice(bytes);
                match running.exchange.abort_after {
                    Some(most) if running.received.len() >= most => {
                        connection.reset(stream, ErrorCode::CANCEL);
                        self.finish(stream, |_| Outcome::Reset(ErrorCode::CANCEL));
                    }
                    _ => connection.consumed(stream, bytes.len()),
                }
            }
            Event::End { stream } => {
                connection.end(stream);
                connection.reset(stream, ErrorCode::NO_ERROR);
                self.finish(stream, |running| {
                    Outcome::Finished(running.status, running.received)
                });
            }
            Event::Reset { stream, .. } if event.is_retryable() => self.retry(stream),
            Event::Reset { stream, code, .. } => self.finish(stream, |_| Outcome::Reset(code)),
            _ => {}
        }
    }

    fn pump(&mut self, connection: &mut Connection, out: &mut Vec<u8>) {
        while connection.is_established() && connection.can_open() {
            let Some((index, exchange)) = self.queue.pop() else {
                break;
            };
            let mut request = ConnectRequest::new(exchange.authority.parse().expect("authority"));
            request.headers.push("traceparent", "00-0-0-00");
            let stream = connection.open(&request).expect("room for a stream");
            let waiting = Waiting {
                bytes: exchange.payload.clone(),
                has_end: true,
                is_loan: false,
            };
            let running = Running {
                index,
                exchange,
                waiting,
                status: 0,
                received: Vec::new(),
            };
            self.running.insert(stream, running);
        }
        self.most_at_once = self.most_at_once.max(self.running.len());
        for (&stream, running) in &mut self.running {
            running.waiting.send(connection, stream, out);
        }
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty()
    }
}

//! The `h2` crate as the other end of a tunnel: an implementation that is not ours.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Hosts whose name decides what [`serve`] does with a CONNECT.
pub mod host {
    /// Answers 200 and sends everything back, half-close included.
    pub const ECHO: &str = "echo.test";
    /// Answers 503 at once.
    pub const REFUSE: &str = "refuse.test";
    /// Answers 200 and resets after the first bytes.
    pub const RESET: &str = "reset.test";
    /// Begins a graceful shutdown, then echoes.
    pub const DRAIN: &str = "drain.test";
    /// Echoes after an answer with a header too large for one frame.
    pub const HEADERS: &str = "headers.test";
}

/// Size of the header that [`host::HEADERS`] answers with.
pub const LARGE_HEADER: usize = 40_000;

/// What `h2` announces.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Credit per stream.
    pub stream_window: u32,
    /// Credit per connection.
    pub connection_window: u32,
    /// Longest frame.
    pub frame_size: u32,
    /// Streams at once.
    pub streams: u32,
}

/// The end of one exchange, as the client saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Both directions ended; what came back.
    Finished(StatusCode, Vec<u8>),
    /// The stream was reset.
    Reset(Reason),
}

/// Serves CONNECT until the peer closes; [`host`] says how.
///
/// # Errors
/// What `h2` complains about: the peer broke the protocol or went away.
pub async fn serve<T>(io: T, tuning: Tuning) -> Result<(), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::Builder::new()
        .initial_window_size(tuning.stream_window)
        .initial_connection_window_size(tuning.connection_window)
        .max_frame_size(tuning.frame_size)
        .max_concurrent_streams(tuning.streams)
        .handshake(io)
        .await?;
    let mut exchanges = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        if request.uri().host() == Some(host::DRAIN) {
            connection.graceful_shutdown();
        }
        exchanges.spawn(answer(request, respond));
    }
    Ok(())
}

/// Begins a connection; the second value must be polled for anything to happen.
///
/// # Errors
/// What `h2` complains about.
pub async fn connect<T>(
    io: T,
    tuning: Tuning,
) -> Result<(SendRequest<Bytes>, h2::client::Connection<T, Bytes>), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    h2::client::Builder::new()
        .initial_window_size(tuning.stream_window)
        .initial_connection_window_size(tuning.connection_window)
        .max_frame_size(tuning.frame_size)
        .enable_push(false)
        .handshake(io)
        .await
}

/// Opens a stream, sends `payload` and its end, and reads until the peer's end.
pub async fn exchange(client: SendRequest<Bytes>, authority: &str, payload: Bytes) -> Outcome {
    match try_exchange(client, authority, payload).await {
        Ok((status, received)) => Outcome::Finished(status, received),
        Err(error) => Outcome::Reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR)),
    }
}

async fn try_exchange(
    client: SendRequest<Bytes>,
    authority: &str,
    payload: Bytes,
) -> Result<(StatusCode, Vec<u8>), h2::Error> {
    let (response, mut sender) = open(client, authority).await?;
    let sending = async {
        // The peer may answer and stop before it has everything.
        if send(&mut sender, payload).await.is_ok() {
            let _ = sender.send_data(Bytes::new(), true);
        }
    };
    let receiving = async {
        let response = response.await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut received = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            received.extend_from_slice(&chunk);
            body.flow_control().release_capacity(chunk.len())?;
        }
        Ok((status, received))
    };
    let ((), received) = tokio::join!(sending, receiving);
    received
}

/// Opens a stream and leaves the rest to the caller.
///
/// # Errors
/// What `h2` complains about: no room, a GOAWAY.
///
/// # Panics
/// When `authority` is none.
pub async fn open(
    client: SendRequest<Bytes>,
    authority: &str,
) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(authority)
        .header("baggage", "a=b");
    let mut client = client.ready().await?;
    client.send_request(request.body(()).expect("a CONNECT request"), false)
}

/// Sends all of `payload` as credit allows.
///
/// # Errors
/// The stream was reset.
pub async fn send(sender: &mut SendStream<Bytes>, mut payload: Bytes) -> Result<(), h2::Error> {
    while !payload.is_empty() {
        sender.reserve_capacity(payload.len());
        match poll_fn(|context| sender.poll_capacity(context)).await {
            Some(capacity) => {
                let length = capacity?.min(payload.len());
                sender.send_data(payload.split_to(length), false)?;
            }
            None => return Err(Reason::STREAM_CLOSED.into()),
        }
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    let mut response = Response::new(());
    if host == host::REFUSE {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return respond.send_response(response, true).map(|_| ());
    }
    if host == host::HEADERS {
        let large = http::HeaderValue::from_bytes(&vec![b'x'; LARGE_HEADER]);
        response
            .headers_mut()
            .insert("large", large.expect("letters"));
    }
    let mut sender = respond.send_response(response, false)?;
    let mut body = request.into_body();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let length = chunk.len();
        if host == host::RESET && length > 0 {
            sender.send_reset(Reason::CANCEL);
            return Ok(());
        }
        send(&mut sender, chunk).await?;
        body.flow_control().release_capacity(length)?;
    }
    sender.send_data(Bytes::new(), true)
}

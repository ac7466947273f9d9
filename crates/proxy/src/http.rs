//! Small HTTP/1.1 servers for people, probes and scrapers.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A client that sends no request within this time is cut off.
const HEADER_LIMIT: Duration = Duration::from_secs(2);

/// Largest request head.
const MAX_HEAD_BYTES: usize = 8 << 10;

/// Connections served at one time; more wait in the backlog. A probe and a few scrapers are enough.
const MAX_CONNECTIONS: usize = 64;

/// What a request asks. Bodies are never read.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) accept: String,
}

/// What it gets.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Answer {
    /// Plain text.
    pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    /// Nothing here.
    pub(crate) fn not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, "not found\n")
    }
}

/// What one server serves.
pub(crate) trait Site: Send + Sync + 'static {
    /// Answers one request. Blocking: may take a second; runs on a thread for blocking work.
    fn answer(&self, asked: &Asked) -> Answer;
}

/// Where a server can be reached from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    /// This machine (or pod) only.
    Loopback,
    /// Anyone.
    Everyone,
}

/// Binds a port; the next generation of this proxy may bind it too (`SO_REUSEPORT`).
///
/// Shape: one socket, or two for a loopback port on a machine with IPv6.
///
/// # Errors
/// The port is taken by another program.
pub(crate) fn bind(port: u16, reach: Reach, ipv6: bool) -> io::Result<Vec<TcpListener>> {
    match reach {
        Reach::Loopback => {
            let mut listeners = vec![listen((Ipv4Addr::LOCALHOST, port).into())?];
            // Without IPv6 on the loopback device there is nobody to miss it.
            if ipv6 && let Ok(listener) = listen((Ipv6Addr::LOCALHOST, port).into()) {
                listeners.push(listener);
            }
            Ok(listeners)
        }
        Reach::Everyone if ipv6 => match listen((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
            {
                Ok(vec![listen((Ipv4Addr::UNSPECIFIED, port).into())?])
            }
            listener => Ok(vec![listener?]),
        },
        Reach::Everyone => Ok(vec![listen((Ipv4Addr::UNSPECIFIED, port).into())?]),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// Serves until cancelled. Cancellation: safe at any await; open connections end with it.
pub(crate) async fn serve(listener: TcpListener, site: Arc<dyn Site>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let site = Arc::clone(&site);
                    connections.spawn(serve_one(TokioIo::new(stream), site));
                }
                // Out of descriptors: pace, or this loop would spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_one(stream: TokioIo<tokio::net::TcpStream>, site: Arc<dyn Site>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, asked) = (Arc::clone(&site), asked(&request));
        async move {
            // A dump of a large mesh must not hold up discovery, which shares this thread.
            let answer = tokio::task::spawn_blocking(move || site.answer(&asked)).await;
            let bug = |_| {
                Answer::text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "this page has a defect\n",
                )
            };
            Ok::<_, Infallible>(response(answer.unwrap_or_else(bug)))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .half_close(true)
        .serve_connection(stream, service);
    // Whatever a client does wrong ends its own connection and is nobody else's business.
    let _ = connection.await;
}

fn asked(request: &Request<Incoming>) -> Asked {
    let accept = request.headers().get(ACCEPT).and_then(|v| v.to_str().ok());
    Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        accept: accept.unwrap_or_default().to_owned(),
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}

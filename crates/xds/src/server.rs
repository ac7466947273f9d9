//! A server of the control plane: how to reach it, and how to prove who we are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(300);

/// Makes the TLS configuration; called for each connection, so that new roots count at once.
pub type TlsSource = Arc<dyn Fn() -> Result<Arc<ClientConfig>, String> + Send + Sync>;
/// Reads the bearer token; called for each request, so that a new one counts at once.
pub type TokenSource = Arc<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// One server of the control plane. Source: node-proxy specification §4.1.
#[derive(Clone)]
pub struct Server {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// See [`TlsSource`].
    pub tls: TlsSource,
    /// See [`TokenSource`].
    pub token: TokenSource,
    /// Sent with each request, besides the token; names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Why a server was not reached or not asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Host and port make no address.
    #[error("{0} is no address of a server")]
    Address(String),
    /// Roots cannot be read or used.
    #[error("roots of the server: {0}")]
    Roots(String),
    /// The token cannot be read.
    #[error("token: {0}")]
    Token(String),
    /// A header that HTTP does not allow.
    #[error("header {0} cannot be sent")]
    Header(String),
    /// No connection.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        #[source]
        source: tonic::transport::Error,
    },
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}:{})", self.host, self.port)
    }
}

impl Server {
    /// Connects. Bounded in time.
    ///
    /// # Errors
    /// [`ServerError::Roots`], [`ServerError::Address`], [`ServerError::Connect`].
    pub async fn connect(&self) -> Result<Channel, ServerError> {
        let tls = (self.tls)().map_err(ServerError::Roots)?;
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let address = format!("{host}:{}", self.port);
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .map_err(|_| ServerError::Address(address.clone()))?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_LIMIT)
            .keep_alive_while_idle(true);
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| ServerError::Address(address.clone()))?;
        let target = (self.host.clone(), self.port);
        let connector = ConnectorFn(move |_: Uri| dial(target.clone(), name.clone(), tls.clone()));
        let connecting = endpoint.connect_with_connector(connector);
        connecting
            .await
            .map_err(|source| ServerError::Connect { address, source })
    }

    /// Writes token and headers into a request's metadata.
    ///
    /// # Errors
    /// [`ServerError::Token`], [`ServerError::Header`].
    pub fn authorize(&self, metadata: &mut MetadataMap) -> Result<(), ServerError> {
        for (name, value) in &self.headers {
            put(metadata, name, value)?;
        }
        if let Some(token) = (self.token)().map_err(ServerError::Token)? {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                .parse()
                .map_err(|_| ServerError::Token("has characters that no header may have".into()))?;
            value.set_sensitive(true);
            metadata.insert("authorization", value);
        }
        Ok(())
    }
}

fn put(metadata: &mut MetadataMap, name: &str, value: &str) -> Result<(), ServerError> {
    let fail = || ServerError::Header(name.to_owned());
    let key = MetadataKey::<Ascii>::from_bytes(name.as_bytes()).map_err(|_| fail())?;
    metadata.insert(key, value.parse().map_err(|_| fail())?);
    Ok(())
}

async fn dial(
    target: (String, u16),
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
    let tcp = TcpStream::connect(target).await?;
    tcp.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE);
    socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
    Ok(TokioIo::new(
        TlsConnector::from(tls).connect(name, tcp).await?,
    ))
}

/// A connector from a function; the `tower` crate would bring nothing else that is used.
#[derive(Clone)]
struct ConnectorFn<F>(F);

impl<F, Connecting, Stream, Failure> tower_service::Service<Uri> for ConnectorFn<F>
where
    F: FnMut(Uri) -> Connecting,
    Connecting: Future<Output = Result<Stream, Failure>>,
{
    type Response = Stream;
    type Error = Failure;
    type Future = Connecting;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Failure>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        (self.0)(uri)
    }
}

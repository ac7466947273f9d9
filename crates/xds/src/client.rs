//! The discovery client: keeps a stream to the control plane and the store up to date.
//!
//! What is known stays in force while the control plane is away. Source: specification §4.1, §4.3.

use std::sync::Arc;

use ambimesh_state::Store;
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::backoff::Backoff;
use crate::server::{Server, ServerError};
use crate::session::Session;
use crate::wire::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node,
};

const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// The first answer is the whole mesh in one message.
const MAX_MESSAGE_BYTES: usize = 200 << 20;
/// Holds the first requests, one for each type; later one answer at a time is replied to.
const REQUEST_QUEUE: usize = 8;

/// Why a connection ended; the label of `istio_xds_connection_terminations_total`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Termination {
    /// It never came about.
    ConnectionError,
    /// The stream failed.
    Error,
    /// The server moved us on.
    Reconnect,
    /// The server ended it in order.
    Complete,
}

impl Termination {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionError => "ConnectionError",
            Self::Error => "Error",
            Self::Reconnect => "Reconnect",
            Self::Complete => "Complete",
        }
    }
}

/// Hears what the client does. Called in its task: must return at once.
pub trait Observer: Send + Sync {
    /// A message arrived.
    fn received(&self, _type_url: &str, _bytes: usize) {}
    /// A batch is in force.
    fn applied(&self) {}
    /// Resources were refused; their old versions stay in force.
    fn rejected(&self, _resources: &[(String, String)]) {}
    /// Every type has been accepted once.
    fn synced(&self) {}
    /// A connection ended; the text says why.
    fn terminated(&self, _why: Termination, _text: &str) {}
}

/// Keeps one store as the control plane says.
pub struct DiscoveryClient {
    server: Server,
    session: Session,
    store: Store,
    observer: Arc<dyn Observer>,
    backoff: Backoff,
}

/// How a connection ended.
enum Ended {
    Unreached(ServerError),
    Failed(Status),
    Complete,
}

impl Ended {
    fn termination(&self) -> Termination {
        match self {
            Self::Unreached(_) => Termination::ConnectionError,
            Self::Failed(status) if is_move(status) => Termination::Reconnect,
            Self::Failed(_) => Termination::Error,
            Self::Complete => Termination::Complete,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Unreached(error) => error_text(error),
            Self::Failed(status) => format!("{}: {}", status.code(), status.message()),
            Self::Complete => "the server ended the stream".to_owned(),
        }
    }
}

impl DiscoveryClient {
    /// Prepares a client; nothing is sent yet.
    #[must_use]
    pub fn new(server: Server, node: Node, store: Store, observer: Arc<dyn Observer>) -> Self {
        Self {
            server,
            session: Session::new(node),
            store,
            observer,
            backoff: Backoff::new(),
        }
    }

    /// Connects, applies, acknowledges; again and again. Ends only when it is dropped, which is
    /// safe at any moment: nothing is applied by halves.
    pub async fn run(mut self) {
        loop {
            let ended = self.converse().await;
            self.observer.terminated(ended.termination(), &ended.text());
            // A server that only moves us on has answered before, so this wait is the shortest;
            // one that hangs up without a word is met less and less often.
            let wait = self.backoff.after_failure(rand::random());
            tokio::time::sleep(wait).await;
        }
    }

    async fn converse(&mut self) -> Ended {
        let (sender, requests) = mpsc::channel(REQUEST_QUEUE);
        // Before the stream is opened: many servers send nothing, not even headers, until they
        // have read a request.
        for request in self.session.connected() {
            if sender.send(request).await.is_err() {
                return Ended::Complete;
            }
        }
        let mut answers = match self.open(requests).await {
            Ok(answers) => answers,
            Err(ended) => return ended,
        };
        loop {
            match answers.message().await {
                Ok(Some(response)) => {
                    self.backoff.reset();
                    let reply = self.take(response);
                    if sender.send(reply).await.is_err() {
                        return Ended::Complete;
                    }
                }
                Ok(None) => return Ended::Complete,
                Err(status) => return Ended::Failed(status),
            }
        }
    }

    async fn open(
        &self,
        requests: mpsc::Receiver<DeltaDiscoveryRequest>,
    ) -> Result<Streaming<DeltaDiscoveryResponse>, Ended> {
        let channel = self.server.connect().await.map_err(Ended::Unreached)?;
        let mut client =
            tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client
            .ready()
            .await
            .map_err(|error| Ended::Failed(Status::unavailable(error_text(&error))))?;
        let mut request = Request::new(ReceiverStream::new(requests));
        self.server
            .authorize(request.metadata_mut())
            .map_err(Ended::Unreached)?;
        let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        client
            .streaming(request, PathAndQuery::from_static(METHOD), codec)
            .await
            .map(tonic::Response::into_inner)
            .map_err(Ended::Failed)
    }

    /// Applies an answer and returns the reply to it.
    fn take(&mut self, response: DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
        self.observer
            .received(&response.type_url, response.encoded_len());
        let had_synced = self.session.has_synced();
        let received = self.session.receive(response);
        if !received.rejected.is_empty() {
            self.observer.rejected(&received.rejected);
        }
        self.store.apply(received.updates, received.removals);
        self.observer.applied();
        if !had_synced && self.session.has_synced() {
            self.observer.synced();
        }
        received.reply
    }
}

/// Whether the server only asked us to connect again. Source: specification §4.3.
fn is_move(status: &Status) -> bool {
    match status.code() {
        Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::Unavailable => {
            let text = status.message();
            text.contains("transport is closing") || text.contains("received prior goaway")
        }
        _ => false,
    }
}

/// An error with what lies behind it: the outermost text alone is "transport error".
fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = inner.source();
    }
    text
}

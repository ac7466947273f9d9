//! Both clients against a control plane of the `h2` crate, over real TLS on the loopback.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ambimesh_state::{Published, Store};
use ambimesh_testkit::certificates::Authority;
use ambimesh_types::{Identity, WorkloadUid};
use ambimesh_xds::wire::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Resource,
};
use ambimesh_xds::wire::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};
use ambimesh_xds::wire::istio::workload::{Address, Workload, address};
use ambimesh_xds::{
    ADDRESS_TYPE, AUTHORIZATION_TYPE, AuthorityClient, AuthorityError, DiscoveryClient, Observer,
    Server, ServerError, Termination,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use prost::Message;
use rcgen::SanType;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const LIMIT: Duration = Duration::from_secs(20);

/// A stream that a client has opened.
struct Call {
    head: http::request::Parts,
    body: RecvStream,
    buffered: BytesMut,
    answer: SendResponse<Bytes>,
    /// Headers are sent with the first message, as gRPC servers do.
    sending: Option<SendStream<Bytes>>,
}

impl Call {
    fn new((request, answer): (Request<RecvStream>, SendResponse<Bytes>)) -> Self {
        let (head, body) = request.into_parts();
        Self {
            head,
            body,
            buffered: BytesMut::new(),
            answer,
            sending: None,
        }
    }

    fn header(&self, name: &str) -> &str {
        self.head.headers[name].to_str().unwrap()
    }

    /// The next message of the client.
    async fn next<M: Message + Default>(&mut self) -> M {
        tokio::time::timeout(LIMIT, self.read()).await.unwrap()
    }

    async fn read<M: Message + Default>(&mut self) -> M {
        loop {
            if let Some((prefix, rest)) = self.buffered.split_first_chunk::<5>() {
                let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
                if rest.len() >= length {
                    let message = M::decode(&rest[..length]).unwrap();
                    let _ = self.buffered.split_to(5 + length);
                    return message;
                }
            }
            let chunk = self.body.data().await.unwrap().unwrap();
            self.body
                .flow_control()
                .release_capacity(chunk.len())
                .unwrap();
            self.buffered.extend_from_slice(&chunk);
        }
    }

    fn send(&mut self, message: &impl Message) {
        let head = Response::builder().header("content-type", "application/grpc");
        let answer = &mut self.answer;
        let sending = self
            .sending
            .get_or_insert_with(|| answer.send_response(head.body(()).unwrap(), false).unwrap());
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut frame).unwrap();
        sending.send_data(frame.freeze(), false).unwrap();
    }

    /// Ends the stream with a gRPC status.
    fn finish(mut self, code: i32, text: &str) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        trailers.insert("grpc-message", text.parse().unwrap());
        if let Some(mut sending) = self.sending {
            sending.send_trailers(trailers).unwrap();
        } else {
            let mut head = Response::new(());
            *head.headers_mut() = trailers;
            head.headers_mut()
                .insert("content-type", "application/grpc".parse().unwrap());
            self.answer.send_response(head, true).unwrap();
        }
    }
}

/// A server on the loopback, and how clients reach it.
struct ControlPlane {
    calls: UnboundedReceiver<Call>,
    port: u16,
    roots: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl ControlPlane {
    async fn start() -> Self {
        let authority = Authority::new("control plane");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, calls) = unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor(&authority), sender));
        Self {
            calls,
            port,
            roots: Arc::new(Mutex::new(authority.root_der().to_vec())),
            _tasks: tasks,
        }
    }

    fn server(&self) -> Server {
        let roots = Arc::clone(&self.roots);
        Server {
            host: "localhost".to_owned(),
            port: self.port,
            tls: Arc::new(move || client_config(&roots.lock().unwrap())),
            token: Arc::new(|| Ok(Some("secret".to_owned()))),
            headers: vec![("clusterid".to_owned(), "Kubernetes".to_owned())],
        }
    }

    async fn call(&mut self) -> Call {
        tokio::time::timeout(LIMIT, self.calls.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn client_config(root: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    store
        .add(CertificateDer::from(root.to_vec()))
        .map_err(|error| error.to_string())?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let leaf = authority.leaf_with(
        "spiffe://cluster.local/ns/istio-system/sa/istiod",
        |params| {
            params
                .subject_alt_names
                .push(SanType::DnsName("localhost".try_into().unwrap()));
        },
    );
    let key = PrivateKeyDer::try_from(leaf.key_der).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(leaf.certificate_der)], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, calls: UnboundedSender<Call>) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, calls) = (tls.clone(), calls.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else {
                return;
            };
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            while let Some(Ok(call)) = connection.accept().await {
                let _ = calls.send(Call::new(call));
            }
        });
    }
}

/// Passes on what an observer hears.
struct Listener(UnboundedSender<String>);

impl Listener {
    fn new() -> (Arc<Self>, UnboundedReceiver<String>) {
        let (sender, events) = unbounded_channel();
        (Arc::new(Self(sender)), events)
    }

    fn tell(&self, event: String) {
        let _ = self.0.send(event);
    }
}

impl Observer for Listener {
    fn applied(&self) {
        self.tell("applied".to_owned());
    }

    fn rejected(&self, resources: &[(String, String)]) {
        self.tell(format!("rejected {resources:?}"));
    }

    fn synced(&self) {
        self.tell("synced".to_owned());
    }

    fn terminated(&self, why: Termination, text: &str) {
        self.tell(format!("terminated {} {text}", why.as_str()));
    }
}

async fn hear(events: &mut UnboundedReceiver<String>) -> String {
    tokio::time::timeout(LIMIT, events.recv())
        .await
        .unwrap()
        .unwrap()
}

/// Starts a client of `server`; it ends with the returned set.
fn discover(server: Server) -> (Arc<Published>, UnboundedReceiver<String>, JoinSet<()>) {
    let (store, (listener, events)) = (Store::new(), Listener::new());
    let published = store.published();
    let node = Node {
        id: "ztunnel~1.1.1.1~z.istio-system~istio-system.svc.cluster.local".to_owned(),
        ..Node::default()
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(DiscoveryClient::new(server, node, store, listener).run());
    (published, events, tasks)
}

fn workload(uid: &str, version: &str, address: &[u8]) -> Resource {
    let workload = Workload {
        uid: uid.into(),
        addresses: vec![address.to_vec()],
        ..Workload::default()
    };
    let message = Address {
        r#type: Some(address::Type::Workload(workload)),
    };
    Resource {
        name: uid.into(),
        version: version.into(),
        resource: Some(prost_types::Any {
            type_url: ADDRESS_TYPE.into(),
            value: message.encode_to_vec(),
        }),
        ..Resource::default()
    }
}

fn answer(url: &str, nonce: &str, resources: Vec<Resource>) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: url.into(),
        nonce: nonce.into(),
        resources,
        ..DeltaDiscoveryResponse::default()
    }
}

async fn first_requests(call: &mut Call) -> [DeltaDiscoveryRequest; 2] {
    [call.next().await, call.next().await]
}

/// A whole dialogue: token and headers, requests before any answer, ACK and NACK, readiness, and
/// a second connection that tells the versions which were accepted.
#[tokio::test]
async fn discovery_applies_acknowledges_and_comes_back() {
    let mut control_plane = ControlPlane::start().await;
    let (published, mut events, _tasks) = discover(control_plane.server());

    let mut call = control_plane.call().await;
    assert_eq!(
        call.head.uri.path(),
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    );
    assert_eq!(call.header("authorization"), "Bearer secret");
    assert_eq!(call.header("clusterid"), "Kubernetes");
    let requests = first_requests(&mut call).await;
    assert_eq!(
        requests.each_ref().map(|r| r.type_url.as_str()),
        [ADDRESS_TYPE, AUTHORIZATION_TYPE]
    );

    let mixed = vec![workload("a", "1", &[10, 0, 0, 1]), workload("b", "1", &[1])];
    call.send(&answer(ADDRESS_TYPE, "n1", mixed));
    let reply: DeltaDiscoveryRequest = call.next().await;
    assert_eq!(reply.response_nonce, "n1");
    assert_eq!(reply.error_detail.unwrap().message, "b: address of 1 bytes");
    assert_eq!(
        hear(&mut events).await,
        r#"rejected [("b", "address of 1 bytes")]"#
    );
    assert_eq!(hear(&mut events).await, "applied");
    assert!(
        published
            .load()
            .workload_by_uid(&WorkloadUid::new("a"))
            .is_some()
    );

    for (url, nonce) in [(AUTHORIZATION_TYPE, "n2"), (ADDRESS_TYPE, "n3")] {
        call.send(&answer(url, nonce, vec![]));
        let reply: DeltaDiscoveryRequest = call.next().await;
        assert_eq!(
            (reply.response_nonce.as_str(), reply.error_detail),
            (nonce, None)
        );
        assert_eq!(hear(&mut events).await, "applied");
    }
    assert_eq!(hear(&mut events).await, "synced");

    call.finish(14, "transport is closing");
    assert!(hear(&mut events).await.starts_with("terminated Reconnect "));
    let mut call = control_plane.call().await;
    let [addresses, _] = first_requests(&mut call).await;
    let versions: Vec<_> = addresses.initial_resource_versions.into_iter().collect();
    assert_eq!(versions, [("a".to_owned(), "1".to_owned())]);
    assert!(
        published
            .load()
            .workload_by_uid(&WorkloadUid::new("a"))
            .is_some(),
        "fail static"
    );
}

/// A server that nobody vouches for gets no token; once the roots are right the client comes in
/// by itself.
#[tokio::test]
async fn roots_are_read_for_each_connection() {
    let mut control_plane = ControlPlane::start().await;
    let right = control_plane.roots.lock().unwrap().clone();
    *control_plane.roots.lock().unwrap() = Authority::new("somebody else").root_der().to_vec();
    let (_, mut events, _tasks) = discover(control_plane.server());

    let ended = hear(&mut events).await;
    assert!(
        ended.starts_with("terminated ConnectionError connect to localhost:"),
        "{ended}"
    );
    assert!(ended.contains("certificate"), "{ended}");

    *control_plane.roots.lock().unwrap() = right;
    let mut call = control_plane.call().await;
    first_requests(&mut call).await;
}

/// A refusal of the server is told with its code and its words.
#[tokio::test]
async fn refusal_of_the_server_is_told() {
    let mut control_plane = ControlPlane::start().await;
    let (_, mut events, _tasks) = discover(control_plane.server());

    control_plane.call().await.finish(16, "who are you");

    let ended = hear(&mut events).await;
    assert!(ended.starts_with("terminated Error "), "{ended}");
    assert!(ended.ends_with(": who are you"), "{ended}");
}

/// A token that cannot be read is never replaced by asking without one.
#[tokio::test]
async fn missing_token_is_an_error() {
    let control_plane = ControlPlane::start().await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let server = Server {
        token: Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Err("token file is empty".to_owned())
        }),
        ..control_plane.server()
    };
    let (_, mut events, _tasks) = discover(server);

    for _ in 0..2 {
        assert_eq!(
            hear(&mut events).await,
            "terminated ConnectionError token: token file is empty"
        );
    }
    assert!(
        attempts.load(Ordering::Relaxed) >= 2,
        "read for each request"
    );
}

/// The authority is asked for the identity of a workload, with our own token.
#[tokio::test]
async fn authority_signs_for_a_workload() {
    let mut control_plane = ControlPlane::start().await;
    let client = AuthorityClient::new(control_plane.server(), Duration::from_secs(3600));
    let identity = Identity::new("cluster.local", "demo", "web");
    let asking = tokio::join!(client.sign("CSR", Some(&identity)), async {
        let mut call = control_plane.call().await;
        assert_eq!(
            call.head.uri.path(),
            "/istio.v1.auth.IstioCertificateService/CreateCertificate"
        );
        assert_eq!(call.header("authorization"), "Bearer secret");
        let request: IstioCertificateRequest = call.next().await;
        call.send(&IstioCertificateResponse {
            cert_chain: vec!["leaf".into(), "root".into()],
        });
        call.finish(0, "");
        request
    });

    let (chain, request) = asking;
    assert_eq!(chain.unwrap(), ["leaf", "root"]);
    assert_eq!(
        (request.csr.as_str(), request.validity_duration),
        ("CSR", 3600)
    );
    let metadata = request.metadata.unwrap();
    let kind = metadata.fields["ImpersonatedIdentity"]
        .kind
        .clone()
        .unwrap();
    let wanted =
        prost_types::value::Kind::StringValue("spiffe://cluster.local/ns/demo/sa/web".into());
    assert_eq!(kind, wanted);
}

/// What the authority refuses, and an authority that is not there, are told apart.
#[tokio::test]
async fn refusals_of_the_authority_are_told() {
    let mut control_plane = ControlPlane::start().await;
    let client = AuthorityClient::new(control_plane.server(), Duration::from_secs(3600));

    let (refused, ()) = tokio::join!(client.sign("CSR", None), async {
        control_plane.call().await.finish(7, "not on your node");
    });
    let refused = refused.unwrap_err();
    assert!(matches!(refused, AuthorityError::Refused(_)));
    assert!(
        refused.to_string().ends_with(": not on your node"),
        "{refused}"
    );

    let nowhere = Server {
        port: 1,
        ..control_plane.server()
    };
    let client = AuthorityClient::new(nowhere, Duration::from_secs(3600));
    let absent = client.sign("CSR", None).await.unwrap_err();
    assert!(
        matches!(absent, AuthorityError::Server(ServerError::Connect { .. })),
        "{absent}"
    );
}

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use ambimesh_engine::Shared;
use ambimesh_state::{Store, Update, Workload, WorkloadDetails};
use ambimesh_types::{Identity, WorkloadUid};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::certificates::Priority;
use crate::config::{Machine, WorkloadName};
use crate::ending::EndReceiver;
use crate::http;
use crate::log::{Format, testing};
use crate::readiness::Part;
use crate::telemetry::FlowTelemetry;

/// Serves a site on a free loopback port until the returned set is dropped.
async fn serve(site: Arc<dyn Site>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut servers = JoinSet::new();
    servers.spawn(http::serve(listener, site));
    (address, servers)
}

/// Sends one request and returns status line and body.
async fn ask(address: SocketAddr, request: &'static str) -> (String, String) {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let text = tokio::task::spawn_blocking(exchange).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn admin() -> (AdminSite, EndReceiver) {
    let (log, _lines) = testing::captured(Format::Text);
    let (ending, causes) = EndSender::channel();
    let variables = [
        ("AUTH_TOKEN", "very-secret"),
        ("XDS_ADDRESS", "https://198.18.0.1:15012"),
    ];
    let variables = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let config = Config::from_environment(
        &variables,
        &Machine {
            logical_cpus: 1,
            exists: &|_| false,
        },
    )
    .unwrap();
    let mut store = Store::new();
    let details = WorkloadDetails {
        name: "web-1".into(),
        namespace: "demo".into(),
        ..WorkloadDetails::default()
    };
    let workload = Workload::new(WorkloadUid::new("Kubernetes//Pod/demo/web-1"), details);
    store.apply([Update::Workload(Arc::new(workload))], []);
    let certificates = CertificateCache::default();
    certificates.request(
        &Identity::new("cluster.local", "demo", "web"),
        Priority::Warmup,
    );
    let shared = Shared {
        settings: Arc::default(),
        state: store.published(),
        certificates: Arc::new(certificates.clone()),
        telemetry: Arc::new(FlowTelemetry::new(1, log.clone())),
    };
    let roster = Roster::default();
    let name = WorkloadName {
        namespace: "demo".into(),
        name: "web-1".into(),
        service_account: "web".into(),
    };
    roster.started("uid-1", &name);
    let site = AdminSite {
        config: Arc::new(config),
        log,
        ending,
        state: store.published(),
        certificates,
        roster,
        engine: Arc::new(Engine::start(1, &shared).unwrap()),
    };
    (site, causes)
}

/// The dump has the keys that `istioctl ztunnel-config` reads, and no secret.
#[tokio::test]
async fn config_dump_has_istios_keys_and_no_secret() {
    let (site, _causes) = admin();
    let (address, _servers) = serve(Arc::new(site)).await;

    let (status, body) = ask(address, "GET /config_dump").await;

    assert_eq!(status, "HTTP/1.1 200 OK");
    let dump: serde_json::Value = serde_json::from_str(&body).unwrap();
    let keys: Vec<&String> = dump.as_object().unwrap().keys().collect();
    let expected = [
        "certificates",
        "config",
        "policies",
        "services",
        "stagedServices",
        "staticConfig",
        "version",
        "workloadState",
        "workloads",
    ];
    assert_eq!(keys, expected);
    assert_eq!(dump["workloads"][0]["name"], "web-1");
    assert_eq!(dump["workloadState"]["uid-1"]["state"], "Up");
    assert_eq!(
        dump["workloadState"]["uid-1"]["info"]["serviceAccount"],
        "web"
    );
    assert_eq!(dump["config"]["xdsAddress"], "https://198.18.0.1:15012");
    assert!(!body.contains("very-secret"));
}

/// Only a POST ends the process.
#[tokio::test]
async fn quitquitquit_wants_a_post() {
    let (site, mut causes) = admin();
    let (address, _servers) = serve(Arc::new(site)).await;

    assert_eq!(
        ask(address, "GET /quitquitquit").await.0,
        "HTTP/1.1 405 Method Not Allowed"
    );
    assert!(causes.try_recv().is_err());
    let answer = ask(address, "POST /quitquitquit").await;

    assert_eq!(
        answer,
        ("HTTP/1.1 200 OK".to_owned(), "shutdown now\n".to_owned())
    );
    assert_eq!(causes.try_recv(), Ok(Cause::Asked("/quitquitquit")));
}

/// The log level changes over the wire; unknown pages are not found.
#[tokio::test]
async fn pages_answer_over_the_wire() {
    let (site, _causes) = admin();
    let (address, _servers) = serve(Arc::new(site)).await;

    let answer = ask(address, "POST /logging?level=access%3Ddebug").await;
    assert_eq!(
        answer,
        (
            "HTTP/1.1 200 OK".to_owned(),
            "current log level is access=debug,trace\n".to_owned()
        )
    );
    assert_eq!(ask(address, "GET /").await.0, "HTTP/1.1 200 OK");
    assert_eq!(
        ask(address, "GET /missing").await.0,
        "HTTP/1.1 404 Not Found"
    );
}

/// The probe names what is missing, and is ready when nothing is.
#[tokio::test]
async fn readiness_names_what_is_missing() {
    let readiness = Readiness::default();
    readiness.set(Part::StateManager, false);
    readiness.set(Part::Proxy, false);
    let (address, _servers) = serve(Arc::new(ReadinessSite(readiness.clone()))).await;

    let (status, body) = ask(address, "GET /healthz/ready").await;
    assert_eq!(status, "HTTP/1.1 500 Internal Server Error");
    assert_eq!(body, "not ready, pending: proxy, state manager\n");
    assert_eq!(
        ask(address, "POST /healthz/ready").await.0,
        "HTTP/1.1 405 Method Not Allowed"
    );
    readiness.set(Part::StateManager, true);
    readiness.set(Part::Proxy, true);

    assert_eq!(ask(address, "GET /healthz/ready").await.1, "ready\n");
}

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ambimesh_state::{Service, Workload, WorkloadDetails};
use ambimesh_types::{Identity, OriginalDst, SourceAddr, WorkloadUid};

use super::*;
use crate::log::{Format, testing};
use crate::metrics::Exposition;

fn workload(name: &str) -> Arc<Workload> {
    Arc::new(Workload::new(
        WorkloadUid::new(&format!("Kubernetes//Pod/app/{name}-1")),
        WorkloadDetails {
            name: format!("{name}-1").as_str().into(),
            workload_name: name.into(),
            canonical_name: name.into(),
            canonical_revision: "latest".into(),
            namespace: "app".into(),
            service_account: name.into(),
            trust_domain: "cluster.local".into(),
            cluster_id: "Kubernetes".into(),
            ..WorkloadDetails::default()
        },
    ))
}

/// A connection from curl to web's service, through a tunnel, as the source's proxy sees it.
fn outbound() -> Facts {
    let service = Service {
        name: "web".into(),
        namespace: "app".into(),
        hostname: "web.app.svc.cluster.local".into(),
        ..Service::default()
    };
    Facts {
        direction: Direction::Outbound,
        pod: "uid-1".into(),
        source: SourceAddr::new("10.0.0.1:4000".parse().unwrap()),
        original_destination: OriginalDst::new("10.1.0.1:80".parse().unwrap()),
        destination: "10.0.0.2:15008".parse().unwrap(),
        upstream: None,
        authority: Some("10.0.0.2:80".parse().unwrap()),
        source_workload: Some(workload("curl")),
        source_identity: Some(Identity::new("cluster.local", "app", "curl")),
        source_baggage: None,
        destination_workload: Some(workload("web")),
        destination_identity: Some(Identity::new("cluster.local", "app", "web")),
        destination_service: Some(Arc::new(service)),
        trace_id: 7,
    }
}

/// The same connection with nothing known about its caller but what it says.
fn inbound_from_stranger() -> Facts {
    Facts {
        direction: Direction::InboundTunnel,
        source_workload: None,
        source_baggage: Some(
            "k8s.cluster.name=far,k8s.namespace.name=app,k8s.deployment.name=curl".into(),
        ),
        destination_service: None,
        ..outbound()
    }
}

fn end(reason: CloseReason, detail: Option<&str>) -> End {
    End {
        reason,
        detail: detail.map(Into::into),
        transferred: Transferred {
            received: 84,
            sent: 512,
        },
        duration: Duration::from_millis(3),
    }
}

/// The line without its time.
fn line(lines: &Receiver<Vec<u8>>) -> String {
    let line = String::from_utf8(lines.try_recv().expect("a line was written")).unwrap();
    line.split_once('\t')
        .expect("a time comes first")
        .1
        .to_owned()
}

/// The example of specification §12.3, with our reason and the clusters.
#[test]
fn a_finished_connection_has_istios_line() {
    let (log, lines) = testing::captured(Format::Text);

    access::complete(&log, &outbound(), &end(CloseReason::Finished, None));

    assert_eq!(
        line(&lines),
        "info\taccess\tconnection complete\tsrc.addr=10.0.0.1:4000 src.workload=\"curl-1\" src.namespace=\"app\" \
         src.identity=\"spiffe://cluster.local/ns/app/sa/curl\" src.cluster=\"Kubernetes\" \
         dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:80 dst.service=\"web.app.svc.cluster.local\" \
         dst.workload=\"web-1\" dst.namespace=\"app\" dst.identity=\"spiffe://cluster.local/ns/app/sa/web\" \
         dst.cluster=\"Kubernetes\" direction=\"outbound\" bytes_sent=84 bytes_recv=512 duration=\"3ms\" \
         reason=\"finished\"\n"
    );
}

/// A refused connection is an error with its reason and text; bytes are as the local pod sees them.
#[test]
fn a_denied_connection_says_why() {
    let (log, lines) = testing::captured(Format::Text);

    access::complete(
        &log,
        &inbound_from_stranger(),
        &end(CloseReason::PolicyDenied, Some("denied by app/p")),
    );

    let line = line(&lines);
    assert!(
        line.starts_with(
            "error\taccess\tconnection complete\tsrc.addr=10.0.0.1:4000 src.workload=\"curl\""
        ),
        "{line}"
    );
    assert!(line.contains(" src.cluster=\"far\" "), "{line}");
    assert!(
        line.ends_with(
            " direction=\"inbound\" bytes_sent=512 bytes_recv=84 duration=\"3ms\" reason=\"policy_denied\" \
             error=\"denied by app/p\"\n"
        ),
        "{line}"
    );
}

/// What failed before it was known where it goes has a short line.
#[test]
fn an_early_failure_has_a_short_line() {
    let (log, lines) = testing::captured(Format::Text);

    access::failed(
        &log,
        &outbound(),
        &end(
            CloseReason::Recursion,
            Some("attempted recursive call to ourselves"),
        ),
    );

    assert_eq!(
        line(&lines),
        "warn\taccess\tconnection failed\tsrc.addr=10.0.0.1:4000 dst.addr=10.0.0.2:15008 direction=\"outbound\" \
         reason=\"recursion\" error=\"attempted recursive call to ourselves\"\n"
    );
}

/// A JSON line has the same fields.
#[test]
fn json_lines_have_the_same_fields() {
    let (log, lines) = testing::captured(Format::Json);

    access::complete(&log, &outbound(), &end(CloseReason::Finished, None));

    let parsed: serde_json::Value = serde_json::from_slice(&lines.try_recv().unwrap()).unwrap();
    assert_eq!(parsed["dst.service"], "web.app.svc.cluster.local");
    assert_eq!(
        (parsed["bytes_sent"].as_u64(), parsed["src.addr"].as_str()),
        (Some(84), Some("10.0.0.1:4000"))
    );
}

/// The whole life of one flow in metrics: opened, bytes, closed with its flag, and our reason.
#[test]
fn a_flow_is_counted_under_istios_labels() {
    let (log, _lines) = testing::captured(Format::Text);
    let telemetry = FlowTelemetry::new(1, log);
    let facts = outbound();

    let series = telemetry.opened(0, &facts);
    telemetry.progressed(
        0,
        series,
        Transferred {
            received: 84,
            sent: 512,
        },
    );
    telemetry.closed(0, series, &facts, &end(CloseReason::PolicyDenied, None));

    let mut page = Exposition::default();
    telemetry.traffic().write(&mut page);
    let page = page.finish();
    let sample = |name: &str| {
        page.lines()
            .find(|l| l.starts_with(name))
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        sample("istio_tcp_connections_closed_total"),
        "istio_tcp_connections_closed_total{reporter=\"source\",source_workload=\"curl\",\
         source_canonical_service=\"curl\",source_canonical_revision=\"latest\",source_workload_namespace=\"app\",\
         source_principal=\"spiffe://cluster.local/ns/app/sa/curl\",source_app=\"curl\",source_version=\"latest\",\
         source_cluster=\"Kubernetes\",destination_service=\"web.app.svc.cluster.local\",\
         destination_service_namespace=\"app\",destination_service_name=\"web\",destination_workload=\"web\",\
         destination_canonical_service=\"web\",destination_canonical_revision=\"latest\",\
         destination_workload_namespace=\"app\",destination_principal=\"spiffe://cluster.local/ns/app/sa/web\",\
         destination_app=\"web\",destination_version=\"latest\",destination_cluster=\"Kubernetes\",\
         request_protocol=\"tcp\",response_flags=\"DENY\",connection_security_policy=\"mutual_tls\"} 1"
    );
    assert!(sample("istio_tcp_connections_opened_total").contains("response_flags=\"-\""));
    assert!(sample("istio_tcp_received_bytes_total").ends_with(" 84"));
    assert!(sample("istio_tcp_sent_bytes_total").ends_with(" 512"));
    assert!(page.contains("ambimesh_connections_closed_total{reason=\"policy_denied\"} 1\n"));
}

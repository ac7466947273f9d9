//! What may be asked of a pod. Source: node-proxy specification §8.2.

use std::net::IpAddr;

use ambimesh_state::{ApplicationTunnel, WorkloadDetails};
use ambimesh_types::CloseReason;

use crate::mesh::{Mesh, hostname, member, pod, service, uid};

const OWN: &str = "10.0.0.2";

fn mesh(tunnel: Option<ApplicationTunnel>) -> Mesh {
    let mut mesh = Mesh::default();
    mesh.service(service("web", &["10.1.0.1"], &[(80, 8080), (81, 0)]))
        .service(service("other", &["10.1.0.2"], &[(80, 9000)]))
        .pod(WorkloadDetails {
            application_tunnel: tunnel,
            ..member(pod("web-1", &[OWN]), "web", &[(81, 9090)])
        });
    mesh
}

fn target(mesh: &Mesh, authority: &str) -> Result<String, (CloseReason, String)> {
    let snapshot = mesh.snapshot();
    let local = snapshot.workload_by_uid(&uid("web-1")).unwrap();
    let own: IpAddr = OWN.parse().unwrap();
    snapshot
        .inbound_target(local, &authority.parse().unwrap(), own)
        .map(|target| target.address.to_string())
        .map_err(|error| (error.reason, error.text))
}

/// An address must be the one that the tunnel came to.
#[test]
fn authority_must_name_this_pod() {
    let mesh = mesh(None);

    assert_eq!(target(&mesh, "10.0.0.2:80"), Ok("10.0.0.2:80".into()));
    for foreign in ["10.0.0.3:80", "10.1.0.1:80", "[fd00::2]:80"] {
        let (reason, text) = target(&mesh, foreign).unwrap_err();
        assert_eq!(reason, CloseReason::BadRequest);
        assert!(text.starts_with("ip mismatch: 10.0.0.2 != "), "{text}");
    }
}

/// A hostname leads to the pod's own port for that service.
#[test]
fn hostname_is_mapped_to_a_port() {
    let mesh = mesh(None);
    let ask = |host: &str, port: u16| target(&mesh, &format!("{host}:{port}"));

    assert_eq!(ask(&hostname("web"), 80), Ok("10.0.0.2:8080".into()));
    assert_eq!(ask(&hostname("web"), 81), Ok("10.0.0.2:9090".into()));
    assert_eq!(
        ask(&hostname("web"), 82),
        Err((
            CloseReason::NoRoute,
            "requested service web.demo.svc.cluster.local:82 found, but cannot resolve port".into()
        ))
    );
    assert_eq!(
        ask("nobody.example", 80),
        Err((
            CloseReason::NoRoute,
            "no service or workload for hostname: nobody.example".into()
        ))
    );
}

/// A workload that takes everything on one port gets it there, whatever was asked for.
#[test]
fn application_tunnel_takes_everything() {
    let mesh = mesh(Some(ApplicationTunnel {
        is_proxy_protocol: true,
        port: Some(15088),
    }));

    for authority in [
        "10.0.0.2:80",
        "10.1.0.1:80",
        "web.demo.svc.cluster.local:80",
    ] {
        assert_eq!(target(&mesh, authority), Ok("10.0.0.2:15088".into()));
    }
}

/// Telemetry names the service that the caller named, else the first with that port.
#[test]
fn service_of_a_request_is_found() {
    let mesh = mesh(None);
    let snapshot = mesh.snapshot();
    let local = snapshot.workload_by_uid(&uid("web-1")).unwrap();
    let of = |named: Option<&str>, port| {
        let found = snapshot.inbound_service_of(local, named, port);
        found.map(|service| service.name.to_string())
    };

    assert_eq!(of(Some(&hostname("web")), 1).as_deref(), Some("web"));
    assert_eq!(of(Some(&hostname("other")), 1), None, "not a member of it");
    assert_eq!(of(None, 8080).as_deref(), Some("web"));
    assert_eq!(of(None, 9090).as_deref(), Some("web"));
    assert_eq!(of(None, 1), None);
}

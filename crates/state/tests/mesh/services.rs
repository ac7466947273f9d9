//! Which service a name or an address stands for. Source: node-proxy specification §4.6.

use ambimesh_state::{Removal, Service, ServiceKey, Snapshot, Visibility};

use crate::mesh::{Mesh, hostname, member, network_address, pod, service, service_key, uid};

fn in_namespace(namespace: &str, service: Service) -> Service {
    Service {
        namespace: namespace.into(),
        ..service
    }
}

fn hidden(service: Service) -> Service {
    Service {
        visibility: Visibility::Namespace,
        ..service
    }
}

fn ranges(namespace: &str, name: &str, ranges: &[&str]) -> Service {
    Service {
        namespace: namespace.into(),
        cidr_vips: ranges
            .iter()
            .map(|range| ("".into(), range.parse().unwrap()))
            .collect(),
        ..service(name, &[], &[(80, 80)])
    }
}

fn by_vip(snapshot: &Snapshot, ip: &str, namespace: &str) -> Option<String> {
    snapshot
        .service_by_vip("", ip.parse().unwrap(), namespace)
        .map(|found| format!("{}/{}", found.namespace, found.name))
}

/// One address in two namespaces: the client's own, else the canonical one, else by name.
#[test]
fn shared_address_means_the_nearest_service() {
    let mut mesh = Mesh::default();
    for namespace in ["a", "b"] {
        mesh.service(in_namespace(namespace, service("web", &["10.1.0.1"], &[])));
    }
    let of = |mesh: &Mesh, client| by_vip(&mesh.snapshot(), "10.1.0.1", client).unwrap();
    assert_eq!(of(&mesh, "b"), "b/web");
    assert_eq!(of(&mesh, "c"), "a/web");

    mesh.service(Service {
        is_canonical: true,
        ..in_namespace("b", service("web", &["10.1.0.1"], &[]))
    });
    assert_eq!(of(&mesh, "c"), "b/web");
    assert_eq!(of(&mesh, "a"), "a/web");
}

/// A hidden service is found from its own namespace only, by address and by name.
#[test]
fn hidden_service_is_found_at_home_only() {
    let mut mesh = Mesh::default();
    mesh.service(hidden(service("web", &["10.1.0.1"], &[])));
    let snapshot = mesh.snapshot();

    assert_eq!(by_vip(&snapshot, "10.1.0.1", "other"), None);
    assert!(by_vip(&snapshot, "10.1.0.1", "demo").is_some());
    assert!(
        snapshot
            .service_by_hostname(&hostname("web"), "other")
            .is_none()
    );
    assert!(
        snapshot
            .service_by_hostname(&hostname("web"), "demo")
            .is_some()
    );
}

/// Ranges: the longest, within the network and the family; an exact address beats them all.
#[test]
fn longest_range_wins() {
    let mut mesh = Mesh::default();
    mesh.service(ranges("x", "wide", &["10.2.0.0/16", "fd02::/64"]))
        .service(ranges("x", "narrow", &["10.2.3.0/24"]))
        .service(in_namespace("x", service("exact", &["10.2.3.4"], &[])));
    let snapshot = mesh.snapshot();

    let of = |ip| by_vip(&snapshot, ip, "client");
    assert_eq!(of("10.2.9.9").as_deref(), Some("x/wide"));
    assert_eq!(of("10.2.3.9").as_deref(), Some("x/narrow"));
    assert_eq!(of("10.2.3.4").as_deref(), Some("x/exact"));
    assert_eq!(of("fd02::9").as_deref(), Some("x/wide"));
    assert_eq!(of("10.3.0.1"), None);
    let elsewhere = snapshot.service_by_vip("abroad", "10.2.3.9".parse().unwrap(), "client");
    assert!(elsewhere.is_none());
}

/// The client's namespace beats a longer range, and a hidden exact address leads to the range.
#[test]
fn range_of_the_own_namespace_wins() {
    let mut mesh = Mesh::default();
    mesh.service(ranges("home", "wide", &["10.2.0.0/16"]))
        .service(ranges("x", "narrow", &["10.2.3.0/24"]))
        .service(hidden(in_namespace(
            "x",
            service("exact", &["10.2.3.4"], &[]),
        )));
    let snapshot = mesh.snapshot();

    assert_eq!(
        by_vip(&snapshot, "10.2.3.4", "home").as_deref(),
        Some("home/wide")
    );
    assert_eq!(
        by_vip(&snapshot, "10.2.3.4", "y").as_deref(),
        Some("x/narrow")
    );
}

/// Specification §17.1: an update or removal leaves no stale address, range or name behind.
#[test]
fn changed_service_leaves_nothing_behind() {
    let mut mesh = Mesh::default();
    let old = Service {
        vips: vec![network_address("", "10.1.0.1")],
        ..ranges("demo", "web", &["10.2.0.0/16"])
    };
    mesh.service(old).service(Service {
        vips: vec![network_address("", "10.1.0.2")],
        ..ranges("demo", "web", &["10.3.0.0/16"])
    });
    let of = |mesh: &Mesh, ip| by_vip(&mesh.snapshot(), ip, "demo").is_some();
    assert!(!of(&mesh, "10.1.0.1") && !of(&mesh, "10.2.0.1"));
    assert!(of(&mesh, "10.1.0.2") && of(&mesh, "10.3.0.1"));

    mesh.remove(Removal::Address(service_key("web").to_string()));
    assert!(!of(&mesh, "10.1.0.2") && !of(&mesh, "10.3.0.1"));
    let snapshot = mesh.snapshot();
    assert!(
        snapshot
            .service_by_hostname(&hostname("web"), "demo")
            .is_none()
    );
}

/// Endpoints do not care whether the service or the workload is told first.
#[test]
fn endpoints_may_come_before_their_service() {
    let mut mesh = Mesh::default();
    mesh.pod(member(pod("web-1", &["10.0.0.2"]), "web", &[]))
        .service(service("web", &["10.1.0.1"], &[(80, 8080)]));
    let ends = |mesh: &Mesh| mesh.snapshot().endpoints(&service_key("web")).count();
    assert_eq!(ends(&mesh), 1);

    mesh.remove(Removal::Address(service_key("web").to_string()));
    assert!(mesh.snapshot().workload_by_uid(&uid("web-1")).is_some());
    mesh.service(service("web", &["10.1.0.1"], &[(80, 8080)]));
    assert_eq!(
        ends(&mesh),
        1,
        "a service that comes back finds its endpoints"
    );

    mesh.pod(pod("web-1", &["10.0.0.2"]));
    assert_eq!(
        ends(&mesh),
        0,
        "a workload that left the service is no endpoint"
    );
}

/// Keys have exactly two parts.
#[test]
fn malformed_service_keys_are_refused() {
    for text in ["", "web", "demo/", "demo/web/x"] {
        assert!(text.parse::<ServiceKey>().is_err(), "{text}");
    }
    assert_eq!("demo/web".parse(), Ok(ServiceKey::new("demo", "web")));
}

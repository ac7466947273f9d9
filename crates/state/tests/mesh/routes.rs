//! Routes without waypoints. Source: node-proxy specification §7, §15.3 "outbound request builder".

use ambimesh_state::{
    ApplicationTunnel, Health, IpFamilies, LoadBalancing, Mode, NetworkMode, Protocol, Route,
    Service, WorkloadDetails,
};
use ambimesh_types::{CloseReason, Identity};

use crate::mesh::{Mesh, member, outsider, pod, service, waypoint};

fn mesh() -> Mesh {
    let mut mesh = Mesh::default();
    mesh.pod(pod("client", &["10.0.0.1", "fd00::1"]));
    mesh
}

/// Addresses that nobody announced pass untouched, also those of another network.
#[test]
fn unknown_destination_passes_through() {
    let mut mesh = mesh();
    let abroad = WorkloadDetails {
        network: "abroad".into(),
        ..pod("web", &["10.0.0.2"])
    };
    mesh.pod(abroad);

    assert_eq!(mesh.route("client", "1.2.3.4:80"), "passthrough 1.2.3.4:80");
    assert_eq!(
        mesh.route("client", "10.0.0.2:80"),
        "passthrough 10.0.0.2:80"
    );
}

/// A pod in the mesh is reached by a tunnel, on the same node too; one outside by plain TCP.
#[test]
fn pod_is_reached_by_what_it_speaks() {
    let mut mesh = mesh();
    let remote = WorkloadDetails {
        node: "node-2".into(),
        ..pod("remote", &["10.0.1.2"])
    };
    mesh.pod(pod("near", &["10.0.0.2"]))
        .pod(remote)
        .pod(outsider("outside", &["10.0.0.3"]));

    let route = |to| mesh.route("client", to);
    assert_eq!(
        route("10.0.0.2:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:80 near"
    );
    assert_eq!(
        route("10.0.1.2:80"),
        "tunnel 10.0.1.2:15008 10.0.1.2:80 remote"
    );
    assert_eq!(route("10.0.0.3:80"), "direct 10.0.0.3:80 outside");
}

/// The hop must prove the workload's identity or one that the service announces.
#[test]
fn identities_of_workload_and_service_are_expected() {
    let mut mesh = mesh();
    let other = Identity::new("other.domain", "demo", "web");
    let web = Service {
        subject_alt_names: vec![other.clone()],
        ..service("web", &["10.1.0.1"], &[(80, 8080)])
    };
    mesh.service(web)
        .pod(member(pod("web-1", &["10.0.0.2"]), "web", &[]));

    let Route::Tunnel { expected, .. } = mesh.try_route("client", "10.1.0.1:80", 0).unwrap() else {
        panic!("no tunnel")
    };

    let own = Identity::new("cluster.local", "demo", "web-1");
    assert_eq!(*expected, [own, other]);
}

/// The endpoint's own mapping, then the service's; a port that neither has is refused.
#[test]
fn service_ports_are_mapped() {
    let mut mesh = mesh();
    mesh.service(service(
        "web",
        &["10.1.0.1"],
        &[(80, 8080), (81, 0), (82, 0)],
    ))
    .pod(member(pod("web-1", &["10.0.0.2"]), "web", &[(81, 9090)]));

    let route = |to| mesh.route("client", to);
    assert_eq!(
        route("10.1.0.1:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:8080 web-1 of web"
    );
    assert_eq!(
        route("10.1.0.1:81"),
        "tunnel 10.0.0.2:15008 10.0.0.2:9090 web-1 of web"
    );
    assert_eq!(
        route("10.1.0.1:82"),
        "no_healthy_endpoint: no healthy upstream: 10.1.0.1:82: none of the 1 endpoints of service \
         demo/web.demo.svc.cluster.local is ready and can be reached"
    );
    assert_eq!(
        route("10.1.0.1:83"),
        "no_healthy_endpoint: no healthy upstream: 10.1.0.1:83: service \
         demo/web.demo.svc.cluster.local has no port 83"
    );
}

/// A workload that takes everything on one port is asked for the port of the service.
#[test]
fn application_tunnel_keeps_the_service_port() {
    let mut mesh = mesh();
    let tunnel = ApplicationTunnel {
        is_proxy_protocol: false,
        port: Some(15088),
    };
    let web = WorkloadDetails {
        application_tunnel: Some(tunnel),
        ..member(pod("web-1", &["10.0.0.2"]), "web", &[])
    };
    mesh.service(service("web", &["10.1.0.1"], &[(80, 0)]))
        .pod(web);

    assert_eq!(
        mesh.route("client", "10.1.0.1:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:80 web-1 of web"
    );
}

/// A service without endpoints refuses; its address never passes through.
#[test]
fn empty_service_refuses() {
    let mut mesh = mesh();
    mesh.service(service("web", &["10.1.0.1"], &[(80, 8080)]));

    let error = mesh.try_route("client", "10.1.0.1:80", 0).unwrap_err();

    assert_eq!(error.reason, CloseReason::NoHealthyEndpoint);
}

/// A pod on its node's network is no one's by address, and is reached as an endpoint.
#[test]
fn host_network_pod_is_found_only_as_endpoint() {
    let mut mesh = mesh();
    let host = WorkloadDetails {
        network_mode: NetworkMode::HostNetwork,
        ..member(outsider("host", &["172.16.0.9"]), "web", &[])
    };
    mesh.service(service("web", &["10.1.0.1"], &[(80, 8080)]))
        .pod(host);

    assert_eq!(
        mesh.route("client", "172.16.0.9:80"),
        "passthrough 172.16.0.9:80"
    );
    assert_eq!(
        mesh.route("client", "10.1.0.1:80"),
        "direct 172.16.0.9:8080 host of web"
    );
}

/// Of two addresses the one of the family that was asked for, unless the service rules it out.
#[test]
fn address_family_follows_the_request() {
    for (families, v4, v6) in [
        (IpFamilies::Automatic, "10.0.0.2", "[fd00::2]"),
        (IpFamilies::Dual, "10.0.0.2", "[fd00::2]"),
        (IpFamilies::V4, "10.0.0.2", "10.0.0.2"),
        (IpFamilies::V6, "[fd00::2]", "[fd00::2]"),
    ] {
        let mut mesh = mesh();
        let web = Service {
            ip_families: families,
            ..service("web", &["10.1.0.1", "fd01::1"], &[(80, 8080)])
        };
        mesh.service(web).pod(member(
            outsider("web-1", &["10.0.0.2", "fd00::2"]),
            "web",
            &[],
        ));

        assert_eq!(
            mesh.route("client", "10.1.0.1:80"),
            format!("direct {v4}:8080 web-1 of web")
        );
        assert_eq!(
            mesh.route("client", "[fd01::1]:80"),
            format!("direct {v6}:8080 web-1 of web")
        );
    }
}

/// A service in passthrough mode is the destination itself, or its waypoint is.
#[test]
fn passthrough_service_is_not_balanced() {
    let mut mesh = mesh();
    let external = Service {
        load_balancing: LoadBalancing {
            mode: Mode::Passthrough,
            ..LoadBalancing::default()
        },
        ..service("external", &["203.0.113.1"], &[(443, 443)])
    };
    mesh.service(external.clone());
    assert_eq!(
        mesh.route("client", "203.0.113.1:443"),
        "passthrough 203.0.113.1:443"
    );

    let bound = Service {
        waypoint: Some(waypoint("wp")),
        ..external
    };
    mesh.service(bound)
        .service(service("wp", &["10.1.0.9"], &[(15008, 15008)]))
        .pod(member(pod("wp-1", &["10.0.0.9"]), "wp", &[]));
    assert_eq!(
        mesh.route("client", "203.0.113.1:443"),
        "tunnel 10.0.0.9:15008 203.0.113.1:443 wp-1 of external"
    );
}

/// An endpoint on another network is not chosen while networks are not crossed.
#[test]
fn endpoint_of_another_network_is_not_chosen() {
    let mut mesh = mesh();
    let abroad = WorkloadDetails {
        network: "abroad".into(),
        ..member(pod("web-2", &["10.0.0.3"]), "web", &[])
    };
    mesh.service(service("web", &["10.1.0.1"], &[(80, 8080)]))
        .pod(member(pod("web-1", &["10.0.0.2"]), "web", &[]))
        .pod(abroad);

    for draw in 0..20 {
        let route = mesh.try_route("client", "10.1.0.1:80", draw).unwrap();
        assert!(matches!(route, Route::Tunnel { workload, .. } if &*workload.name == "web-1"));
    }
}

/// A pod may be its own service's only endpoint.
#[test]
fn pod_reaches_itself_through_its_service() {
    let mut mesh = Mesh::default();
    mesh.service(service("web", &["10.1.0.1"], &[(80, 8080)]))
        .pod(member(pod("web-1", &["10.0.0.2"]), "web", &[]));

    assert_eq!(
        mesh.route("web-1", "10.1.0.1:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:8080 web-1 of web"
    );
}

/// Health does not matter to who asks for a pod by its address.
#[test]
fn unready_pod_is_reached_by_address() {
    let mut mesh = mesh();
    let starting = WorkloadDetails {
        health: Health::Unhealthy,
        protocol: Protocol::Tcp,
        ..pod("web-1", &["10.0.0.2"])
    };
    mesh.pod(starting);

    assert_eq!(
        mesh.route("client", "10.0.0.2:80"),
        "direct 10.0.0.2:80 web-1"
    );
}

/// An address that is both a pod's and a service's: endpoints of the service win (§7.1 step 3).
#[test]
fn service_wins_over_pod_for_endpoints() {
    let mut mesh = mesh();
    mesh.pod(pod("pod", &["10.1.0.1"]))
        .service(service("web", &["10.1.0.1"], &[(80, 8080)]))
        .pod(member(outsider("web-1", &["10.0.0.2"]), "web", &[]));

    assert_eq!(
        mesh.route("client", "10.1.0.1:80"),
        "direct 10.0.0.2:8080 web-1 of web"
    );
}

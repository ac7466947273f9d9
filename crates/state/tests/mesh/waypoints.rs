//! Routes with waypoints. Source: node-proxy specification §7, design D1 to D3.

use ambimesh_state::{
    Health, LoadBalancing, Removal, Route, Service, WeightedWaypoint, WorkloadDetails,
};
use ambimesh_types::{CloseReason, Identity};

use crate::mesh::{Mesh, member, pod, service, uid, waypoint, waypoint_at};

const TO_SERVICE: &str = "tunnel 10.0.0.9:15008 10.1.0.1:80 wp-1 of web";
const TO_POD: &str = "tunnel 10.0.0.9:15008 10.0.0.2:80 wp-1";

/// A client, a service with one endpoint, and a waypoint that nobody is bound to yet.
fn mesh() -> Mesh {
    let mut mesh = Mesh::default();
    mesh.pod(pod("client", &["10.0.0.1"]))
        .service(web())
        .pod(web_pod())
        .service(service("wp", &["10.1.0.9"], &[(15008, 15008)]))
        .pod(member(pod("wp-1", &["10.0.0.9"]), "wp", &[]));
    mesh
}

fn web() -> Service {
    service("web", &["10.1.0.1"], &[(80, 8080)])
}

fn web_pod() -> WorkloadDetails {
    member(pod("web-1", &["10.0.0.2"]), "web", &[])
}

fn bound_service() -> Service {
    Service {
        waypoint: Some(waypoint("wp")),
        ..web()
    }
}

fn bound_pod() -> WorkloadDetails {
    WorkloadDetails {
        waypoint: Some(waypoint("wp")),
        ..web_pod()
    }
}

/// A service's waypoint is asked for the service, a pod's for the pod: untranslated.
#[test]
fn waypoint_is_asked_for_what_the_application_asked_for() {
    let mut mesh = mesh();

    mesh.service(bound_service());
    assert_eq!(mesh.route("client", "10.1.0.1:80"), TO_SERVICE);
    assert_eq!(
        mesh.route("client", "10.0.0.2:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:80 web-1"
    );

    mesh.service(web()).pod(bound_pod());
    assert_eq!(mesh.route("client", "10.0.0.2:80"), TO_POD);
    assert_eq!(
        mesh.route("client", "10.1.0.1:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:8080 web-1 of web"
    );
}

/// Design D2: an endpoint may say that its waypoint takes traffic to its services as well.
#[test]
fn endpoint_can_bind_its_waypoint_for_services() {
    let mut mesh = mesh();
    mesh.pod(WorkloadDetails {
        has_waypoint_for_services: true,
        ..bound_pod()
    });

    assert_eq!(mesh.route("client", "10.1.0.1:80"), TO_SERVICE);
}

/// The waypoint's certificate is its own or one that its service announces.
#[test]
fn waypoint_must_prove_its_own_identity() {
    let mut mesh = mesh();
    mesh.service(bound_service());

    let route = mesh.try_route("client", "10.1.0.1:80", 0).unwrap();

    let own = Identity::new("cluster.local", "demo", "wp-1");
    assert!(matches!(route, Route::Tunnel { expected, .. } if *expected == [own]));
}

/// A waypoint's traffic goes to the destination; the source's waypoint plays no part.
#[test]
fn waypoint_does_not_send_to_itself() {
    let mut mesh = mesh();
    mesh.service(bound_service()).pod(bound_pod());
    assert_eq!(
        mesh.route("wp-1", "10.1.0.1:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:8080 web-1 of web"
    );
    assert_eq!(
        mesh.route("wp-1", "10.0.0.2:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:80 web-1"
    );

    mesh.pod(WorkloadDetails {
        waypoint: Some(waypoint("wp")),
        ..pod("client", &["10.0.0.1"])
    })
    .service(web())
    .pod(web_pod());
    assert_eq!(
        mesh.route("client", "10.0.0.2:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:80 web-1"
    );
}

/// The waypoint's identity alone makes nobody a waypoint.
#[test]
fn identity_of_the_waypoint_is_not_enough() {
    let mut mesh = mesh();
    mesh.service(bound_service()).pod(WorkloadDetails {
        service_account: "wp-1".into(),
        ..pod("client", &["10.0.0.1"])
    });

    assert_eq!(mesh.route("client", "10.1.0.1:80"), TO_SERVICE);
}

/// Waypoints are found by a service's name or address, and by a workload's name or address.
#[test]
fn waypoint_references_of_every_kind_resolve() {
    let mut mesh = mesh();
    let named = WorkloadDetails {
        hostname: crate::mesh::hostname("vm").into(),
        ..pod("wp-1", &["10.0.0.9"])
    };
    let references = [
        waypoint("wp"),
        waypoint_at("10.1.0.9"),
        waypoint_at("10.0.0.9"),
    ];
    for reference in references {
        mesh.service(Service {
            waypoint: Some(reference),
            ..web()
        });
        assert_eq!(mesh.route("client", "10.1.0.1:80"), TO_SERVICE);
    }

    mesh.pod(named).service(Service {
        waypoint: Some(waypoint("vm")),
        ..web()
    });
    assert_eq!(mesh.route("client", "10.1.0.1:80"), TO_SERVICE);
}

/// Design D3: a waypoint that cannot be used refuses the connection and says why.
#[test]
fn unusable_waypoint_is_never_bypassed() {
    let unready = WorkloadDetails {
        health: Health::Unhealthy,
        ..member(pod("wp-1", &["10.0.0.9"]), "wp", &[])
    };
    let abroad = WorkloadDetails {
        network: "abroad".into(),
        ..member(pod("wp-1", &["10.0.0.9"]), "wp", &[])
    };
    let homeless = member(pod("wp-1", &[]), "wp", &[]);
    for broken in [unready, abroad, homeless] {
        let mut mesh = mesh();
        mesh.service(bound_service()).pod(bound_pod()).pod(broken);
        for to in ["10.1.0.1:80", "10.0.0.2:80"] {
            assert_eq!(
                mesh.route("client", to),
                format!(
                    "waypoint_unavailable: waypoint demo/wp.demo.svc.cluster.local of {to} \
                     has no ready endpoint"
                )
            );
        }
    }

    let mut mesh = mesh();
    mesh.service(bound_service());
    mesh.remove(Removal::Address(
        "demo/wp.demo.svc.cluster.local".to_owned(),
    ));
    assert_eq!(
        mesh.route("client", "10.1.0.1:80"),
        "waypoint_unavailable: waypoint demo/wp.demo.svc.cluster.local of 10.1.0.1:80 is unknown"
    );
}

/// A waypoint that is named by its own address must be ready as well.
#[test]
fn waypoint_by_address_must_be_ready() {
    let mut mesh = mesh();
    mesh.service(Service {
        waypoint: Some(waypoint_at("10.0.0.9")),
        ..web()
    })
    .pod(WorkloadDetails {
        health: Health::Unhealthy,
        ..pod("wp-1", &["10.0.0.9"])
    });

    let error = mesh.try_route("client", "10.1.0.1:80", 0).unwrap_err();

    assert_eq!(error.reason, CloseReason::WaypointUnavailable);
}

fn weighted(weights: &[(&str, u32)], fallback: Option<&str>) -> Service {
    let bind = |(name, weight): &(&str, u32)| WeightedWaypoint {
        waypoint: waypoint(name),
        weight: *weight,
    };
    Service {
        weighted_waypoints: weights.iter().map(bind).collect(),
        waypoint: fallback.map(waypoint),
        ..web()
    }
}

/// Several waypoints share connections by weight, and each uses all of its own endpoints.
#[test]
fn weighted_waypoints_share_connections() {
    let mut mesh = mesh();
    mesh.service(service("canary", &["10.1.0.8"], &[(15008, 15008)]))
        .pod(member(pod("canary-1", &["10.0.0.7"]), "canary", &[]))
        .pod(member(pod("canary-2", &["10.0.0.8"]), "canary", &[]))
        .service(weighted(&[("wp", 1), ("canary", 1)], None));

    let mut shares = std::collections::BTreeMap::new();
    for draw in 0..4000 {
        let route = mesh.try_route("client", "10.1.0.1:80", draw).unwrap();
        let Route::Tunnel { workload, .. } = route else {
            panic!("no tunnel")
        };
        *shares.entry(workload.name.to_string()).or_insert(0) += 1;
    }

    assert!((1800..2200).contains(&shares["wp-1"]), "{shares:?}");
    assert!((850..1150).contains(&shares["canary-1"]), "{shares:?}");
    assert!((850..1150).contains(&shares["canary-2"]), "{shares:?}");
}

/// Weights of zero leave the single waypoint, and without one refuse.
#[test]
fn zero_weights_never_bypass() {
    let mut mesh = mesh();
    mesh.service(weighted(&[("canary", 0)], Some("wp")));
    assert_eq!(mesh.route("client", "10.1.0.1:80"), TO_SERVICE);

    mesh.service(weighted(&[("canary", 0)], None));
    let error = mesh.try_route("client", "10.1.0.1:80", 0).unwrap_err();
    assert_eq!(error.reason, CloseReason::WaypointUnavailable);
}

/// No waypoint of a service sends to another one of it.
#[test]
fn weighted_waypoints_do_not_send_to_each_other() {
    let mut mesh = mesh();
    mesh.service(service("canary", &["10.1.0.8"], &[(15008, 15008)]))
        .pod(member(pod("canary-1", &["10.0.0.7"]), "canary", &[]))
        .service(weighted(&[("wp", 1), ("canary", 1)], None));

    for from in ["wp-1", "canary-1"] {
        for draw in 0..10 {
            let route = mesh.try_route(from, "10.1.0.1:80", draw).unwrap();
            assert!(
                matches!(route, Route::Tunnel { workload, .. } if *workload.uid() == uid("web-1"))
            );
        }
    }
}

/// An address that is a pod's as well is not a service's when it comes to waypoints (§7.1 step 1).
#[test]
fn pod_wins_over_service_for_waypoints() {
    let mut mesh = mesh();
    mesh.service(bound_service()).pod(pod("pod", &["10.1.0.1"]));

    assert_eq!(
        mesh.route("client", "10.1.0.1:80"),
        "tunnel 10.0.0.2:15008 10.0.0.2:8080 web-1 of web"
    );
}

/// A service whose endpoints may be unready still needs a waypoint that is ready.
#[test]
fn health_policy_of_the_service_does_not_reach_its_waypoint() {
    let mut mesh = mesh();
    mesh.service(Service {
        load_balancing: LoadBalancing {
            health_policy: ambimesh_state::HealthPolicy::AllowAll,
            ..LoadBalancing::default()
        },
        ..bound_service()
    })
    .pod(WorkloadDetails {
        health: Health::Unhealthy,
        ..member(pod("wp-1", &["10.0.0.9"]), "wp", &[])
    });

    let error = mesh.try_route("client", "10.1.0.1:80", 0).unwrap_err();

    assert_eq!(error.reason, CloseReason::WaypointUnavailable);
}

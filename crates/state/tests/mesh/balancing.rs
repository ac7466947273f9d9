//! Choice of endpoints. Source: node-proxy specification §10.

use std::collections::BTreeMap;

use ambimesh_state::{
    Health, HealthPolicy, LoadBalancing, Locality, Mode, Route, Scope, Service, WorkloadDetails,
};

use crate::mesh::{Mesh, member, outsider, pod, service};

fn balanced(load_balancing: LoadBalancing) -> Service {
    Service {
        load_balancing,
        ..service("web", &["10.1.0.1"], &[(80, 8080)])
    }
}

fn by(mode: Mode, preferences: &[Scope]) -> LoadBalancing {
    LoadBalancing {
        mode,
        preferences: preferences.to_vec(),
        ..LoadBalancing::default()
    }
}

fn at(region: &str, zone: &str, details: WorkloadDetails) -> WorkloadDetails {
    WorkloadDetails {
        locality: Locality {
            region: region.into(),
            zone: zone.into(),
            subzone: "".into(),
        },
        ..details
    }
}

fn endpoint(number: u8) -> WorkloadDetails {
    let (name, ip) = (format!("web-{number}"), format!("10.0.1.{number}"));
    member(outsider(&name, &[&ip]), "web", &[])
}

/// How often each endpoint is chosen in a thousand connections of the client.
fn shares(mesh: &Mesh) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for draw in 0..1000 {
        match mesh.try_route("client", "10.1.0.1:80", draw) {
            Ok(Route::Direct { workload, .. }) => {
                *shares.entry(workload.name.to_string()).or_insert(0) += 1;
            }
            Ok(route) => panic!("{route:?}"),
            Err(_) => {}
        }
    }
    shares
}

fn chosen(mesh: &Mesh) -> Vec<String> {
    shares(mesh).into_keys().collect()
}

fn client() -> WorkloadDetails {
    at("r1", "z1", pod("client", &["10.0.0.1"]))
}

/// Without preferences every endpoint is chosen, by its capacity.
#[test]
fn capacity_decides_the_shares() {
    let mut mesh = Mesh::default();
    mesh.pod(client())
        .service(balanced(LoadBalancing::default()));
    for (number, capacity) in [(1, 1), (2, 3), (3, 0)] {
        mesh.pod(WorkloadDetails {
            capacity,
            ..endpoint(number)
        });
    }

    let shares = shares(&mesh);

    assert!((200..300).contains(&shares["web-1"]), "{shares:?}");
    assert!(!shares.contains_key("web-3"), "capacity 0 is never picked");
}

/// Strict: every preference must hold, or nothing is chosen.
#[test]
fn strict_takes_only_full_matches() {
    let mut mesh = Mesh::default();
    mesh.pod(client())
        .service(balanced(by(Mode::Strict, &[Scope::Region, Scope::Zone])))
        .pod(at("r1", "z2", endpoint(1)));
    assert!(chosen(&mesh).is_empty());

    mesh.pod(at("r1", "z1", endpoint(2)));
    assert_eq!(chosen(&mesh), ["web-2"]);
}

/// Failover: the best rank that is there, counted up to the first preference that differs.
#[test]
fn failover_takes_the_best_rank() {
    let elsewhere = |number| WorkloadDetails {
        node: "node-2".into(),
        ..endpoint(number)
    };
    let preferences = [Scope::Region, Scope::Zone, Scope::Node];
    let mut mesh = Mesh::default();
    mesh.pod(client())
        .service(balanced(by(Mode::Failover, &preferences)));
    let ranks = [
        // Zone and node count for nothing where the region differs.
        at("r2", "z1", endpoint(1)),
        at("r1", "z2", elsewhere(2)),
        at("r1", "z1", elsewhere(3)),
        at("r1", "z1", endpoint(4)),
    ];
    for (rank, details) in ranks.into_iter().enumerate() {
        mesh.pod(details);
        assert_eq!(chosen(&mesh), [format!("web-{}", rank + 1)]);
    }
}

/// An endpoint without an address, or that is not ready, is never chosen.
#[test]
fn unusable_endpoints_are_passed_over() {
    let mut mesh = Mesh::default();
    mesh.pod(client())
        .service(balanced(LoadBalancing::default()))
        .pod(endpoint(1))
        .pod(member(outsider("homeless", &[]), "web", &[]))
        .pod(WorkloadDetails {
            health: Health::Unhealthy,
            ..endpoint(2)
        });

    assert_eq!(chosen(&mesh), ["web-1"]);
}

/// Specification §17.7: a service that turns to all endpoints gets its unready ones back.
#[test]
fn health_policy_is_asked_for_each_connection() {
    let unready = WorkloadDetails {
        health: Health::Unhealthy,
        ..endpoint(1)
    };
    let all = LoadBalancing {
        health_policy: HealthPolicy::AllowAll,
        ..LoadBalancing::default()
    };
    let mut mesh = Mesh::default();
    mesh.pod(client())
        .service(balanced(LoadBalancing::default()))
        .pod(unready);
    assert!(chosen(&mesh).is_empty());

    mesh.service(balanced(all));
    assert_eq!(chosen(&mesh), ["web-1"]);
}

/// The same draw gives the same endpoint: a route is a function of its inputs.
#[test]
fn same_draw_picks_the_same_endpoint() {
    let mut mesh = Mesh::default();
    mesh.pod(client())
        .service(balanced(LoadBalancing::default()));
    for number in 1..6 {
        mesh.pod(endpoint(number));
    }

    for draw in 0..20 {
        let once = mesh.try_route("client", "10.1.0.1:80", draw);
        assert_eq!(once, mesh.try_route("client", "10.1.0.1:80", draw));
    }
}

//! Which workload a key, an address or a pod stands for. Source: node-proxy specification §4.6.

use ambimesh_state::{Removal, WorkloadDetails};

use crate::mesh::{Mesh, member, outsider, pod, service_key, uid};

/// Of several on one address the pod, then the one that takes tunnels.
#[test]
fn shared_address_prefers_the_pod() {
    let mut mesh = Mesh::default();
    mesh.workload(
        "Kubernetes/networking.istio.io/WorkloadEntry/demo/vm",
        pod("vm", &["10.0.0.2"]),
    )
    .pod(outsider("plain", &["10.0.0.2"]));
    let at = |mesh: &Mesh| {
        let ip = "10.0.0.2".parse().unwrap();
        mesh.snapshot()
            .workload_by_address("", ip)
            .unwrap()
            .name
            .to_string()
    };
    assert_eq!(at(&mesh), "plain");

    mesh.pod(pod("captured", &["10.0.0.2"]));
    assert_eq!(at(&mesh), "captured");
}

/// A changed workload is not found by its old address.
#[test]
fn changed_workload_leaves_no_address_behind() {
    let mut mesh = Mesh::default();
    mesh.pod(pod("web", &["10.0.0.2", "fd00::2"]))
        .pod(pod("web", &["10.0.0.3"]));
    let found = |ip: &str| {
        let ip = ip.parse().unwrap();
        mesh.snapshot().workload_by_address("", ip).is_some()
    };

    assert!(!found("10.0.0.2") && !found("fd00::2") && found("10.0.0.3"));
}

/// A pod is found by namespace, name and service account, on its own node only.
#[test]
fn local_workload_is_of_the_own_node() {
    let mut mesh = Mesh::for_node("node-1");
    let elsewhere = WorkloadDetails {
        node: "node-2".into(),
        ..pod("far", &["10.0.1.1"])
    };
    mesh.pod(pod("near", &["10.0.0.1"])).pod(elsewhere);
    let snapshot = mesh.snapshot();

    assert!(snapshot.local_workload("demo", "near", "near").is_some());
    assert!(snapshot.local_workload("demo", "near", "other").is_none());
    assert!(snapshot.local_workload("other", "near", "near").is_none());
    assert!(snapshot.local_workload("demo", "far", "far").is_none());
}

/// Specification §4.4: a removed name is a workload's uid first, then a service's key.
#[test]
fn removal_takes_the_workload_first() {
    let mut mesh = Mesh::default();
    mesh.pod(member(pod("web", &["10.0.0.2"]), "web", &[]));

    mesh.remove(Removal::Address(uid("web").to_string()))
        .remove(Removal::Address("nobody".to_owned()));

    let snapshot = mesh.snapshot();
    assert!(snapshot.workload_by_uid(&uid("web")).is_none());
    assert_eq!(snapshot.endpoints(&service_key("web")).count(), 0);
}

/// Who holds a picture keeps it: a later change does not reach into it.
#[test]
fn pictures_never_change() {
    let mut mesh = Mesh::default();
    mesh.pod(pod("web", &["10.0.0.2"]));
    let before = mesh.snapshot();

    mesh.remove(Removal::Address(uid("web").to_string()));

    let after = mesh.snapshot();
    assert!(before.workload_by_uid(&uid("web")).is_some());
    assert!(after.workload_by_uid(&uid("web")).is_none());
    assert!(after.generation() > before.generation());
}

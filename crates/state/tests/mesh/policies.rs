//! Which policies apply to a workload. Source: node-proxy specification §9.1.

use ambimesh_policy::{Action, AllOf, AnyOf, Decision, Facts, Policy, PolicyKey, Scope};
use ambimesh_state::{Removal, WorkloadDetails};
use ambimesh_types::SourceAddr;

use crate::mesh::{Mesh, pod, uid};

fn deny(namespace: &str, scope: Scope) -> Policy {
    Policy {
        key: PolicyKey::new(namespace, "deny"),
        scope,
        action: Action::Deny,
        is_dry_run: false,
        rules: AnyOf(vec![AllOf(vec![])]),
    }
}

fn verdict(mesh: &Mesh) -> Decision {
    let snapshot = mesh.snapshot();
    let workload = snapshot.workload_by_uid(&uid("web")).unwrap();
    snapshot.policies_of(workload).decide(&Facts {
        identity: None,
        source: SourceAddr::new("10.0.0.1:4000".parse().unwrap()),
        destination: "10.0.0.2:80".parse().unwrap(),
    })
}

fn mesh(listed: &[&str]) -> Mesh {
    let mut mesh = Mesh::default();
    mesh.pod(WorkloadDetails {
        authorization_policies: listed.iter().map(|key| key.parse().unwrap()).collect(),
        ..pod("web", &["10.0.0.2"])
    });
    mesh
}

/// The mesh's and the namespace's apply to all, the others to who lists them.
#[test]
fn scope_decides_whom_a_policy_is_about() {
    for (namespace, scope, listed, applies) in [
        ("istio-system", Scope::Global, false, true),
        ("demo", Scope::Namespace, false, true),
        ("other", Scope::Namespace, false, false),
        ("other", Scope::Namespace, true, true),
        ("demo", Scope::WorkloadSelector, false, false),
        ("demo", Scope::WorkloadSelector, true, true),
    ] {
        let key = format!("{namespace}/deny");
        let listing: &[&str] = if listed { &[&key] } else { &[] };
        let mut mesh = mesh(listing);
        mesh.policy(deny(namespace, scope));

        assert_eq!(
            !verdict(&mesh).is_allowed(),
            applies,
            "{namespace} {scope:?} {listed}"
        );
    }
}

/// A policy that changes its scope is found under the new one only.
#[test]
fn changed_scope_moves_the_policy() {
    let mut mesh = mesh(&[]);
    mesh.policy(deny("demo", Scope::Namespace))
        .policy(deny("demo", Scope::WorkloadSelector));
    assert!(verdict(&mesh).is_allowed());

    mesh.policy(deny("demo", Scope::Global));
    assert!(!verdict(&mesh).is_allowed());
}

/// What a listed policy says cannot be known before it arrives: refused until then. Once
/// discovery has taken it away, who still lists it does not wait for it.
#[test]
fn listed_policy_that_never_came_refuses() {
    let mut mesh = mesh(&["demo/deny"]);
    let key = PolicyKey::new("demo", "deny");
    assert_eq!(verdict(&mesh), Decision::PolicyMissing(key.clone()));

    mesh.policy(deny("demo", Scope::WorkloadSelector));
    assert_eq!(verdict(&mesh), Decision::DeniedBy(key.clone()));

    mesh.remove(Removal::Policy(key));
    assert_eq!(verdict(&mesh), Decision::AllowedByDefault);
}

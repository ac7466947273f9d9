//! The keys that `istioctl ztunnel-config` reads. Source: node-proxy specification §12.4.

use ambimesh_policy::{Action, AllOf, AnyOf, Match, Policy, PolicyKey, Scope, Sides, StringMatch};
use ambimesh_state::{Dump, Service, WorkloadDetails};
use serde_json::json;

use crate::mesh::{Mesh, member, pod, service, waypoint};

/// Every kind of object appears under Istio's names.
#[test]
fn dump_has_the_keys_of_istio() {
    let principals = Sides {
        any_of: vec![StringMatch::Exact("a".into())],
        none_of: vec![StringMatch::Presence],
    };
    let mut mesh = Mesh::default();
    mesh.pod(WorkloadDetails {
        waypoint: Some(waypoint("wp")),
        ..member(pod("web-1", &["10.0.0.2"]), "web", &[(80, 8080)])
    })
    .service(Service {
        waypoint: Some(waypoint("wp")),
        ..service("web", &["10.1.0.1"], &[(80, 8080)])
    })
    .policy(Policy {
        key: PolicyKey::new("demo", "p"),
        scope: Scope::Namespace,
        action: Action::Deny,
        is_dry_run: false,
        rules: AnyOf(vec![AllOf(vec![AnyOf(vec![Match {
            principals,
            ..Match::default()
        }])])]),
    });

    let dump = serde_json::to_value(Dump::new(&mesh.snapshot())).unwrap();

    let key = "demo/web.demo.svc.cluster.local";
    let uid = "Kubernetes//Pod/demo/web-1";
    let gateway =
        json!({ "destination": "demo/wp.demo.svc.cluster.local", "hboneMtlsPort": 15008 });
    let workload = &dump["workloads"][0];
    assert_eq!(workload["workloadIps"], json!(["10.0.0.2"]));
    assert_eq!(workload["uid"], uid);
    assert_eq!(workload["protocol"], "HBONE");
    assert_eq!(workload["status"], "Healthy");
    assert_eq!(workload["services"], json!([key]));
    assert_eq!(workload["waypoint"], gateway);
    assert_eq!(workload["serviceAccount"], "web-1");
    let service = &dump["services"][0];
    assert_eq!(service["vips"], json!(["/10.1.0.1"]));
    assert_eq!(service["ports"], json!({ "80": 8080 }));
    assert_eq!(service["waypoint"], gateway);
    assert_eq!(
        service["endpoints"][uid],
        json!({ "workloadUid": uid, "port": { "80": 8080 }, "status": "Healthy" })
    );
    let policy = &dump["policies"][0];
    assert_eq!(
        (&policy["scope"], &policy["action"]),
        (&json!("Namespace"), &json!("Deny"))
    );
    assert_eq!(
        policy["rules"][0][0][0]["principals"],
        json!([{ "Exact": "a" }])
    );
    assert_eq!(
        policy["rules"][0][0][0]["notPrincipals"],
        json!([{ "Presence": [] }])
    );
}

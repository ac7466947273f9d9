//! Headers against specification §6.2, and against peers that send anything.

use std::sync::Arc;

use ambimesh_hbone::HeaderList;
use ambimesh_state::{Service, Workload, WorkloadDetails};
use ambimesh_types::{OriginalDst, SourceAddr, WorkloadUid};
use proptest::prelude::*;

use super::*;

fn facts(source: &str) -> Facts {
    let source = SourceAddr::new(source.parse().unwrap());
    Facts::new(
        "uid".into(),
        source,
        OriginalDst::new("10.0.0.2:80".parse().unwrap()),
    )
}

fn workload() -> Workload {
    let details = WorkloadDetails {
        namespace: "demo".into(),
        cluster_id: "Kubernetes".into(),
        workload_type: "deployment".into(),
        workload_name: "curl".into(),
        canonical_name: "curl".into(),
        ..Default::default()
    };
    Workload::new(WorkloadUid::new("uid"), details)
}

/// Fields come in Istio's order, without spaces; those without value are left out.
#[test]
fn baggage_names_the_workload() {
    let expected = "k8s.cluster.name=Kubernetes,k8s.namespace.name=demo,\
                    k8s.deployment.name=curl,service.name=curl";

    assert_eq!(baggage(&workload()), expected);
}

/// The address is quoted, IPv6 in brackets, and the service follows when it is known.
#[test]
fn forwarded_names_source_and_service() {
    let mut facts = facts("[::1]:80");
    assert_eq!(forwarded(&facts), "for=\"[::1]:80\"");

    facts.destination_service = Some(Arc::new(Service {
        hostname: "web.demo.svc.cluster.local".into(),
        ..Default::default()
    }));

    assert_eq!(
        forwarded(&facts),
        "for=\"[::1]:80\";host=web.demo.svc.cluster.local"
    );
}

/// What one proxy writes the other reads.
#[test]
fn a_request_is_read_back() {
    let mut facts = facts("10.0.0.1:4000");
    facts.trace_id = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
    facts.source_workload = Some(Arc::new(workload()));
    facts.destination_service = Some(Arc::new(Service {
        hostname: "web".into(),
        ..Default::default()
    }));

    let request = connect_request(&facts, "10.0.0.2:80".parse().unwrap(), true);

    assert_eq!(trace_id(&request.headers), Some(facts.trace_id));
    assert_eq!(forwarded_host(&request.headers).as_deref(), Some("web"));
    assert_eq!(
        baggage_of(&request.headers).as_deref(),
        Some(&*baggage(&workload()))
    );
}

/// A reason is a word of ours; anything else is not repeated into logs.
#[test]
fn reasons_are_words() {
    let with = |value: &str| HeaderList::new().with(REASON, value);

    assert_eq!(reason(&with("policy_denied")), Some("policy_denied"));
    assert_eq!(reason(&with("policy denied\n")), None);
    assert_eq!(reason(&with(&"a".repeat(65))), None);
}

proptest! {
    /// No bytes of a peer make a parser panic (specification §17, defect 4).
    #[test]
    fn any_value_is_answered(value in prop::collection::vec(any::<u8>(), 0..80)) {
        let headers = HeaderList::new()
            .with(TRACEPARENT, &value)
            .with(FORWARDED, &value)
            .with(BAGGAGE, &value)
            .with(REASON, &value);

        let _ = (trace_id(&headers), forwarded_host(&headers), baggage_of(&headers), reason(&headers));
    }
}

//! The dialogue of a subscriber.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message as _;

use super::Session;
use crate::convert::{ADDRESS_TYPE, AUTHORIZATION_TYPE};
use crate::wire::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Node, Resource};
use crate::wire::istio::workload::{Address, Workload, address};

fn resource(name: &str, version: &str, is_good: bool) -> Resource {
    let addresses = if is_good {
        vec![]
    } else {
        vec![vec![1].into()]
    };
    let workload = Workload {
        uid: name.into(),
        addresses,
        ..Workload::default()
    };
    let value = Address {
        r#type: Some(address::Type::Workload(workload)),
    }
    .encode_to_vec();
    Resource {
        name: name.into(),
        version: version.into(),
        resource: Some(prost_types::Any {
            type_url: ADDRESS_TYPE.into(),
            value,
        }),
        ..Resource::default()
    }
}

fn response(url: &str, resources: Vec<Resource>, removed: Vec<&str>) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: url.into(),
        nonce: "n1".into(),
        resources,
        removed_resources: removed.into_iter().map(Into::into).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

fn held(session: &Session) -> BTreeMap<String, String> {
    session.connected()[0]
        .initial_resource_versions
        .clone()
        .into_iter()
        .collect()
}

/// Specification §4.2: both types are asked for by wildcard, addresses first, with the node.
#[test]
fn first_requests_ask_for_every_type() {
    let session = Session::new(Node {
        id: "ztunnel~x".into(),
        ..Node::default()
    });

    let requests = session.connected();

    let urls: Vec<_> = requests.iter().map(|r| r.type_url.as_str()).collect();
    assert_eq!(urls, [ADDRESS_TYPE, AUTHORIZATION_TYPE]);
    assert!(
        requests
            .iter()
            .all(|r| r.resource_names_subscribe.is_empty())
    );
    assert_eq!(requests[0].node.as_ref().unwrap().id, "ztunnel~x");
}

/// Specification §4.3: a bad resource is named in the refusal, the good ones are applied.
#[test]
fn bad_resource_is_refused_alone() {
    let mut session = Session::new(Node::default());
    let answer = response(
        ADDRESS_TYPE,
        vec![resource("a", "1", true), resource("b", "1", false)],
        vec![],
    );

    let received = session.receive(answer);

    let refusal = received.reply.error_detail.unwrap();
    assert_eq!(received.updates.len(), 1);
    assert_eq!(refusal.message, "b: address of 1 bytes");
    assert_eq!(received.reply.response_nonce, "n1");
    assert_eq!(held(&session), BTreeMap::from([("a".into(), "1".into())]));
}

/// Specification §4.3: ready when every type has been accepted once; a refusal does not count.
#[test]
fn readiness_waits_for_every_type() {
    let mut session = Session::new(Node::default());

    session.receive(response(
        ADDRESS_TYPE,
        vec![resource("a", "1", false)],
        vec![],
    ));
    session.receive(response(AUTHORIZATION_TYPE, vec![], vec![]));
    assert!(!session.has_synced());
    session.receive(response(ADDRESS_TYPE, vec![], vec![]));
    assert!(session.has_synced());
}

/// Specification §17.13: a type that nobody asked for is refused, not silently accepted.
#[test]
fn unknown_type_is_refused() {
    let mut session = Session::new(Node::default());

    let received = session.receive(response("type.googleapis.com/other", vec![], vec![]));

    assert!(received.reply.error_detail.is_some());
}

proptest! {
    /// After any answers, the versions told on the next connection are the newest good ones.
    #[test]
    fn held_versions_follow_the_answers(
        steps in prop::collection::vec((0..4u8, 0..3u8, any::<bool>()), 0..40)
    ) {
        let mut session = Session::new(Node::default());
        let mut model = BTreeMap::new();
        for (number, (name, kind, is_good)) in steps.into_iter().enumerate() {
            let (name, version) = (format!("w{name}"), number.to_string());
            if kind == 0 {
                session.receive(response(ADDRESS_TYPE, vec![], vec![&name]));
                model.remove(&name);
            } else {
                session.receive(response(ADDRESS_TYPE, vec![resource(&name, &version, is_good)], vec![]));
                if is_good {
                    model.insert(name, version);
                }
            }
        }

        prop_assert_eq!(held(&session), model);
    }
}

//! The dialogue of a subscriber.

use std::collections::BTreeMap;

use ambimesh_policy::Facts;
use ambimesh_state::{Store, WorkloadDetails};
use ambimesh_types::{SourceAddr, WorkloadUid};
use proptest::prelude::*;
use prost::Message as _;

use super::Session;
use crate::convert::{ADDRESS_TYPE, AUTHORIZATION_TYPE};
use crate::wire::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Node, Resource};
use crate::wire::istio::security::{Action, Authorization, Clause, Match, Rule, Scope};
use crate::wire::istio::workload::{Address, Workload, address};

fn resource(name: &str, version: &str, is_good: bool) -> Resource {
    let addresses = if is_good { vec![] } else { vec![vec![1]] };
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

/// A resource under another name than its own could never be removed again: refused.
#[test]
fn misnamed_resource_is_refused() {
    let mut session = Session::new(Node::default());
    let misnamed = Resource {
        name: "b".into(),
        ..resource("a", "1", true)
    };

    let received = session.receive(response(ADDRESS_TYPE, vec![misnamed], vec![]));

    assert!(received.updates.is_empty());
    assert_eq!(
        received.reply.error_detail.unwrap().message,
        "b: describes a"
    );
    assert!(held(&session).is_empty());
}

fn policy(action: Action, port: u32) -> Resource {
    let condition = Match {
        destination_ports: vec![port],
        ..Match::default()
    };
    let message = Authorization {
        name: "p".into(),
        namespace: "demo".into(),
        scope: Scope::Namespace.into(),
        action: action.into(),
        rules: vec![Rule {
            clauses: vec![Clause {
                matches: vec![condition],
            }],
        }],
        ..Authorization::default()
    };
    Resource {
        name: "demo/p".into(),
        version: port.to_string(),
        resource: Some(prost_types::Any {
            type_url: AUTHORIZATION_TYPE.into(),
            value: message.encode_to_vec(),
        }),
        ..Resource::default()
    }
}

/// Nothing fails open: a policy that cannot be understood lets nothing through that it could
/// have stopped, until it is understood or taken away.
#[test]
fn refused_policy_is_replaced_by_the_strictest() {
    for action in [Action::Allow, Action::Deny] {
        let mut session = Session::new(Node::default());
        let mut store = Store::new();
        let mut take = |session: &mut Session, resources, removed| {
            let answer = response(AUTHORIZATION_TYPE, resources, removed);
            let received = session.receive(answer);
            store.apply(received.updates, received.removals);
            (received.rejected.len(), is_allowed(&store, 80))
        };

        let bad = || vec![policy(action, 70_000)];
        assert_eq!(take(&mut session, bad(), vec![]), (1, false), "{action:?}");
        let good = vec![policy(action, 80)];
        assert_eq!(
            take(&mut session, good, vec![]),
            (0, action == Action::Allow)
        );
        assert_eq!(
            take(&mut session, bad(), vec![]),
            (1, action == Action::Allow),
            "the old version stays in force"
        );
        assert_eq!(take(&mut session, vec![], vec!["demo/p"]), (0, true));
    }
}

fn is_allowed(store: &Store, port: u16) -> bool {
    let details = WorkloadDetails {
        namespace: "demo".into(),
        ..WorkloadDetails::default()
    };
    let workload = ambimesh_state::Workload::new(WorkloadUid::new("w"), details);
    let snapshot = store.published().load();
    let decision = snapshot.policies_of(&workload).decide(&Facts {
        identity: None,
        source: SourceAddr::new(([10, 0, 0, 1], 4000).into()),
        destination: ([10, 0, 0, 2], port).into(),
    });
    decision.is_allowed()
}

/// A refusal is for people: its text does not grow with the number of bad resources.
#[test]
fn text_of_a_refusal_is_bounded() {
    let bad = (0..1000).map(|number| resource(&format!("w{number}"), "1", false));

    let received =
        Session::new(Node::default()).receive(response(ADDRESS_TYPE, bad.collect(), vec![]));

    let refusal = received.reply.error_detail.unwrap();
    assert!(refusal.message.len() <= 4200 && refusal.message.ends_with("; ..."));
    assert_eq!(received.rejected.len(), 1000);
}

proptest! {
    /// No answer makes the dialogue panic, and each is replied to under its own nonce and type.
    #[test]
    fn any_answer_is_replied_to(
        url in prop::sample::select(vec![ADDRESS_TYPE, AUTHORIZATION_TYPE, "other"]),
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        removed in prop::collection::vec(".{0,12}", 0..4),
    ) {
        let resources = bodies.into_iter().map(|value| Resource {
            resource: Some(prost_types::Any { type_url: url.into(), value }),
            ..Resource::default()
        });
        let answer = response(url, resources.collect(), removed.iter().map(String::as_str).collect());

        let received = Session::new(Node::default()).receive(answer);

        prop_assert_eq!(received.reply.type_url, url);
        prop_assert_eq!(received.reply.response_nonce, "n1");
        prop_assert_eq!(received.reply.error_detail.is_none(), received.rejected.is_empty());
    }

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

//! What is taken, what is refused, and that nothing panics.

use proptest::prelude::*;
use prost::Message as _;

use super::{ADDRESS_TYPE, AUTHORIZATION_TYPE, convert};
use crate::wire::istio::security::{
    Address as Range, Authorization, Clause, Match, Rule, StringMatch,
};
use crate::wire::istio::workload::{Address, Service, Workload, address};
use ambimesh_state::Update;

fn of_workload(workload: Workload) -> Vec<u8> {
    Address {
        r#type: Some(address::Type::Workload(workload)),
    }
    .encode_to_vec()
}

fn of_match(m: Match) -> Vec<u8> {
    let rules = vec![Rule {
        clauses: vec![Clause { matches: vec![m] }],
    }];
    Authorization {
        name: "p".into(),
        rules,
        ..Authorization::default()
    }
    .encode_to_vec()
}

/// Specification §4.5: empty fields stand for their defaults.
#[test]
fn empty_fields_get_their_defaults() {
    let message = Workload {
        uid: "Kubernetes//Pod/demo/web".into(),
        ..Workload::default()
    };

    let Update::Workload(workload) = convert(ADDRESS_TYPE, &of_workload(message)).unwrap() else {
        panic!("not a workload")
    };

    assert_eq!(
        workload.identity().as_str(),
        "spiffe://cluster.local/ns//sa/default"
    );
    assert_eq!(
        (&*workload.cluster_id, workload.capacity),
        ("Kubernetes", 1)
    );
}

/// Specification §17.5: what cannot be understood is refused, not left out of a condition.
#[test]
fn malformed_pieces_of_policies_are_refused() {
    let pieces = [
        Match {
            source_ips: vec![Range {
                address: vec![1, 2, 3],
                length: 8,
            }],
            ..Match::default()
        },
        Match {
            source_ips: vec![Range {
                address: vec![1, 2, 3, 4],
                length: 33,
            }],
            ..Match::default()
        },
        Match {
            principals: vec![StringMatch::default()],
            ..Match::default()
        },
        Match {
            destination_ports: vec![70_000],
            ..Match::default()
        },
    ];
    for piece in pieces {
        assert!(
            convert(AUTHORIZATION_TYPE, &of_match(piece.clone())).is_err(),
            "{piece:?}"
        );
    }
}

/// Specification §4.5: addresses have 4 or 16 bytes, services have a namespace and a hostname.
#[test]
fn malformed_addresses_are_refused() {
    let message = Workload {
        uid: "u".into(),
        addresses: vec![vec![1, 2, 3]],
        ..Workload::default()
    };
    assert!(convert(ADDRESS_TYPE, &of_workload(message)).is_err());
    let nameless = Address {
        r#type: Some(address::Type::Service(Service::default())),
    };
    assert!(convert(ADDRESS_TYPE, &nameless.encode_to_vec()).is_err());
    assert!(convert(ADDRESS_TYPE, &[]).is_err());
}

proptest! {
    /// No bytes make a conversion panic.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = convert(ADDRESS_TYPE, &bytes);
        let _ = convert(AUTHORIZATION_TYPE, &bytes);
    }
}

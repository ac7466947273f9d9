//! Policies, at the start and while a connection is open.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use ambimesh_policy::{Action, Match, PolicyKey, Sides, StringMatch};
use ambimesh_state::{Protocol, Removal, Update, Workload, WorkloadDetails};
use ambimesh_types::CloseReason;

use crate::rig::{Rig, policy, uid, workload};

fn from_client() -> Match {
    let client = StringMatch::Exact("cluster.local/ns/demo/sa/client".into());
    Match {
        principals: Sides {
            any_of: vec![client],
            none_of: vec![],
        },
        ..Match::default()
    }
}

/// A denied caller gets a reset; both logs say why, the denied side with the policy's name.
#[test]
fn a_denied_caller_is_reset_and_told_why() {
    let rig = Rig::new();
    rig.apply([policy("no-client", Action::Deny, [from_client()])]);
    rig.server.wait_for_engine();
    let listener = rig.listen();

    let error = rig.client.connect_refused(listener.local_addr().unwrap());

    assert_eq!(error, ErrorKind::ConnectionReset);
    let (_, outbound) = rig.client.reports.wait_closed();
    assert_eq!(
        outbound.detail.as_deref(),
        Some("http status: 401 (policy_denied)")
    );
    let (_, inbound) = rig.server.reports.wait_closed();
    assert_eq!(inbound.reason, CloseReason::PolicyDenied);
    assert!(
        inbound
            .detail
            .unwrap()
            .ends_with("explicitly denied by: demo/no-client")
    );
}

/// A new denial ends what is open; taking it back lets new connections in.
#[test]
fn a_policy_change_is_in_force_on_open_connections() {
    let rig = Rig::new();
    let listener = rig.listen();
    let (mut client, mut server) = rig.connect(&listener);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();

    rig.apply([policy("no-client", Action::Deny, [from_client()])]);

    assert_eq!(
        client.read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        server.read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        rig.server.reports.wait_closed().1.reason,
        CloseReason::PolicyChanged
    );
    rig.change([], [Removal::Policy(PolicyKey::new("demo", "no-client"))]);
    rig.server.wait_for_engine();
    rig.connect(&listener);
}

/// An unrelated policy leaves open connections alone.
#[test]
fn a_policy_about_others_ends_nothing() {
    let rig = Rig::new();
    let listener = rig.listen();
    let (mut client, mut server) = rig.connect(&listener);
    let other = StringMatch::Exact("cluster.local/ns/demo/sa/other".into());
    let others = Match {
        principals: Sides {
            any_of: vec![other],
            none_of: vec![],
        },
        ..Match::default()
    };

    rig.apply([policy("no-others", Action::Deny, [others])]);
    rig.server.wait_for_engine();

    client.write_all(b"still here").unwrap();
    server.read_exact(&mut [0; 10]).unwrap();
    assert_eq!(rig.server.engine.active(), 2);
}

/// A policy that wants an identity refuses plaintext, new and open (design §3, step 9).
#[test]
fn plaintext_has_no_identity_to_be_allowed_by() {
    let rig = Rig::new();
    let details = WorkloadDetails {
        protocol: Protocol::Tcp,
        ..(*workload("server", 2)).clone()
    };
    rig.apply([Update::Workload(Arc::new(Workload::new(
        uid("server"),
        details,
    )))]);
    rig.client.wait_for_engine();
    let listener = rig.listen();
    let (mut open, _server) = rig.connect(&listener);

    rig.apply([policy("client-only", Action::Allow, [from_client()])]);

    assert!(open.read(&mut [0; 8]).is_err());
    assert_eq!(
        rig.server.reports.wait_closed().1.reason,
        CloseReason::PolicyChanged
    );
    rig.client.connect_refused(listener.local_addr().unwrap());
    assert_eq!(
        rig.server.reports.wait_closed().1.reason,
        CloseReason::PolicyDenied
    );
}

//! What goes through without a tunnel.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use ambimesh_engine::Direction;
use ambimesh_state::{Protocol, Removal, Update, Workload, WorkloadDetails};
use ambimesh_types::CloseReason;

use crate::rig::{Rig, uid, workload};

/// A destination that discovery does not know is passed through, byte by byte, both ways.
#[test]
fn unknown_destinations_pass_untouched() {
    let rig = Rig::new();
    rig.change([], [Removal::Address(uid("server").to_string())]);
    rig.client.wait_for_engine();
    rig.server.release();
    let listener = rig.listen();

    let (mut client, mut server) = rig.connect(&listener);
    server.write_all(b"banner first").unwrap();
    let mut banner = [0; 12];
    client.read_exact(&mut banner).unwrap();
    client.write_all(b"\x00garbage\xff").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut garbage = Vec::new();
    server.read_to_end(&mut garbage).unwrap();
    drop(server);

    assert_eq!(
        (&banner, &*garbage),
        (b"banner first", &b"\x00garbage\xff"[..])
    );
    let (facts, end) = rig.client.reports.wait_closed();
    assert_eq!(
        (end.reason, facts.authority, facts.direction),
        (CloseReason::Finished, None, Direction::Outbound)
    );
    assert_eq!((end.transferred.received, end.transferred.sent), (9, 12));
}

/// A known workload outside the mesh is reached in plaintext; at its own captured pod that is an
/// inbound plaintext connection without identity, from the client's address.
#[test]
fn plaintext_arrives_without_identity_and_with_its_address() {
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

    let (mut client, mut server) = rig.connect(&listener);
    client.write_all(b"plain").unwrap();
    let mut received = [0; 5];
    server.read_exact(&mut received).unwrap();
    let seen = server.peer_addr().unwrap().ip();
    drop((client, server));

    assert_eq!((&received, seen), (b"plain", rig.client.ip));
    let (inbound, end) = rig.server.reports.wait_closed();
    assert_eq!(inbound.direction, Direction::InboundPlaintext);
    assert_eq!(
        (inbound.source_identity, end.reason),
        (None, CloseReason::Finished)
    );
    assert_eq!(
        inbound.original_destination.socket_addr(),
        listener.local_addr().unwrap()
    );
}

/// A port that nobody listens on refuses, at both ends, with the reason.
#[test]
fn a_refused_connect_is_a_reset_with_its_reason() {
    let rig = Rig::new();
    let nobody = SocketAddr::new(rig.server.ip, 9);

    let error = rig.client.connect_refused(nobody);

    assert_eq!(error, ErrorKind::ConnectionReset);
    let (_, outbound) = rig.client.reports.wait_closed();
    let (_, inbound) = rig.server.reports.wait_closed();
    assert_eq!(outbound.reason, CloseReason::TunnelRefused);
    assert_eq!(
        outbound.detail.as_deref(),
        Some("http status: 503 (connect_failed)")
    );
    assert_eq!(inbound.reason, CloseReason::ConnectFailed);
}

/// The proxy's own ports are not a way to make it call itself (specification §2.7).
#[test]
fn own_ports_are_refused_as_recursion() {
    let rig = Rig::new();
    let own = ["127.0.0.1".parse().unwrap(), rig.client.ip];
    for target in own.map(|ip| SocketAddr::new(ip, 15001)) {
        rig.client.connect_refused(target);
        let reports = rig
            .client
            .reports
            .wait_until(|reports| !reports.failed.is_empty());
        assert_eq!(
            reports.failed.last().unwrap().1.reason,
            CloseReason::Recursion,
            "{target}"
        );
    }
    for port in [15001, 15006, 15008] {
        rig.client
            .connect_refused(SocketAddr::new(rig.server.ip, port));
        let (_, end) = rig.client.reports.wait_closed();
        assert_eq!(
            end.detail.as_deref(),
            Some("http status: 503 (recursion)"),
            "{port}"
        );
    }
}

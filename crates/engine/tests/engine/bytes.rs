//! Bytes, ends and resets through a tunnel.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use ambimesh_engine::Settings;
use ambimesh_types::CloseReason;
use socket2::SockRef;

use crate::noise::{read_noise, send_noise};
use crate::rig::{Rig, Wish};

/// An echo goes through a tunnel; the server sees the client's address, both logs agree.
#[test]
fn an_echo_goes_through_a_tunnel() {
    let rig = Rig::new();
    let listener = rig.listen();

    let (mut client, mut server) = rig.connect(&listener);
    client.write_all(b"hello").unwrap();
    let mut received = [0; 5];
    server.read_exact(&mut received).unwrap();
    server.write_all(b"world!").unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    let seen = server.peer_addr().unwrap().ip();
    drop(client);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    drop(server);

    assert_eq!(
        (&received, &answer, seen),
        (b"hello", b"world!", rig.client.ip)
    );
    let (outbound, outbound_end) = rig.client.reports.wait_closed();
    let (inbound, inbound_end) = rig.server.reports.wait_closed();
    for end in [&outbound_end, &inbound_end] {
        assert_eq!(end.reason, CloseReason::Finished, "{end:?}");
        assert_eq!((end.transferred.received, end.transferred.sent), (5, 6));
    }
    assert_eq!(outbound.destination.port(), 15008);
    assert_eq!(outbound.source_identity, Some(rig.client.identity()));
    assert_eq!(inbound.source_identity, Some(rig.client.identity()));
    assert_eq!(inbound.destination_identity, Some(rig.server.identity()));
    assert_eq!(inbound.trace_id, outbound.trace_id);
    assert_eq!(inbound.authority, outbound.authority);
}

/// After one side has ended the other still speaks, both ways round (design D10).
#[test]
fn half_close_travels_in_both_directions() {
    let rig = Rig::new();
    let listener = rig.listen();

    let (client, server) = rig.connect(&listener);
    half_close(client, server);
    let (client, server) = rig.connect(&listener);
    half_close(server, client);

    for _ in 0..2 {
        assert_eq!(
            rig.client.reports.wait_closed().1.reason,
            CloseReason::Finished
        );
    }
}

fn half_close(mut first: TcpStream, mut second: TcpStream) {
    first.write_all(b"question").unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    let mut question = Vec::new();
    second.read_to_end(&mut question).unwrap();
    assert_eq!(question, b"question");
    second.write_all(b"answer").unwrap();
    second.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    first.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"answer");
}

/// A reset of either end arrives as a reset at the other, with its reason.
#[test]
fn resets_travel_in_both_directions() {
    let rig = Rig::new();
    let listener = rig.listen();

    let (mut client, mut server) = rig.connect(&listener);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    reset(client);
    let error = server.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        rig.client.reports.wait_closed().1.reason,
        CloseReason::SourceReset
    );
    assert_eq!(
        rig.server.reports.wait_closed().1.reason,
        CloseReason::SourceReset
    );

    let (mut client, mut server) = rig.connect(&listener);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    reset(server);
    let error = client.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(
        rig.client.reports.wait_closed().1.reason,
        CloseReason::DestinationReset
    );
    assert_eq!(
        rig.server.reports.wait_closed().1.reason,
        CloseReason::DestinationReset
    );
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(stream);
}

/// 64 MiB in each direction at once arrive as they were sent.
#[test]
fn bulk_data_arrives_unchanged_in_both_directions() {
    const BYTES: usize = 64 << 20;
    let rig = Rig::new();
    let listener = rig.listen();
    let (client, server) = rig.connect(&listener);

    let sums: Vec<u64> = thread::scope(|scope| {
        let ends = [(&client, 1), (&server, 2)];
        for (stream, seed) in ends {
            scope.spawn(move || send_noise(stream, seed, BYTES));
        }
        let readers = ends.map(|(stream, seed)| scope.spawn(move || read_noise(stream, 3 - seed)));
        readers.map(|reader| reader.join().unwrap()).to_vec()
    });

    assert_eq!(sums, [BYTES as u64, BYTES as u64]);
    let (_, end) = rig.client.reports.wait_closed();
    assert_eq!(
        (end.transferred.received, end.transferred.sent),
        (sums[0], sums[1])
    );
    let reports = rig.client.reports.wait_until(|_| true);
    assert_eq!(reports.progressed, end.transferred);
}

/// Tunnels with windows that lost credit uses up.
fn narrow_rig() -> Rig {
    let mut settings = Settings::default();
    for side in [&mut settings.client, &mut settings.server] {
        *side = side.with_stream_window(256 << 10);
        side.connection_window = 1 << 20;
    }
    Rig::with(&Wish {
        settings,
        ..Wish::default()
    })
}

/// Aborted transfers give their credit back: after more bytes than the tunnel's window were
/// thrown away on one tunnel, it still carries data.
#[test]
fn aborted_downloads_return_their_credit() {
    let rig = narrow_rig();
    let listener = rig.listen();
    for _ in 0..300 {
        let (mut client, server) = rig.connect(&listener);
        let writer = thread::spawn(move || {
            let mut server = server;
            // Until the reset arrives: what is under way then is lost, and must be credited.
            while server.write_all(&[7; 8 << 10]).is_ok() {}
        });
        client.read_exact(&mut [0; 1000]).unwrap();
        reset(client);
        writer.join().unwrap();
    }

    let (client, server) = rig.connect(&listener);
    let received = thread::scope(|scope| {
        scope.spawn(|| send_noise(&server, 1, 32 << 20));
        scope.spawn(|| read_noise(&client, 1)).join().unwrap()
    });

    assert_eq!(received, 32 << 20);
}

/// One byte at a time goes through one byte at a time.
#[test]
fn single_bytes_are_not_held_back() {
    let rig = Rig::new();
    let listener = rig.listen();
    let (mut client, mut server) = rig.connect(&listener);

    for byte in 0..200 {
        client.write_all(&[byte]).unwrap();
        let mut received = [0];
        server.read_exact(&mut received).unwrap();
        assert_eq!(received, [byte]);
    }
}

/// Many connections at once share tunnels: no more than their stream limit asks for.
#[test]
fn many_connections_share_few_tunnels() {
    let rig = Rig::new();
    let listener = rig.listen();

    let open: Vec<_> = (0..250).map(|_| rig.connect(&listener)).collect();
    for (index, (client, server)) in (0..).zip(&open) {
        let (mut client, mut server): (&TcpStream, &TcpStream) = (client, server);
        client.write_all(&[index]).unwrap();
        let mut received = [0];
        server.read_exact(&mut received).unwrap();
        assert_eq!(received, [index]);
    }

    assert_eq!(rig.client.engine.active(), 250);
    // 250 flows at 100 streams each.
    assert_eq!(rig.server.engine.active(), 250 + 3);
    assert_eq!(rig.client.engine.connections().len(), 250);
}

/// Uploads that the application aborts give their credit back as well.
#[test]
fn aborted_uploads_return_their_credit() {
    let rig = narrow_rig();
    let listener = rig.listen();
    for _ in 0..300 {
        let (client, mut server) = rig.connect(&listener);
        let writer = thread::spawn(move || {
            let mut client = client;
            while client.write_all(&[7; 8 << 10]).is_ok() {}
        });
        server.read_exact(&mut [0; 1000]).unwrap();
        reset(server);
        writer.join().unwrap();
    }

    let (client, server) = rig.connect(&listener);
    let received = thread::scope(|scope| {
        scope.spawn(|| send_noise(&client, 1, 32 << 20));
        scope.spawn(|| read_noise(&server, 1)).join().unwrap()
    });

    assert_eq!(received, 32 << 20);
}

/// IPv6 is carried as IPv4 is, with the client's address.
#[test]
fn ipv6_goes_through_a_tunnel() {
    let rig = Rig::new();
    let listener = rig.listen_at(rig.server.ipv6);

    let (mut client, mut server) = rig.connect(&listener);
    client.write_all(b"six").unwrap();
    let mut received = [0; 3];
    server.read_exact(&mut received).unwrap();
    let seen = server.peer_addr().unwrap().ip();
    drop((client, server));

    assert_eq!((&received, seen), (b"six", rig.client.ipv6));
    let (facts, end) = rig.client.reports.wait_closed();
    assert_eq!(
        (end.reason, facts.destination),
        (CloseReason::Finished, (rig.server.ipv6, 15008).into())
    );
}

/// A pod that calls itself is answered by itself, from its own address.
#[test]
fn a_pod_reaches_itself() {
    let rig = Rig::new();
    let listener = rig.listen();

    let mut client = rig.server.connect(listener.local_addr().unwrap());
    let (mut server, from) = listener.accept().unwrap();
    client.write_all(b"self").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();

    assert_eq!(from.ip(), rig.server.ip);
}

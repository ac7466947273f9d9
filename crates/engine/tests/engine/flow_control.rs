//! Who must wait, waits alone and not for ever.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use ambimesh_engine::Settings;
use ambimesh_testkit::hostile::Frames;
use socket2::SockRef;

use crate::fakes::PATIENCE;
use crate::noise::{read_noise, send_noise};
use crate::peer::{Peer, replace_server};
use crate::rig::Rig;

/// What HTTP/2 allows before anything is said.
const FIRST_WINDOW: usize = 65_535;

/// Settings of a peer. Source: RFC 9113 §6.5.2.
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

/// Applications that write so much each as soon as they are connected, and stay.
fn writers(rig: &Rig, count: usize, bytes: usize) -> Vec<JoinHandle<TcpStream>> {
    let to = SocketAddr::new(rig.server.ip, 80);
    let writer = |mut stream: TcpStream| {
        thread::spawn(move || {
            stream.write_all(&vec![7; bytes]).unwrap();
            stream
        })
    };
    (0..count).map(|_| writer(rig.client.connect(to))).collect()
}

fn finish(writers: Vec<JoinHandle<TcpStream>>) {
    for writer in writers {
        writer.join().unwrap();
    }
}

/// Streams that fill the first window wait for the peer's late credit, and each then goes on: the
/// stream's credit alone wakes nobody while the tunnel has none, one update of the tunnel wakes all.
#[test]
fn streams_wait_for_a_late_peer() {
    let rig = Rig::new();
    let listener = replace_server(&rig);
    let writers = writers(&rig, 3, 1 << 20);

    let mut peer = Peer::accept(&rig, &listener, None);
    peer.wait_for_streams(3);
    peer.answer_all(Frames::server());
    peer.wait_for_data(FIRST_WINDOW);
    peer.send(Frames::new().settings(&[(INITIAL_WINDOW_SIZE, 4 << 20)]));
    peer.wait_for_data(FIRST_WINDOW);
    peer.send(Frames::new().window_update(0, 16 << 20));

    peer.wait_for_data(3 << 20);
    assert!(peer.streams.values().all(|bytes| *bytes == 1 << 20));
    finish(writers);
}

/// Streams without any credit of their own start one by one when each gets some.
#[test]
fn streams_wait_for_their_own_credit() {
    let rig = Rig::new();
    let listener = replace_server(&rig);
    let writers = writers(&rig, 3, 100_000);

    let mut peer = Peer::accept(&rig, &listener, None);
    peer.wait_for_streams(3);
    let settings = Frames::new().settings(&[(INITIAL_WINDOW_SIZE, 0), (MAX_FRAME_SIZE, 1 << 20)]);
    peer.answer_all(settings.window_update(0, 16 << 20));
    peer.wait_for_data(0);
    for (index, stream) in (1..).zip(peer.streams.clone().into_keys()) {
        peer.send(Frames::new().window_update(stream, 60_000));
        peer.wait_for_data(index * 60_000);
    }
    peer.send(Frames::new().settings(&[(INITIAL_WINDOW_SIZE, 1 << 20)]));

    peer.wait_for_data(300_000);
    finish(writers);
}

/// One stream takes the tunnel's last credit; the one that waits for it goes on with the next,
/// however little comes at a time.
#[test]
fn credit_in_crumbs_is_used_up() {
    let rig = Rig::new();
    let listener = replace_server(&rig);
    let writers = writers(&rig, 2, 100_000);

    let mut peer = Peer::accept(&rig, &listener, None);
    peer.wait_for_streams(2);
    peer.answer_all(Frames::server());
    let mut arrived = FIRST_WINDOW;
    peer.wait_for_data(arrived);
    for crumb in (1..=2000).step_by(97) {
        peer.send(Frames::new().window_update(0, crumb));
        arrived += crumb as usize;
        peer.wait_for_data(arrived);
    }
    let ids: Vec<u32> = peer.streams.keys().copied().collect();
    let rest = Frames::new().window_update(0, 1 << 20);
    peer.send(
        ids.iter()
            .fold(rest, |frames, id| frames.window_update(*id, 1 << 20)),
    );

    peer.wait_for_data(200_000);
    finish(writers);
}

/// A peer that stops to read its tunnel stops the streams in it; when it reads again, they go on.
#[test]
fn a_peer_that_does_not_read_is_waited_for() {
    const EACH: usize = 8 << 20;
    let rig = Rig::new();
    let listener = replace_server(&rig);
    let writers = writers(&rig, 3, EACH);

    let mut peer = Peer::accept(&rig, &listener, Some(8 << 10));
    peer.wait_for_streams(3);
    let settings = [
        (INITIAL_WINDOW_SIZE, 64 << 20),
        (MAX_FRAME_SIZE, (1 << 24) - 1),
    ];
    peer.answer_all(
        Frames::new()
            .settings(&settings)
            .window_update(0, 512 << 20),
    );
    // The client's kernel has as much as it takes, and its proxy holds sealed bytes.
    wait_for_sent(&rig, |sent| sent.iter().sum::<u64>() > 64 << 10);
    for _ in 0..1000 {
        peer.send(Frames::new().ping(false, *b"answers?"));
    }

    peer.wait_for_data(3 * EACH);
    finish(writers);
}

/// Waits until what each flow has sent is as wanted.
fn wait_for_sent(rig: &Rig, wanted: impl Fn(&[u64]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open = rig.client.engine.connections();
        let sent: Vec<u64> = open.iter().map(|flow| flow.transferred.received).collect();
        if wanted(&sent) {
            return;
        }
        assert!(Instant::now() < deadline, "{sent:?}");
        thread::yield_now();
    }
}

/// Applications that do not read block their own connection and not the tunnel that they share,
/// although they hold more together than a tunnel of Istio's may; when they read, nothing is lost.
#[test]
fn stalled_readers_block_only_themselves() {
    const STALLED: usize = 24;
    const EACH: usize = 5 << 20;
    let rig = Rig::new();
    let listener = rig.listen();
    // Inherited by what is accepted: the bytes must wait in the proxies, not in the kernel.
    SockRef::from(&listener)
        .set_recv_buffer_size(8 << 10)
        .unwrap();
    let stalled: Vec<_> = (0..STALLED).map(|_| rig.connect(&listener)).collect();

    thread::scope(|scope| {
        for (client, _) in &stalled {
            scope.spawn(|| send_noise(client, 1, EACH));
        }
        let window = Settings::default().server.stream_window;
        wait_for_sent(&rig, |sent| {
            sent.len() == STALLED && sent.iter().all(|sent| *sent >= window.into())
        });
        let (client, server) = rig.connect(&listener);
        scope.spawn(move || send_noise(&client, 2, 16 << 20));
        assert_eq!(read_noise(&server, 2), 16 << 20);
        for (_, server) in &stalled {
            scope.spawn(|| assert_eq!(read_noise(server, 1), EACH as u64));
        }
    });
    assert_eq!(rig.server.engine.active(), STALLED + 1, "one tunnel");
}

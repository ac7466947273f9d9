//! Real namespaces and sockets. Needs root (or a user namespace of one's own), as the proxy does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ambimesh_netns::{
    ConnectOptions, Keepalive, ListenOptions, Namespace, OriginalSource, accept, connect,
    connect_from, listen, local_address, original_destination, reset_on_close, shutdown_write,
    socket_error,
};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;

/// Runs `visit` on a thread of its own in a fresh network namespace with loopback up.
fn in_fresh_namespace<T: Send + 'static>(visit: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(move || {
        // SAFETY: only the network namespace of this fresh thread changes; no memory is shared
        // differently afterwards.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
            .expect("a network namespace needs root");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status()
            .unwrap();
        assert!(up.success());
        visit()
    })
    .join()
    .unwrap()
}

fn wait(socket: &OwnedFd, flags: PollFlags) {
    let mut wanted = [PollFd::new(socket, flags)];
    poll(&mut wanted, None).unwrap();
}

/// A visit changes the namespace of the caller for its duration only.
#[test]
fn a_visit_happens_inside_and_ends_at_home() {
    let pod = in_fresh_namespace(|| Namespace::current().unwrap());
    let home = Namespace::current().unwrap().id();

    let inside = pod.enter(|| Namespace::current().unwrap().id()).unwrap();

    assert_eq!(inside, pod.id());
    assert_eq!(Namespace::current().unwrap().id(), home);
    assert_ne!(home, pod.id());
}

/// A panic in a visit does not leave the thread in the pod.
#[test]
fn a_panicking_visit_comes_home_too() {
    let pod = in_fresh_namespace(|| Namespace::current().unwrap());
    let home = Namespace::current().unwrap().id();

    let panicked = std::panic::catch_unwind(|| pod.enter(|| panic!("on purpose")));

    assert!(panicked.is_err());
    assert_eq!(Namespace::current().unwrap().id(), home);
}

/// A descriptor that is no namespace is refused before the visit.
#[test]
fn a_descriptor_of_something_else_cannot_be_entered() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let impostor = Namespace::from_descriptor(file.into()).unwrap();

    assert!(impostor.enter(|| ()).is_err());
}

/// Listeners, and what they accept, carry the mark; a dual-stack source is canonical.
#[test]
fn accepted_sockets_carry_mark_and_canonical_address() {
    in_fresh_namespace(|| {
        let options = ListenOptions {
            mark: Some(1337),
            original_source: OriginalSource::Required,
            reuse_port: true,
            ..Default::default()
        };
        let listener = listen(15006, options).unwrap();
        let client = TcpStream::connect(("127.0.0.1", 15006)).unwrap();

        wait(&listener, PollFlags::IN);
        let (accepted, source) = accept(&listener).unwrap();

        assert_eq!(SockRef::from(&accepted).mark().unwrap(), 1337);
        assert!(SockRef::from(&accepted).ip_transparent_v4().unwrap());
        assert_eq!(source, client.local_addr().unwrap());
        assert_eq!(
            local_address(&accepted).unwrap(),
            client.peer_addr().unwrap()
        );
        assert_eq!(original_destination(&accepted), None);
        assert_eq!(
            accept(&listener).unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
    });
}

/// A second generation binds beside the first; without reuse it is told so.
#[test]
fn ports_are_shared_between_generations() {
    in_fresh_namespace(|| {
        let options = ListenOptions {
            reuse_port: true,
            ..Default::default()
        };
        let _first = listen(15008, options).unwrap();

        assert!(listen(15008, options).is_ok());
        assert!(listen(15008, ListenOptions::default()).is_err());
    });
}

/// `REDIRECT` is undone: the original destination is what the application asked for.
#[test]
fn redirected_connections_know_their_original_destination() {
    in_fresh_namespace(|| {
        let rules = "table ip nat { chain out { type nat hook output priority -100; \
                     tcp dport 80 redirect to :15001; }; }";
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        assert!(nft.wait().unwrap().success());
        let listener = listen(15001, ListenOptions::default()).unwrap();
        let _client = TcpStream::connect(("127.0.0.2", 80)).unwrap();

        wait(&listener, PollFlags::IN);
        let (accepted, _) = accept(&listener).unwrap();

        assert_eq!(
            original_destination(&accepted),
            Some(SocketAddr::from(([127, 0, 0, 2], 80)))
        );
    });
}

/// The destination sees the client's address, from our own port range, and the socket its mark.
#[test]
fn spoofed_connects_show_the_client() {
    in_fresh_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = "127.0.0.77".parse().unwrap();
        let options = ConnectOptions {
            mark: Some(1337),
            keepalive: Some(Keepalive::default()),
        };

        let socket = connect_from(client, server.local_addr().unwrap(), options, 4711).unwrap();
        let (_accepted, seen) = server.accept().unwrap();

        assert_eq!(seen.ip(), client);
        assert!((10240..32768).contains(&seen.port()), "{seen}");
        assert_eq!(SockRef::from(&socket).mark().unwrap(), 1337);
        assert_eq!(
            SockRef::from(&socket).tcp_keepalive_time().unwrap(),
            Duration::from_secs(180)
        );
        assert_eq!(
            SockRef::from(&socket).tcp_keepalive_interval().unwrap(),
            Duration::from_secs(180)
        );
        assert_eq!(SockRef::from(&socket).tcp_keepalive_retries().unwrap(), 9);
    });
}

/// Taken ports are stepped over: the same draw twice gives two connections.
#[test]
fn spoofed_connects_find_another_port() {
    in_fresh_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let client = "127.0.0.77".parse().unwrap();

        let _first = connect_from(client, to, ConnectOptions::default(), 7).unwrap();
        let _second = connect_from(client, to, ConnectOptions::default(), 7).unwrap();
        let ports = [
            server.accept().unwrap().1.port(),
            server.accept().unwrap().1.port(),
        ];

        assert_ne!(ports[0], ports[1]);
    });
}

/// A pod that calls itself through its service is not spoofed: both ends would be one address.
#[test]
fn a_source_that_is_the_destination_is_not_spoofed() {
    in_fresh_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();

        let _socket = connect_from(to.ip(), to, ConnectOptions::default(), 0).unwrap();
        let (_, seen) = server.accept().unwrap();

        assert!(seen.port() >= 32768, "the kernel chose {seen}");
    });
}

/// Writable means decided, and the error says how.
#[test]
fn a_refused_connect_says_so_in_its_error() {
    in_fresh_namespace(|| {
        let socket = connect(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
            ConnectOptions::default(),
        );
        let error = match socket {
            Ok(socket) => {
                wait(&socket, PollFlags::OUT);
                socket_error(&socket).expect("refused")
            }
            Err(error) => error,
        };

        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

/// The two ways to end: an orderly end reads as 0 bytes, a reset as an error.
#[test]
fn ends_are_told_apart() {
    in_fresh_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let orderly = connect(to, ConnectOptions::default()).unwrap();
        let (mut peer, _) = server.accept().unwrap();
        shutdown_write(&orderly).unwrap();
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);

        let abrupt = connect(to, ConnectOptions::default()).unwrap();
        let (mut peer, _) = server.accept().unwrap();
        reset_on_close(&abrupt);
        drop(abrupt);

        assert_eq!(
            peer.read(&mut [0; 8]).unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
    });
}

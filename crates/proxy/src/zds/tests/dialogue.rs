use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

use ambimesh_netns::Seqpacket;
use ambimesh_xds::wire::istio::workload::zds as wire;
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::super::client::End;
use super::*;
use crate::backoff::Backoff;
use crate::log::{Format, testing};
use crate::readiness::{Part, Readiness};

/// A node agent on the other end of a real socket, and the client thread that serves it.
struct Agent {
    socket: Seqpacket,
    client: JoinHandle<End>,
    wake: Wake,
    host: FakeHost,
    readiness: Readiness,
}

fn agent() -> Agent {
    let (socket, far) = Seqpacket::pair().unwrap();
    let (host, readiness, wake) = (
        FakeHost::default(),
        Readiness::default(),
        Wake::new().unwrap(),
    );
    let (log, _lines) = testing::captured(Format::Text);
    let enrolment = Enrolment::new(host.clone(), Roster::default());
    readiness.set(Part::WorkloadProxies, false);
    let mut client = Client {
        path: "".into(),
        enrolment,
        readiness: readiness.clone(),
        log,
        wake: wake.clone(),
    };
    let client = std::thread::spawn(move || {
        client.serve(
            &far,
            &mut Backoff::new(Duration::from_millis(1), Duration::from_millis(1)),
        )
    });
    let agent = Agent {
        socket,
        client,
        wake,
        host,
        readiness,
    };
    let hello = wire::ZdsHello::decode(agent.receive().as_slice()).unwrap();
    assert_eq!(
        (hello.version(), hello.takes_listeners),
        (wire::Version::V1, true)
    );
    agent
}

impl Agent {
    /// The next datagram; empty at the end of the connection.
    fn receive(&self) -> Vec<u8> {
        let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(
            rustix::event::poll(&mut polled, Some(&limit)).unwrap(),
            1,
            "no answer"
        );
        let mut buffer = [0; 1024];
        let datagram = self.socket.receive(&mut buffer).unwrap();
        assert!(
            !datagram.is_truncated,
            "the answer is longer than the agent's buffer"
        );
        buffer[..datagram.length].to_vec()
    }

    fn send(&self, payload: wire::workload_request::Payload, descriptors: &[BorrowedFd<'_>]) {
        let request = wire::WorkloadRequest {
            payload: Some(payload),
        };
        self.socket
            .send(&request.encode_to_vec(), descriptors)
            .unwrap();
    }

    /// The text of the next answer; empty for success.
    fn answer(&self) -> String {
        let response = wire::WorkloadResponse::decode(self.receive().as_slice()).unwrap();
        let Some(wire::workload_response::Payload::Ack(ack)) = response.payload else {
            panic!("no ack")
        };
        ack.error
    }

    fn ask(
        &self,
        payload: wire::workload_request::Payload,
        descriptors: &[BorrowedFd<'_>],
    ) -> String {
        self.send(payload, descriptors);
        self.answer()
    }
}

fn add(uid: &str, listeners: &[wire::Listener]) -> wire::workload_request::Payload {
    wire::workload_request::Payload::Add(wire::AddWorkload {
        uid: uid.into(),
        workload_info: Some(wire::WorkloadInfo {
            name: "web".into(),
            namespace: "demo".into(),
            service_account: "web-account".into(),
        }),
        listeners: listeners.iter().map(|l| i32::from(*l)).collect(),
    })
}

const LISTENERS: [wire::Listener; 3] = [
    wire::Listener::Outbound,
    wire::Listener::InboundPlaintext,
    wire::Listener::InboundHbone,
];

/// The whole dialogue over a real socket: one answer for each request, in order, and readiness.
#[test]
fn every_request_gets_one_answer() {
    use wire::workload_request::Payload;
    let agent = agent();
    let files: Vec<File> = (0..4).map(|_| File::open("/dev/null").unwrap()).collect();
    let descriptors: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();

    assert_eq!(agent.ask(add("a", &LISTENERS), &descriptors), "");
    assert_eq!(agent.ask(add("b", &[]), &descriptors[..1]), "");
    assert_eq!(
        agent.ask(Payload::Keep(wire::KeepWorkload { uid: "c".into() }), &[]),
        ""
    );
    assert_eq!(agent.readiness.pending(), ["workload proxy manager"]);
    assert_eq!(
        agent.ask(Payload::SnapshotSent(wire::SnapshotSent {}), &[]),
        ""
    );
    assert_eq!(
        agent.ask(Payload::Del(wire::DelWorkload { uid: "b".into() }), &[]),
        ""
    );

    assert!(agent.readiness.pending().is_empty());
    assert_eq!(
        agent.host.take_told(),
        [
            "start a with 3 listeners",
            "start b with 0 listeners",
            "stop b"
        ]
    );
    agent.wake.wake();
    assert_eq!(agent.client.join().unwrap(), End::Woken);
    assert_eq!(
        agent.readiness.pending(),
        ["workload proxy manager"],
        "disconnected is not ready"
    );
}

/// The text of a refusal fits the agent's 1024-byte buffer, however long the reason is.
#[test]
fn long_refusals_are_cut_to_fit() {
    let agent = agent();
    agent.host.break_pod("a");
    let (descriptor, _witness) = namespace();

    let error = agent.ask(add("a", &[]), &[descriptor.as_fd()]);

    assert!(
        error.starts_with("failure to start proxy : failed to bind"),
        "{error}"
    );
    assert!(error.len() > 900);
}

/// Every malformed message is answered with its problem, closes its descriptors, and the connection.
#[test]
fn malformed_messages_leak_no_descriptor() {
    use wire::workload_request::Payload;
    let no_info = Payload::Add(wire::AddWorkload {
        uid: "a".into(),
        workload_info: None,
        listeners: Vec::new(),
    });
    let keep = Payload::Keep(wire::KeepWorkload { uid: "a".into() });
    let unknown = add(
        "a",
        &[
            wire::Listener::Unspecified,
            wire::Listener::Outbound,
            wire::Listener::InboundHbone,
        ],
    );
    let doubled = add(
        "a",
        &[
            wire::Listener::Outbound,
            wire::Listener::Outbound,
            wire::Listener::InboundHbone,
        ],
    );
    for (payload, count, problem) in [
        (add("a", &[]), 0, "add without a descriptor"),
        (add("a", &[]), 2, "not one descriptor for each listener"),
        (
            add("a", &LISTENERS),
            1,
            "not one descriptor for each listener",
        ),
        (
            add("a", &LISTENERS[..1]),
            2,
            "not one listener of each kind",
        ),
        (unknown, 4, "a listener of an unknown kind"),
        (doubled, 4, "not one listener of each kind"),
        (no_info, 1, "add without workload information"),
        (keep, 1, "a descriptor came with a message that takes none"),
    ] {
        let agent = agent();
        let (descriptor, witness) = namespace();
        agent.send(payload, &vec![descriptor.as_fd(); count]);
        drop(descriptor);

        let error = agent.answer();

        assert_eq!(error, format!("failure to read message : {problem}"));
        assert_eq!(agent.client.join().unwrap(), End::Lost);
        assert!(witness.is_closed(), "{problem}");
        assert!(agent.host.take_told().is_empty());
    }
}

/// Bytes that are no message, and a message that asks nothing, are refused.
#[test]
fn undecodable_messages_are_refused() {
    for (bytes, problem) in [
        (b"\xff\xff".as_slice(), "cannot decode the message"),
        (b"\x12\x00", ""),
    ] {
        let agent = agent();
        agent.socket.send(bytes, &[]).unwrap();
        if problem.is_empty() {
            assert_eq!(agent.answer(), "", "deleting nobody is a success");
        } else {
            assert_eq!(
                agent.answer(),
                format!("failure to read message : {problem}")
            );
        }
    }
}

/// The agent going away ends the connection, and the client comes back to where it listens.
#[test]
fn the_client_connects_again() {
    let folder = std::env::temp_dir().join(format!("ambimesh-zds-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("zds.sock");
    let listener = listener(&path).unwrap();
    let (log, _lines) = testing::captured(Format::Text);
    let wake = Wake::new().unwrap();
    let enrolment = Enrolment::new(FakeHost::default(), Roster::default());
    let client = Client {
        path,
        enrolment,
        readiness: Readiness::default(),
        log,
        wake: wake.clone(),
    };
    let thread = std::thread::spawn(move || client.run());

    for _ in 0..3 {
        let mut polled = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(
            rustix::event::poll(&mut polled, Some(&limit)).unwrap(),
            1,
            "nobody connects"
        );
        drop(rustix::net::accept(&listener).unwrap());
    }

    wake.wake();
    thread.join().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

fn listener(path: &std::path::Path) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 8)?;
    Ok(socket)
}

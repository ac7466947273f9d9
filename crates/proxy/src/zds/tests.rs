use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ambimesh_netns::{Namespace, Seqpacket};
use ambimesh_xds::wire::istio::workload::zds as wire;
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::client::End;
use super::enrolment::{RETRY_EVERY, Reply};
use super::message::Request;
use super::*;
use crate::backoff::Backoff;
use crate::config::WorkloadName;
use crate::log::{Format, testing};
use crate::readiness::{Part, Readiness};

/// Remembers what it was told; refuses to start the pods in `broken`.
#[derive(Clone, Default)]
struct FakeHost {
    told: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<BTreeSet<String>>>,
}

impl FakeHost {
    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }

    fn take_told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn break_pod(&self, uid: &str) {
        self.broken.lock().unwrap().insert(uid.to_owned());
    }

    fn mend(&self) {
        self.broken.lock().unwrap().clear();
    }
}

impl Host for FakeHost {
    fn start(&mut self, pod: &Pod) -> Result<(), StartError> {
        if self.broken.lock().unwrap().contains(&pod.uid) {
            self.tell(format!("cannot start {}", pod.uid));
            return Err(StartError(format!("failed to bind to port 15008 {}", "for long ".repeat(300))));
        }
        self.tell(format!("start {} with {} listeners", pod.uid, pod.listeners.len()));
        Ok(())
    }

    fn stop(&mut self, uid: &str) {
        self.tell(format!("stop {uid}"));
    }

    fn retire(&mut self) {
        self.tell("retire".to_owned());
    }
}

fn name() -> WorkloadName {
    WorkloadName { namespace: "demo".into(), name: "web".into(), service_account: "web-account".into() }
}

/// A descriptor that stands for a namespace, and an end that sees when the last copy is closed.
fn namespace() -> (OwnedFd, Witness) {
    let (witness, descriptor) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    (descriptor, Witness(witness))
}

struct Witness(OwnedFd);

impl Witness {
    fn is_closed(&self) -> bool {
        matches!(rustix::io::read(&self.0, &mut [0_u8; 1]), Ok(0))
    }
}

fn pod(uid: &str) -> (Request, Witness) {
    let (descriptor, witness) = namespace();
    let namespace = Namespace::from_descriptor(descriptor).unwrap();
    (Request::Add(Pod { uid: uid.into(), name: name(), namespace, listeners: Vec::new() }), witness)
}

fn enrolment() -> (Enrolment<FakeHost>, FakeHost, Roster) {
    let (host, roster) = (FakeHost::default(), Roster::default());
    let mut enrolment = Enrolment::new(host.clone(), roster.clone());
    enrolment.connected();
    (enrolment, host, roster)
}

/// An enrolment whose snapshot held these pods.
fn enrolled(uids: &[&str]) -> (Enrolment<FakeHost>, FakeHost, Roster) {
    let (mut enrolment, host, roster) = enrolment();
    for uid in uids {
        assert_eq!(enrolment.handle(pod(uid).0, Instant::now()), Reply::Ack);
    }
    assert_eq!(enrolment.handle(Request::SnapshotSent, Instant::now()), Reply::Ack);
    host.take_told();
    (enrolment, host, roster)
}

fn is_nack(reply: &Reply) -> bool {
    matches!(reply, Reply::Nack(_))
}

/// One add starts one pod; its descriptor is not kept once the host has its own.
#[test]
fn an_added_pod_is_started_once() {
    let (mut enrolment, host, roster) = enrolment();
    let (request, witness) = pod("a");

    assert_eq!(enrolment.handle(request, Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["start a with 0 listeners"]);
    assert!(witness.is_closed());
    assert_eq!((roster.count(RunState::Up), roster.totals()), (1, (1, 0)));
    assert!(!enrolment.is_ready(), "the snapshot is not complete");
    enrolment.handle(Request::SnapshotSent, Instant::now());
    assert!(enrolment.is_ready());
}

/// The same pod in the same namespace again is a success that changes nothing.
#[test]
fn the_same_pod_again_changes_nothing() {
    let (mut enrolment, host, _) = enrolled(&[]);
    let (descriptor, _witness) = namespace();
    let again = descriptor.try_clone().unwrap();
    let request = |descriptor| {
        let namespace = Namespace::from_descriptor(descriptor).unwrap();
        Request::Add(Pod { uid: "a".into(), name: name(), namespace, listeners: Vec::new() })
    };

    enrolment.handle(request(descriptor), Instant::now());
    assert_eq!(enrolment.handle(request(again), Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["start a with 0 listeners"]);
}

/// The same pod in a new namespace is stopped there and started here.
#[test]
fn a_pod_with_a_new_namespace_is_restarted() {
    let (mut enrolment, host, roster) = enrolled(&["a"]);

    assert_eq!(enrolment.handle(pod("a").0, Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["stop a", "start a with 0 listeners"]);
    assert_eq!(roster.totals(), (2, 1));
}

/// A pod that cannot be started is refused, makes the proxy unready, and is tried again.
#[test]
fn a_failed_start_is_pending_until_a_retry_works() {
    let (mut enrolment, host, roster) = enrolled(&[]);
    let now = Instant::now();
    host.break_pod("a");

    assert!(is_nack(&enrolment.handle(pod("a").0, now)));
    assert_eq!((enrolment.is_ready(), roster.count(RunState::Pending)), (false, 1));
    assert_eq!(enrolment.retry_at(), Some(now + RETRY_EVERY));
    enrolment.retry(now + RETRY_EVERY);
    assert_eq!(enrolment.retry_at(), Some(now + RETRY_EVERY * 2), "it goes on while anything is pending");
    host.mend();
    enrolment.retry(now + RETRY_EVERY * 2);

    assert_eq!(host.take_told(), ["cannot start a", "cannot start a", "start a with 0 listeners"]);
    assert_eq!((enrolment.retry_at(), enrolment.is_ready()), (None, true));
    assert_eq!((roster.count(RunState::Pending), roster.count(RunState::Up)), (0, 1));
}

/// istio#52858: an add that works while the same pod is pending ends the pending one.
#[test]
fn adding_a_pending_pod_again_ends_the_wait() {
    let (mut enrolment, host, _) = enrolled(&[]);
    host.break_pod("a");
    let (first, witness) = pod("a");
    enrolment.handle(first, Instant::now());
    assert!(!witness.is_closed(), "a pending pod keeps its namespace");
    host.mend();

    assert_eq!(enrolment.handle(pod("a").0, Instant::now()), Reply::Ack);

    assert!(witness.is_closed() && enrolment.is_ready());
    enrolment.retry(Instant::now());
    assert_eq!(host.take_told(), ["cannot start a", "start a with 0 listeners"]);
}

/// Deleting a pending pod lets go of its namespace and is a success, as is an unknown pod.
#[test]
fn deleting_a_pending_pod_frees_its_namespace() {
    let (mut enrolment, host, roster) = enrolled(&[]);
    host.break_pod("a");
    let (request, witness) = pod("a");
    enrolment.handle(request, Instant::now());

    assert_eq!(enrolment.handle(Request::Remove("a".into()), Instant::now()), Reply::Ack);
    assert_eq!(enrolment.handle(Request::Remove("unknown".into()), Instant::now()), Reply::Ack);

    assert!(witness.is_closed() && enrolment.is_ready() && roster.pods().is_empty());
}

/// After the snapshot a delete stops the pod at once.
#[test]
fn deleting_a_running_pod_stops_it() {
    let (mut enrolment, host, roster) = enrolled(&["a", "b"]);

    assert_eq!(enrolment.handle(Request::Remove("a".into()), Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["stop a"]);
    assert_eq!((roster.count(RunState::Up), roster.totals()), (1, (2, 1)));
}

/// On a new connection what runs keeps running; what the new snapshot does not name is stopped.
#[test]
fn a_new_snapshot_stops_what_it_does_not_name() {
    let (mut enrolment, host, _) = enrolled(&["kept", "deleted", "missing"]);

    enrolment.disconnected();
    assert!(!enrolment.is_ready());
    enrolment.connected();
    enrolment.handle(Request::Keep("kept".into()), Instant::now());
    enrolment.handle(Request::Keep("deleted".into()), Instant::now());
    enrolment.handle(Request::Remove("deleted".into()), Instant::now());
    assert!(host.take_told().is_empty(), "nothing stops before the snapshot is complete");
    enrolment.handle(Request::SnapshotSent, Instant::now());

    let told: BTreeSet<String> = host.take_told().into_iter().collect();
    assert_eq!(told, BTreeSet::from(["stop deleted".to_owned(), "stop missing".to_owned()]));
    assert!(enrolment.is_ready());
}

/// What cannot be at this point of the dialogue is a protocol error.
#[test]
fn messages_out_of_order_are_protocol_errors() {
    let (mut enrolment, _, _) = enrolled(&[]);

    for request in [Request::SnapshotSent, Request::Keep("a".into())] {
        let reply = enrolment.handle(request, Instant::now());
        assert!(matches!(&reply, Reply::NackAndReconnect(text) if text.starts_with("failure to process message")));
    }
}

/// A retired generation closes its listeners, takes no new pods, and still obeys deletes.
#[test]
fn a_retired_generation_takes_no_more_pods() {
    let (mut enrolment, host, _) = enrolled(&["a"]);

    assert_eq!(enrolment.handle(Request::Retire, Instant::now()), Reply::Ack);
    assert!(is_nack(&enrolment.handle(pod("b").0, Instant::now())));
    assert_eq!(enrolment.handle(Request::Remove("a".into()), Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["retire", "stop a"]);
    assert!(!enrolment.is_ready() && enrolment.is_retired());
}

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
    let (host, readiness, wake) = (FakeHost::default(), Readiness::default(), Wake::new().unwrap());
    let (log, _lines) = testing::captured(Format::Text);
    let enrolment = Enrolment::new(host.clone(), Roster::default());
    readiness.set(Part::WorkloadProxies, false);
    let mut client =
        Client { path: "".into(), enrolment, readiness: readiness.clone(), log, wake: wake.clone() };
    let client = std::thread::spawn(move || {
        client.serve(&far, &mut Backoff::new(Duration::from_millis(1), Duration::from_millis(1)))
    });
    let agent = Agent { socket, client, wake, host, readiness };
    let hello = wire::ZdsHello::decode(agent.receive().as_slice()).unwrap();
    assert_eq!((hello.version(), hello.takes_listeners), (wire::Version::V1, true));
    agent
}

impl Agent {
    /// The next datagram; empty at the end of the connection.
    fn receive(&self) -> Vec<u8> {
        let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut polled, Some(&limit)).unwrap(), 1, "no answer");
        let mut buffer = [0; 1024];
        let datagram = self.socket.receive(&mut buffer).unwrap();
        assert!(!datagram.is_truncated, "the answer is longer than the agent's buffer");
        buffer[..datagram.length].to_vec()
    }

    fn send(&self, payload: wire::workload_request::Payload, descriptors: &[BorrowedFd<'_>]) {
        let request = wire::WorkloadRequest { payload: Some(payload) };
        self.socket.send(&request.encode_to_vec(), descriptors).unwrap();
    }

    /// The text of the next answer; empty for success.
    fn answer(&self) -> String {
        let response = wire::WorkloadResponse::decode(self.receive().as_slice()).unwrap();
        let Some(wire::workload_response::Payload::Ack(ack)) = response.payload else { panic!("no ack") };
        ack.error
    }

    fn ask(&self, payload: wire::workload_request::Payload, descriptors: &[BorrowedFd<'_>]) -> String {
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

const LISTENERS: [wire::Listener; 3] =
    [wire::Listener::Outbound, wire::Listener::InboundPlaintext, wire::Listener::InboundHbone];

/// The whole dialogue over a real socket: one answer for each request, in order, and readiness.
#[test]
fn every_request_gets_one_answer() {
    use wire::workload_request::Payload;
    let agent = agent();
    let files: Vec<File> = (0..4).map(|_| File::open("/dev/null").unwrap()).collect();
    let descriptors: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();

    assert_eq!(agent.ask(add("a", &LISTENERS), &descriptors), "");
    assert_eq!(agent.ask(add("b", &[]), &descriptors[..1]), "");
    assert_eq!(agent.ask(Payload::Keep(wire::KeepWorkload { uid: "c".into() }), &[]), "");
    assert_eq!(agent.readiness.pending(), ["workload proxy manager"]);
    assert_eq!(agent.ask(Payload::SnapshotSent(wire::SnapshotSent {}), &[]), "");
    assert_eq!(agent.ask(Payload::Del(wire::DelWorkload { uid: "b".into() }), &[]), "");

    assert!(agent.readiness.pending().is_empty());
    assert_eq!(
        agent.host.take_told(),
        ["start a with 3 listeners", "start b with 0 listeners", "stop b"]
    );
    agent.wake.wake();
    assert_eq!(agent.client.join().unwrap(), End::Woken);
    assert_eq!(agent.readiness.pending(), ["workload proxy manager"], "disconnected is not ready");
}

/// The text of a refusal fits the agent's 1024-byte buffer, however long the reason is.
#[test]
fn long_refusals_are_cut_to_fit() {
    let agent = agent();
    agent.host.break_pod("a");
    let (descriptor, _witness) = namespace();

    let error = agent.ask(add("a", &[]), &[descriptor.as_fd()]);

    assert!(error.starts_with("failure to start proxy : failed to bind"), "{error}");
    assert!(error.len() > 900);
}

/// Every malformed message is answered with its problem, closes its descriptors, and the connection.
#[test]
fn malformed_messages_leak_no_descriptor() {
    use wire::workload_request::Payload;
    let no_info =
        Payload::Add(wire::AddWorkload { uid: "a".into(), workload_info: None, listeners: Vec::new() });
    let keep = Payload::Keep(wire::KeepWorkload { uid: "a".into() });
    let unknown = add("a", &[wire::Listener::Unspecified, wire::Listener::Outbound, wire::Listener::InboundHbone]);
    let doubled = add("a", &[wire::Listener::Outbound, wire::Listener::Outbound, wire::Listener::InboundHbone]);
    for (payload, count, problem) in [
        (add("a", &[]), 0, "add without a descriptor"),
        (add("a", &[]), 2, "not one descriptor for each listener"),
        (add("a", &LISTENERS), 1, "not one descriptor for each listener"),
        (add("a", &LISTENERS[..1]), 2, "not one listener of each kind"),
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
    for (bytes, problem) in [(b"\xff\xff".as_slice(), "cannot decode the message"), (b"\x12\x00", "")] {
        let agent = agent();
        agent.socket.send(bytes, &[]).unwrap();
        if problem.is_empty() {
            assert_eq!(agent.answer(), "", "deleting nobody is a success");
        } else {
            assert_eq!(agent.answer(), format!("failure to read message : {problem}"));
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
    let client = Client { path, enrolment, readiness: Readiness::default(), log, wake: wake.clone() };
    let thread = std::thread::spawn(move || client.run());

    for _ in 0..3 {
        let mut polled = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut polled, Some(&limit)).unwrap(), 1, "nobody connects");
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

//! Two pods on a wire, each served by an engine of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use ambimesh_engine::{AddWorkload, Command, Engine, PodInfo, Settings, Shared};
use ambimesh_netns::Namespace;
use ambimesh_policy::{Action, AllOf, AnyOf, Match, Policy, PolicyKey, Scope};
use ambimesh_state::{Protocol, Removal, Store, Update, Workload, WorkloadDetails};
use ambimesh_testkit::certificates::Authority;
use ambimesh_types::{Identity, WorkloadUid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fakes::{FakeCertificates, PATIENCE, Recorder};

/// Istio's rules with the guards of the capture research, for one pod.
const CAPTURE: &str = "
table inet capture {
 chain mangle-pre { type filter hook prerouting priority -150
  meta mark & 0xfff == 0x539 ct state new ct mark set 0x111
 }
 chain mangle-out { type route hook output priority -150
  ct mark & 0xfff == 0x111 meta mark set ct mark
 }
 chain nat-pre { type nat hook prerouting priority -100
  ip daddr 127.0.0.1 return
  ip6 daddr ::1 return
  tcp dport 15008 return
  meta mark & 0xfff == 0x539 return
  meta l4proto tcp redirect to :15006
 }
 chain nat-out { type nat hook output priority -100
  meta mark & 0xfff == 0x111 accept
  oifname lo ip daddr != 127.0.0.1 accept
  oifname lo ip6 daddr != ::1 accept
  ip daddr 127.0.0.1 return
  ip6 daddr ::1 return
  meta mark & 0xfff == 0x539 return
  meta l4proto tcp redirect to :15001
 }
}";

/// One pod, its proxy, and what that proxy reported.
pub struct Pod {
    pub name: &'static str,
    pub ip: IpAddr,
    pub ipv6: IpAddr,
    pub netns: Namespace,
    pub engine: Engine,
    shared: Shared,
    pub reports: Arc<Recorder>,
    pub certificates: Arc<FakeCertificates>,
}

/// A client and a server, and what discovery says about them.
pub struct Rig {
    pub client: Pod,
    pub server: Pod,
    store: Mutex<Store>,
}

/// What a test wants to be different.
pub struct Wish {
    pub settings: Settings,
    pub workers: usize,
    pub is_server_known: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            workers: 1,
            is_server_known: true,
        }
    }
}

impl Rig {
    /// Both captured, both known to discovery.
    pub fn new() -> Self {
        Self::with(&Wish::default())
    }

    pub fn with(wish: &Wish) -> Self {
        let (client_netns, server_netns) = wired_namespaces();
        let authority = Arc::new(Authority::new("test"));
        let mut store = Store::new();
        store.apply([Update::Workload(Arc::new(workload("client", 1)))], []);
        if wish.is_server_known {
            store.apply([Update::Workload(Arc::new(workload("server", 2)))], []);
        }
        let pod = |name, number, netns: Namespace| {
            let reports = Arc::new(Recorder::default());
            let certificates = Arc::new(FakeCertificates::new(Arc::clone(&authority)));
            let shared = Shared {
                settings: Arc::new(wish.settings.clone()),
                state: store.published(),
                certificates: certificates.clone(),
                telemetry: reports.clone(),
            };
            let engine = Engine::start(wish.workers, &shared).unwrap();
            Pod {
                name,
                ip: ip(number),
                ipv6: ipv6(number),
                netns,
                engine,
                shared,
                reports,
                certificates,
            }
        };
        let client = pod("client", 1, client_netns);
        let server = pod("server", 2, server_netns);
        client.capture();
        server.capture();
        Self {
            client,
            server,
            store: Mutex::new(store),
        }
    }

    /// Publishes a change and tells both engines.
    pub fn apply(&self, updates: impl IntoIterator<Item = Update>) {
        self.change(updates, []);
    }

    pub fn change(
        &self,
        updates: impl IntoIterator<Item = Update>,
        removals: impl IntoIterator<Item = Removal>,
    ) {
        self.store.lock().unwrap().apply(updates, removals);
        for pod in [&self.client, &self.server] {
            pod.engine.send(Command::StateChanged).unwrap();
        }
    }

    /// A listening application in the server's pod.
    pub fn listen(&self) -> TcpListener {
        self.listen_at(self.server.ip)
    }

    /// The same at one of the pod's addresses.
    pub fn listen_at(&self, ip: IpAddr) -> TcpListener {
        self.server.inside(|| TcpListener::bind((ip, 0)).unwrap())
    }

    /// A connection of the client's application to the server's, both ends.
    pub fn connect(&self, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.client.connect(listener.local_addr().unwrap());
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 5,
            tv_nsec: 0,
        };
        let arrived = poll(&mut ready, Some(&patience)).unwrap();
        assert_ne!(
            arrived, 0,
            "nothing arrived: {} {}",
            self.client.reports, self.server.reports
        );
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server.set_write_timeout(Some(PATIENCE)).unwrap();
        (client, server)
    }
}

impl Pod {
    /// Who it is.
    pub fn identity(&self) -> Identity {
        Identity::new("cluster.local", "demo", self.name)
    }

    /// Runs on this thread in the pod's namespace.
    pub fn inside<T>(&self, visit: impl FnOnce() -> T) -> T {
        self.netns.enter(visit).unwrap()
    }

    /// A connection of the pod's application.
    pub fn connect(&self, to: SocketAddr) -> TcpStream {
        self.try_connect(to).unwrap()
    }

    fn try_connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let stream = self.inside(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// How a connection ends that is refused, whether before or after `connect` returns.
    pub fn connect_refused(&self, to: SocketAddr) -> io::ErrorKind {
        let read = |mut stream: TcpStream| stream.read(&mut [0; 8]);
        self.try_connect(to)
            .and_then(read)
            .expect_err("refused")
            .kind()
    }

    /// What the pod's engine was started with.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Waits until every worker has done what it was told before.
    pub fn wait_for_engine(&self) {
        // A worker answers its letters in order.
        let _ = self.engine.connections();
    }

    /// Waits until so many flows and arrived tunnels are open.
    pub fn wait_for_active(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.engine.active() != count {
            assert!(
                Instant::now() < deadline,
                "{} are active, not {count}",
                self.engine.active()
            );
            thread::yield_now();
        }
    }

    /// Releases the pod: its traffic is its own again.
    pub fn release(&self) {
        self.inside(|| run_with_input(&["nft", "-f", "-"], "delete table inet capture"));
    }

    /// Serves the pod and redirects its traffic.
    pub fn capture(&self) {
        self.engine
            .send(Command::AddWorkload(self.workload()))
            .unwrap();
        self.inside(|| run_with_input(&["nft", "-f", "-"], CAPTURE));
    }

    /// The agent's word for it.
    pub fn workload(&self) -> AddWorkload {
        let descriptor = self.netns.as_fd().try_clone_to_owned().unwrap();
        AddWorkload {
            uid: self.name.into(),
            pod: PodInfo {
                name: self.name.into(),
                namespace: "demo".into(),
                service_account: self.name.into(),
            },
            netns: Some(Namespace::from_descriptor(descriptor).unwrap()),
            listeners: Vec::new(),
        }
    }
}

/// The workload of a pod, as discovery has it.
pub fn workload(name: &str, number: u8) -> Workload {
    let details = WorkloadDetails {
        name: name.into(),
        namespace: "demo".into(),
        service_account: name.into(),
        trust_domain: "cluster.local".into(),
        addresses: vec![ip(number), ipv6(number)],
        protocol: Protocol::Hbone,
        capacity: 1,
        ..Default::default()
    };
    Workload::new(uid(name), details)
}

pub fn uid(name: &str) -> WorkloadUid {
    WorkloadUid::new(&format!("Kubernetes//Pod/demo/{name}"))
}

fn ipv6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, number.into()).into()
}

fn ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 9, 0, number).into()
}

/// A policy for the whole namespace.
pub fn policy(name: &str, action: Action, matches: impl IntoIterator<Item = Match>) -> Update {
    let rules = matches
        .into_iter()
        .map(|one| AllOf(vec![AnyOf(vec![one])]))
        .collect();
    Update::Policy(Arc::new(Policy {
        key: PolicyKey::new("demo", name),
        scope: Scope::Namespace,
        action,
        is_dry_run: false,
        rules: AnyOf(rules),
    }))
}

fn wired_namespaces() -> (Namespace, Namespace) {
    let (client, client_thread) = namespace();
    let (server, server_thread) = namespace();
    let peer = server_thread.to_string();
    let wire = format!("link add eth0 type veth peer name eth0 netns {peer}");
    client.enter(|| ip_command(&wire)).unwrap();
    for (namespace, number) in [(&client, 1), (&server, 2)] {
        let address = format!("address add {}/24 dev eth0", ip(number));
        let address6 = format!("address add {}/64 dev eth0 nodad", ipv6(number));
        namespace
            .enter(|| {
                ip_command("link set lo up");
                ip_command("link set eth0 up");
                ip_command(&address);
                ip_command(&address6);
                for (family, all) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
                    let rule = "rule add fwmark 0x111/0xfff lookup 100 priority 32764";
                    ip_command(&format!("{family} {rule}"));
                    ip_command(&format!("{family} route add local {all} dev lo table 100"));
                }
            })
            .unwrap();
    }
    client_thread.end();
    server_thread.end();
    (client, server)
}

/// A thread that lives in a namespace, so that `ip` can be told which one.
struct Resident {
    id: i32,
    leave: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Resident {
    fn end(self) {
        drop(self.leave);
        self.thread.join().unwrap();
    }
}

impl std::fmt::Display for Resident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}

fn namespace() -> (Namespace, Resident) {
    let (made, receiver) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        unshare();
        let id = rustix::thread::gettid().as_raw_nonzero().get();
        made.send((Namespace::current().unwrap(), id)).unwrap();
        let _ = left.recv();
    });
    let (namespace, id) = receiver.recv().unwrap();
    (namespace, Resident { id, leave, thread })
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, and only our own thread is concerned"
)]
fn unshare() {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).expect("root is needed");
}

fn ip_command(arguments: &str) {
    let words: Vec<&str> = std::iter::once("ip").chain(arguments.split(' ')).collect();
    run_with_input(&words, "");
}

fn run_with_input(words: &[&str], input: &str) {
    let mut process = Process::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    assert!(process.wait().unwrap().success(), "{words:?}");
}

//! Connections that arrive at a pod's listeners.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ambimesh_hbone::{Connection, Role};
use ambimesh_netns as netns;
use ambimesh_types::{CloseReason, OriginalDst, SourceAddr};
use rand::Rng;
use rustix::io::Errno;

use crate::command::ListenerKind;
use crate::flow::{Flow, Phase};
use crate::pod::{Listener, Pod};
use crate::poll::Token;
use crate::slots::Key;
use crate::socket::Socket;
use crate::telemetry::{Direction, Facts};
use crate::timer::TimerKind;
use crate::tunnel::{Side, Stage, Tunnel};
use crate::worker::{Target, Worker};

/// Accepted in a row: more would leave the other workers idle while one has a queue.
const ACCEPTS_IN_A_ROW: usize = 16;

impl Worker {
    pub(crate) fn accept(&mut self, key: Key<Listener>) {
        for _ in 0..ACCEPTS_IN_A_ROW {
            let Some(listener) = self.listeners.get(key) else {
                return;
            };
            let (kind, pod) = (listener.kind, listener.pod);
            match netns::accept(listener) {
                Ok((socket, source)) => self.on_accept(kind, pod, socket, source),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_connection(&error) => {}
                // Out of descriptors or memory: the listener stays readable, so going on would
                // spin. Whoever waits in its queue is served when something was closed.
                Err(_) => return self.rest_listener(key),
            }
        }
    }

    /// Watches a listener, again or for the first time.
    pub(crate) fn watch_listener(&mut self, key: Key<Listener>) {
        let Some(listener) = self.listeners.get(key) else {
            return;
        };
        if self
            .poll
            .watch_shared(listener, Token::Listener(key))
            .is_err()
        {
            self.timers
                .set(TimerKind::ListenerRest, self.now, Target::Listener(key));
        }
    }

    fn rest_listener(&mut self, key: Key<Listener>) {
        let Some(listener) = self.listeners.get(key) else {
            return;
        };
        self.poll.forget(listener);
        self.timers
            .set(TimerKind::ListenerRest, self.now, Target::Listener(key));
    }

    fn on_accept(
        &mut self,
        kind: ListenerKind,
        pod: Key<Pod>,
        descriptor: OwnedFd,
        source: SocketAddr,
    ) {
        // Fails only when the peer is gone already, which the first read tells as well.
        let _ = netns::set_no_delay(&descriptor);
        let socket = Socket::connected(descriptor);
        let Ok(local) = socket.local_address() else {
            return;
        };
        match kind {
            ListenerKind::Tunnel => self.accept_tunnel(pod, socket, source, local),
            ListenerKind::Outbound | ListenerKind::Plaintext => {
                self.accept_flow(kind, pod, socket, source);
            }
        }
    }

    fn accept_tunnel(
        &mut self,
        pod: Key<Pod>,
        socket: Socket,
        source: SocketAddr,
        local: SocketAddr,
    ) {
        let codec = Connection::new(Role::Server, self.shared.settings.server);
        let side = Side::Server {
            source: SourceAddr::new(source),
            local,
            peer: None,
        };
        let key = self
            .tunnels
            .insert(Tunnel::new(pod, socket, Stage::AwaitLocal, codec, side));
        let Some(tunnel) = self.tunnels.get(key) else {
            return;
        };
        if self.poll.watch(&tunnel.socket, Token::Tunnel(key)).is_err() {
            self.tunnels.remove(key);
            return;
        }
        self.servers += 1;
        self.timers
            .set(TimerKind::Workload, self.now, Target::Tunnel(key));
        self.admit_tunnel(key);
    }

    fn accept_flow(
        &mut self,
        kind: ListenerKind,
        pod_key: Key<Pod>,
        socket: Socket,
        source: SocketAddr,
    ) {
        let Some(pod) = self.pods.get(pod_key) else {
            return;
        };
        let Ok(local) = socket.local_address() else {
            return;
        };
        if let Some(keepalive) = self.shared.settings.keepalive {
            // As with the delay: fails only on a dead connection.
            let _ = netns::set_keepalive(&socket, keepalive);
        }
        let destination = netns::original_destination(&socket).unwrap_or(local);
        let facts = Facts {
            direction: match kind {
                ListenerKind::Outbound => Direction::Outbound,
                ListenerKind::Plaintext | ListenerKind::Tunnel => Direction::InboundPlaintext,
            },
            trace_id: self.random.random(),
            ..Facts::new(
                Arc::clone(&pod.uid),
                SourceAddr::new(source),
                OriginalDst::new(destination),
            )
        };
        let mut flow = Flow::new(pod_key, Phase::AwaitWorkload, facts, self.now);
        flow.near = Some(socket);
        let key = self.flows.insert(flow);
        let Some(Flow {
            near: Some(near), ..
        }) = self.flows.get(key)
        else {
            return;
        };
        if let Err(error) = self.poll.watch(near, Token::Near(key)) {
            return self.finish(key, CloseReason::ResourceLimit, Some(&error.to_string()));
        }
        if is_recursion(kind, destination, local) {
            let detail = "attempted recursive call to ourselves";
            return self.finish(key, CloseReason::Recursion, Some(detail));
        }
        self.timers
            .set(TimerKind::Workload, self.now, Target::Flow(key));
        self.admit_flow(key);
    }

    /// Lets a flow that was accepted from a socket go on, as far as what is known allows.
    pub(crate) fn admit_flow(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match (flow.report.facts.direction, &flow.phase) {
            (Direction::Outbound, Phase::AwaitWorkload) => self.route(key),
            (Direction::Outbound, Phase::AwaitTunnel(_)) => self.join_with_certificate(key),
            (Direction::InboundPlaintext, Phase::AwaitWorkload) => self.admit_plaintext(key),
            _ => {}
        }
    }
}

/// Whether going on would lead back here: specification §2.7, and an application that connects
/// to the listener itself, where there is no redirection to undo.
fn is_recursion(kind: ListenerKind, destination: SocketAddr, local: SocketAddr) -> bool {
    let is_ours = is_own_port(destination.port());
    match kind {
        ListenerKind::Outbound => {
            is_ours && (destination.ip().is_loopback() || destination == local)
        }
        ListenerKind::Plaintext | ListenerKind::Tunnel => is_ours,
    }
}

/// Whether we listen on it in every pod.
pub(crate) fn is_own_port(port: u16) -> bool {
    ListenerKind::ALL.iter().any(|kind| kind.port() == port)
}

/// Whether an accept failed because of the connection that was waiting, not because of us.
fn is_of_connection(error: &io::Error) -> bool {
    let of_connection = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::PERM,
    ];
    of_connection
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

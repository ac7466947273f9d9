//! Which tunnel an outbound flow takes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ambimesh_hbone::Connection;
use ambimesh_netns as netns;
use ambimesh_tls::Svid;
use ambimesh_types::{CloseReason, Identity, WorkloadUid};

use crate::flow::{Far, Flow, Phase};
use crate::pod::Pod;
use crate::poll::Token;
use crate::slots::Key;
use crate::socket::Socket;
use crate::timer::TimerKind;
use crate::tunnel::{Side, Stage, Tunnel};
use crate::worker::{Target, Work, Worker};

/// What must be equal for two flows to share a tunnel.
///
/// The pod is part of it: the peer's policy sees the source address of the tunnel. The workload's
/// uid is part of it: an address that is used again is another workload (design D6).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PoolKey {
    pub(crate) pod: Key<Pod>,
    pub(crate) source: Identity,
    pub(crate) workload: WorkloadUid,
    pub(crate) peer: SocketAddr,
    pub(crate) expected: Arc<[Identity]>,
}

/// Tunnels that take new flows, dialed or still dialing.
#[derive(Default)]
pub(crate) struct Pool {
    tunnels: HashMap<Arc<PoolKey>, Vec<Key<Tunnel>>>,
}

impl Pool {
    fn of<'a>(&'a self, key: &PoolKey) -> impl Iterator<Item = Key<Tunnel>> + 'a {
        self.tunnels.get(key).into_iter().flatten().copied()
    }

    fn insert(&mut self, key: Arc<PoolKey>, tunnel: Key<Tunnel>) {
        self.tunnels.entry(key).or_default().push(tunnel);
    }

    /// Gives a tunnel to no more flows.
    pub(crate) fn forget(&mut self, tunnel: Key<Tunnel>, value: Option<&Tunnel>) {
        let Some(Tunnel {
            side: Side::Client { key, .. },
            ..
        }) = value
        else {
            return;
        };
        let Some(same) = self.tunnels.get_mut(key) else {
            return;
        };
        same.retain(|other| *other != tunnel);
        if same.is_empty() {
            self.tunnels.remove(key);
        }
    }
}

/// Tunnels that may refuse one flow before it is given up.
const MAX_REFUSALS: u8 = 3;

impl Worker {
    /// Puts a flow on a tunnel with room, or on one that is dialed for it and whoever comes next.
    pub(crate) fn join(&mut self, flow_key: Key<Flow>, svid: &Svid) {
        let Some(flow) = self.flows.get(flow_key) else {
            return;
        };
        let Phase::AwaitTunnel(hop) = &flow.phase else {
            return;
        };
        let key = Arc::clone(&hop.key);
        let most = self.shared.settings.max_streams_per_tunnel;
        let has_room = |tunnel: &Key<Tunnel>| {
            self.tunnels
                .get(*tunnel)
                .is_some_and(|tunnel| tunnel.has_room(most))
        };
        let found = self.pool.of(&key).find(has_room);
        let tunnel_key = match found {
            Some(tunnel) => tunnel,
            None => match self.dial(&key, svid) {
                Ok(tunnel) => tunnel,
                Err((reason, detail)) => return self.finish(flow_key, reason, Some(&detail)),
            },
        };
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key) else {
            return;
        };
        if tunnel.is_open() {
            self.open_stream(tunnel_key, flow_key);
            self.flush_tunnel(tunnel_key);
        } else if let Side::Client { openers, .. } = &mut tunnel.side {
            openers.push(flow_key);
        }
    }

    /// A tunnel would not take the flow after all; nothing was sent, so another may.
    pub(crate) fn rejoin(&mut self, flow_key: Key<Flow>, detail: &str) {
        let Some(flow) = self.flows.get_mut(flow_key) else {
            return;
        };
        flow.far = Far::Unknown;
        let phase = std::mem::replace(&mut flow.phase, Phase::AwaitWorkload);
        let (Phase::AwaitTunnel(mut hop) | Phase::AwaitAnswer(mut hop)) = phase else {
            flow.phase = phase;
            return;
        };
        hop.refusals += 1;
        let is_hopeless = hop.refusals >= MAX_REFUSALS;
        flow.phase = Phase::AwaitTunnel(hop);
        if is_hopeless {
            return self.finish(flow_key, CloseReason::TunnelFailure, Some(detail));
        }
        self.agenda.push_back(Work::Join(flow_key));
    }

    /// Sends the flow's CONNECT on an open tunnel.
    pub(crate) fn open_stream(&mut self, tunnel_key: Key<Tunnel>, flow_key: Key<Flow>) {
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(flow_key) else {
            return;
        };
        let Phase::AwaitTunnel(hop) = &flow.phase else {
            return;
        };
        match tunnel.codec.open(&hop.request) {
            Ok(stream) => {
                tunnel.streams.insert(stream, flow_key);
                flow.far = Far::Stream {
                    tunnel: tunnel_key,
                    stream,
                };
                let phase = std::mem::replace(&mut flow.phase, Phase::AwaitWorkload);
                if let Phase::AwaitTunnel(hop) = phase {
                    flow.phase = Phase::AwaitAnswer(hop);
                }
                self.mark_busy(tunnel_key);
                self.timers
                    .set(TimerKind::Answer, self.now, Target::Flow(flow_key));
            }
            Err(error) => self.rejoin(flow_key, &error.to_string()),
        }
    }

    fn dial(
        &mut self,
        key: &Arc<PoolKey>,
        svid: &Svid,
    ) -> Result<Key<Tunnel>, (CloseReason, String)> {
        let config = svid
            .client_config(&key.expected)
            .map_err(|error| (CloseReason::NoCertificate, error.to_string()))?;
        let failed = |error: io::Error| {
            (
                CloseReason::ConnectFailed,
                format!("connection failed: {error}"),
            )
        };
        let descriptor = self
            .connect_inside(key.pod, |options| netns::connect(key.peer, options))
            .map_err(failed)?;
        let socket = Socket::connecting(descriptor);
        let codec = Connection::new(ambimesh_hbone::Role::Client, self.shared.settings.client);
        let side = Side::Client {
            key: Arc::clone(key),
            openers: Vec::new(),
        };
        let tunnel = Tunnel::new(key.pod, socket, Stage::Connecting(config), codec, side);
        let tunnel_key = self.tunnels.insert(tunnel);
        if let Some(tunnel) = self.tunnels.get(tunnel_key)
            && let Err(error) = self.poll.watch(&tunnel.socket, Token::Tunnel(tunnel_key))
        {
            self.tunnels.remove(tunnel_key);
            return Err((CloseReason::ResourceLimit, error.to_string()));
        }
        self.pool.insert(Arc::clone(key), tunnel_key);
        self.timers
            .set(TimerKind::Connect, self.now, Target::Tunnel(tunnel_key));
        Ok(tunnel_key)
    }
}

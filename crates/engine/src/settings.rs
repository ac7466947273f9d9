//! What an operator can set about the data path.

use std::time::Duration;

use ambimesh_hbone as hbone;
use ambimesh_netns::{ConnectOptions, Keepalive, ListenOptions, OriginalSource};

/// Settings of every worker. The defaults are Istio's (specification §14).
#[derive(Clone, Debug)]
pub struct Settings {
    /// `SO_MARK` of every socket (`PACKET_MARK`; 1337 in shared mode).
    pub mark: Option<u32>,
    /// Whether applications must see the client's address (`ENABLE_ORIG_SRC`).
    pub original_source: OriginalSource,
    /// Bind IPv4 only (`IPV6_ENABLED=false`).
    pub ipv4_only: bool,
    /// Share ports with another generation (`INPOD_PORT_REUSE`).
    pub reuse_port: bool,
    /// TCP keepalive of every socket but those of tunnels that arrive (`KEEPALIVE_*`).
    pub keepalive: Option<Keepalive>,
    /// The network that this node is in (`NETWORK`).
    pub network: Box<str>,
    /// HTTP/2 towards other proxies (`HTTP2_*`).
    pub client: hbone::Settings,
    /// HTTP/2 from other proxies (`HTTP2_*`).
    pub server: hbone::Settings,
    /// Streams on one tunnel before another is dialed (`POOL_MAX_STREAMS_PER_CONNECTION`).
    pub max_streams_per_tunnel: u32,
    /// How long a tunnel without streams is kept (`POOL_UNUSED_RELEASE_TIMEOUT`).
    pub idle_tunnel_release: Duration,
    /// Whether to send and use baggage (`ENABLE_RESPONSE_BAGGAGE`).
    pub use_baggage: bool,
    /// How long to wait for others.
    pub timeouts: Timeouts,
}

/// Every wait of the data path has a bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// TCP connects.
    pub connect: Duration,
    /// TLS and the first HTTP/2 frame, after TCP.
    pub handshake: Duration,
    /// The answer to a CONNECT. The other proxy may itself wait for its workload, and connect.
    pub answer: Duration,
    /// Discovery telling us about a local workload.
    pub workload: Duration,
    /// A first certificate.
    pub certificate: Duration,
    /// Silence after one direction ended, until the other is given up.
    pub half_closed: Duration,
    /// Between a PONG and the next PING.
    pub ping_interval: Duration,
    /// From PING to PONG.
    pub ping_answer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mark: Some(1337),
            original_source: OriginalSource::BestEffort,
            ipv4_only: false,
            reuse_port: true,
            keepalive: Some(Keepalive::default()),
            network: "".into(),
            client: hbone::Settings::client(),
            server: hbone::Settings::server(),
            max_streams_per_tunnel: 100,
            idle_tunnel_release: Duration::from_secs(300),
            use_baggage: true,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            answer: Duration::from_secs(20),
            workload: Duration::from_secs(5),
            certificate: Duration::from_secs(10),
            half_closed: Duration::from_secs(3600),
            ping_interval: Duration::from_secs(10),
            ping_answer: Duration::from_secs(20),
        }
    }
}

impl Settings {
    pub(crate) fn connect_options(&self) -> ConnectOptions {
        ConnectOptions {
            mark: self.mark,
            keepalive: self.keepalive,
        }
    }

    pub(crate) fn listen_options(&self) -> ListenOptions {
        ListenOptions {
            mark: self.mark,
            original_source: self.original_source,
            ipv4_only: self.ipv4_only,
            reuse_port: self.reuse_port,
        }
    }
}

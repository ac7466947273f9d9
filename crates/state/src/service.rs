//! Services: names and addresses that stand for workloads.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ambimesh_types::Identity;
use ipnet::IpNet;

use crate::workload::{GatewayRef, Workload};

/// `<namespace>/<hostname>` of a service.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServiceKey {
    /// The namespace it is in.
    pub namespace: Arc<str>,
    /// Its full hostname.
    pub hostname: Arc<str>,
}

/// Text that is no service key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not of the form <namespace>/<hostname>")]
pub struct ServiceKeyError {
    text: String,
}

impl ServiceKey {
    /// Puts a key together.
    #[must_use]
    pub fn new(namespace: &str, hostname: &str) -> Self {
        Self {
            namespace: namespace.into(),
            hostname: hostname.into(),
        }
    }
}

impl FromStr for ServiceKey {
    type Err = ServiceKeyError;

    fn from_str(text: &str) -> Result<Self, ServiceKeyError> {
        match text.split_once('/') {
            Some((namespace, hostname)) if !hostname.is_empty() && !hostname.contains('/') => {
                Ok(Self::new(namespace, hostname))
            }
            _ => Err(ServiceKeyError {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.hostname)
    }
}

/// An address in a network.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NetworkAddress {
    /// The network; may be empty.
    pub network: Arc<str>,
    /// The address.
    pub ip: IpAddr,
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.ip)
    }
}

/// Ports of a service and the workload's ports behind them; 0 stands for a named port.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PortMap(pub Vec<(u16, u16)>);

impl PortMap {
    /// The port behind `service_port`; `None` if the service lacks it.
    #[must_use]
    pub fn target(&self, service_port: u16) -> Option<u16> {
        self.0
            .iter()
            .find(|(port, _)| *port == service_port)
            .map(|(_, target)| *target)
    }
}

/// What endpoints are compared by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The same region.
    Region,
    /// The same zone.
    Zone,
    /// The same part of a zone.
    Subzone,
    /// The same node.
    Node,
    /// The same cluster.
    Cluster,
    /// The same network.
    Network,
}

/// How preferences are used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Any endpoint.
    #[default]
    Any,
    /// Only endpoints that match every preference.
    Strict,
    /// Those that match most, in order.
    Failover,
    /// None: the address itself is the destination.
    Passthrough,
}

/// Which endpoints may be picked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HealthPolicy {
    /// Ready ones.
    #[default]
    OnlyHealthy,
    /// All.
    AllowAll,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LoadBalancing {
    /// In order of importance.
    pub preferences: Vec<Scope>,
    /// What the preferences do.
    pub mode: Mode,
    /// Who may be picked.
    pub health_policy: HealthPolicy,
}

/// Which addresses of its endpoints a service may be reached by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IpFamilies {
    /// Whatever there is.
    #[default]
    Automatic,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both.
    Dual,
}

impl IpFamilies {
    /// Whether an address of that family may be used.
    #[must_use]
    pub fn allows(self, ip: IpAddr) -> bool {
        match self {
            Self::Automatic | Self::Dual => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// Who may see a service.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Visibility {
    /// Everybody.
    #[default]
    Public,
    /// Its own namespace.
    Namespace,
}

/// One of several waypoints with its share of connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WeightedWaypoint {
    /// Which.
    pub waypoint: GatewayRef,
    /// Its share.
    pub weight: u32,
}

/// A service as discovery describes it. Source: `istio.workload.Service`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its full hostname.
    pub hostname: Arc<str>,
    /// Its own addresses.
    pub vips: Vec<NetworkAddress>,
    /// Ranges of addresses that are its own, by network.
    pub cidr_vips: Vec<(Arc<str>, IpNet)>,
    /// Its ports.
    pub ports: PortMap,
    /// Identities that may answer for it, besides its workloads' own.
    pub subject_alt_names: Vec<Identity>,
    /// The waypoint that traffic to it goes through.
    pub waypoint: Option<GatewayRef>,
    /// Several waypoints with shares; they win over `waypoint`.
    pub weighted_waypoints: Vec<WeightedWaypoint>,
    /// How an endpoint is chosen.
    pub load_balancing: LoadBalancing,
    /// See [`IpFamilies`].
    pub ip_families: IpFamilies,
    /// The one that stands for its hostname in other namespaces.
    pub is_canonical: bool,
    /// Who may see it.
    pub visibility: Visibility,
}

impl Service {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> ServiceKey {
        ServiceKey {
            namespace: self.namespace.clone(),
            hostname: self.hostname.clone(),
        }
    }

    pub(crate) fn is_visible_to(&self, namespace: &str) -> bool {
        self.visibility == Visibility::Public || &*self.namespace == namespace
    }
}

/// A workload's part in a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Which workload, as it is now: choosing among many looks nothing up.
    pub workload: Arc<Workload>,
    /// Its ports for this service.
    pub ports: PortMap,
}

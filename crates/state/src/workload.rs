//! Workloads: what a connection can come from and go to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ambimesh_policy::PolicyKey;
use ambimesh_types::{Identity, WorkloadUid};

use crate::service::{NetworkAddress, PortMap, ServiceKey};

/// How a workload is reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// As it is: the workload is not in the mesh.
    #[default]
    Tcp,
    /// Through a tunnel to its port 15008.
    Hbone,
}

/// Whether a workload has a network of its own.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NetworkMode {
    /// Its addresses are its own.
    #[default]
    Standard,
    /// It shares its node's: it cannot be told from others by address.
    HostNetwork,
}

/// Whether a workload says that it is ready.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Health {
    /// Ready.
    #[default]
    Healthy,
    /// Not ready, or ending.
    Unhealthy,
}

/// Where a workload is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Locality {
    /// Region; may be empty, as all of these.
    pub region: Box<str>,
    /// Zone.
    pub zone: Box<str>,
    /// Part of the zone.
    pub subzone: Box<str>,
}

/// A workload that wants all its traffic on one port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApplicationTunnel {
    /// Whether a PROXY protocol header comes first.
    pub is_proxy_protocol: bool,
    /// The port; `None`: the port that was asked for.
    pub port: Option<u16>,
}

/// What a gateway reference names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum GatewayTarget {
    /// A service, or a workload with that hostname.
    Hostname(ServiceKey),
    /// An address.
    Address(NetworkAddress),
}

/// A waypoint or network gateway, and its tunnel port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GatewayRef {
    /// Which.
    pub target: GatewayTarget,
    /// The port that takes tunnels.
    pub port: u16,
}

/// A workload as discovery describes it; see [`Workload::new`].
///
/// Source: `istio.workload.Workload`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadDetails {
    /// Name of the pod, or of whatever it is.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its service account.
    pub service_account: Arc<str>,
    /// Its trust domain.
    pub trust_domain: Arc<str>,
    /// The network its addresses are in; may be empty.
    pub network: Arc<str>,
    /// Its addresses; may be empty.
    pub addresses: Vec<IpAddr>,
    /// The name to resolve when there is no address; may be empty.
    pub hostname: Box<str>,
    /// How it is reached.
    pub protocol: Protocol,
    /// It ends tunnels by itself.
    pub is_native_tunnel: bool,
    /// Whether its addresses are its own.
    pub network_mode: NetworkMode,
    /// The waypoint that its traffic goes through.
    pub waypoint: Option<GatewayRef>,
    /// Its waypoint also takes traffic that is addressed to its services (design D2).
    pub has_waypoint_for_services: bool,
    /// The gateway of its network.
    pub network_gateway: Option<GatewayRef>,
    /// The node that it is on.
    pub node: Arc<str>,
    /// Name of its owner: a deployment, for example.
    pub workload_name: Arc<str>,
    /// Kind of its owner, lower case.
    pub workload_type: Arc<str>,
    /// The name that telemetry gives it.
    pub canonical_name: Arc<str>,
    /// The revision that telemetry gives it.
    pub canonical_revision: Arc<str>,
    /// The cluster it is in.
    pub cluster_id: Arc<str>,
    /// Where it is.
    pub locality: Locality,
    /// Whether it is ready.
    pub health: Health,
    /// Its share among the endpoints of a service; 0 is never picked.
    pub capacity: u32,
    /// The services it belongs to, with its ports.
    pub services: BTreeMap<ServiceKey, PortMap>,
    /// See [`ApplicationTunnel`].
    pub application_tunnel: Option<ApplicationTunnel>,
    /// Policies that select it.
    pub authorization_policies: Vec<PolicyKey>,
}

/// A workload with its key and identity. Its details can be read as its own fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    uid: WorkloadUid,
    identity: Identity,
    details: WorkloadDetails,
}

impl Workload {
    /// Puts a workload together; its identity follows from its details.
    #[must_use]
    pub fn new(uid: WorkloadUid, details: WorkloadDetails) -> Self {
        let identity = Identity::new(
            &details.trust_domain,
            &details.namespace,
            &details.service_account,
        );
        Self {
            uid,
            identity,
            details,
        }
    }

    /// Its key in the mesh.
    #[must_use]
    pub fn uid(&self) -> &WorkloadUid {
        &self.uid
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl std::ops::Deref for Workload {
    type Target = WorkloadDetails;

    fn deref(&self) -> &WorkloadDetails {
        &self.details
    }
}

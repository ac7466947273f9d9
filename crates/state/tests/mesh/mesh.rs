//! Small meshes, told as discovery would tell them.

use std::sync::Arc;

use ambimesh_policy::Policy;
use ambimesh_state::{
    GatewayRef, GatewayTarget, NetworkAddress, PortMap, Protocol, Published, Removal, Route,
    RouteError, Service, ServiceKey, Snapshot, Store, Update, Workload, WorkloadDetails,
};
use ambimesh_types::{OriginalDst, WorkloadUid};

/// The namespace of everything that does not say otherwise.
pub const NAMESPACE: &str = "demo";

/// A store that is fed by name.
#[derive(Debug, Default)]
pub struct Mesh(Store);

impl Mesh {
    /// A mesh of one node.
    pub fn for_node(node: &str) -> Self {
        Self(Store::for_node(node))
    }

    /// Tells of a pod, or anew of one.
    pub fn pod(&mut self, details: WorkloadDetails) -> &mut Self {
        let uid = uid_in(&details.namespace, &details.name);
        self.update(Update::Workload(Arc::new(Workload::new(uid, details))))
    }

    /// Tells of a workload that is no pod.
    pub fn workload(&mut self, uid: &str, details: WorkloadDetails) -> &mut Self {
        let workload = Workload::new(WorkloadUid::new(uid), details);
        self.update(Update::Workload(Arc::new(workload)))
    }

    /// Tells of a service.
    pub fn service(&mut self, service: Service) -> &mut Self {
        self.update(Update::Service(Arc::new(service)))
    }

    /// Tells of a policy.
    pub fn policy(&mut self, policy: Policy) -> &mut Self {
        self.update(Update::Policy(Arc::new(policy)))
    }

    /// Takes something back.
    pub fn remove(&mut self, removal: Removal) -> &mut Self {
        self.0.apply([], [removal]);
        self
    }

    /// The newest picture.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published().load()
    }

    /// Where pictures appear.
    pub fn published(&self) -> Arc<Published> {
        self.0.published()
    }

    /// The route of a connection, told in words.
    pub fn route(&self, source: &str, destination: &str) -> String {
        self.try_route(source, destination, 0)
            .map_or_else(|error| format!("{}: {error}", error.reason), |r| told(&r))
    }

    /// The route of a connection.
    pub fn try_route(&self, from: &str, to: &str, draw: u64) -> Result<Route, RouteError> {
        let snapshot = self.snapshot();
        let source = snapshot.workload_by_uid(&uid(from)).unwrap();
        snapshot.outbound_route(source, OriginalDst::new(to.parse().unwrap()), draw)
    }

    fn update(&mut self, update: Update) -> &mut Self {
        self.0.apply([update], []);
        self
    }
}

fn told(route: &Route) -> String {
    match route {
        Route::Passthrough { to } => format!("passthrough {to}"),
        Route::Direct {
            to,
            workload,
            service,
        } => format!(
            "direct {to} {}{}",
            workload.name,
            of_service(service.as_ref())
        ),
        Route::Tunnel {
            to,
            authority,
            workload,
            service,
            ..
        } => format!(
            "tunnel {to} {authority} {}{}",
            workload.name,
            of_service(service.as_ref())
        ),
    }
}

fn of_service(service: Option<&Arc<Service>>) -> String {
    service.map_or(String::new(), |s| format!(" of {}", s.name))
}

/// The key of a pod in [`NAMESPACE`].
pub fn uid(name: &str) -> WorkloadUid {
    uid_in(NAMESPACE, name)
}

fn uid_in(namespace: &str, name: &str) -> WorkloadUid {
    WorkloadUid::new(&format!("Kubernetes//Pod/{namespace}/{name}"))
}

/// A captured pod with a service account of its own name.
pub fn pod(name: &str, addresses: &[&str]) -> WorkloadDetails {
    WorkloadDetails {
        name: name.into(),
        namespace: NAMESPACE.into(),
        service_account: name.into(),
        trust_domain: "cluster.local".into(),
        cluster_id: "Kubernetes".into(),
        node: "node-1".into(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        protocol: Protocol::Hbone,
        capacity: 1,
        ..WorkloadDetails::default()
    }
}

/// A pod that is not captured.
pub fn outsider(name: &str, addresses: &[&str]) -> WorkloadDetails {
    WorkloadDetails {
        protocol: Protocol::Tcp,
        ..pod(name, addresses)
    }
}

/// The same pod as an endpoint of a service in [`NAMESPACE`], with ports of its own.
pub fn member(mut pod: WorkloadDetails, service: &str, ports: &[(u16, u16)]) -> WorkloadDetails {
    pod.services
        .insert(service_key(service), PortMap(ports.to_vec()));
    pod
}

/// A service with addresses and ports.
pub fn service(name: &str, vips: &[&str], ports: &[(u16, u16)]) -> Service {
    Service {
        name: name.into(),
        namespace: NAMESPACE.into(),
        hostname: hostname(name).into(),
        vips: vips.iter().map(|ip| network_address("", ip)).collect(),
        ports: PortMap(ports.to_vec()),
        ..Service::default()
    }
}

/// The full hostname of a service in [`NAMESPACE`].
pub fn hostname(name: &str) -> String {
    format!("{name}.{NAMESPACE}.svc.cluster.local")
}

/// The key of a service in [`NAMESPACE`].
pub fn service_key(name: &str) -> ServiceKey {
    ServiceKey::new(NAMESPACE, &hostname(name))
}

/// A waypoint by its service.
pub fn waypoint(name: &str) -> GatewayRef {
    GatewayRef {
        target: GatewayTarget::Hostname(service_key(name)),
        port: 15008,
    }
}

/// A waypoint by an address.
pub fn waypoint_at(ip: &str) -> GatewayRef {
    GatewayRef {
        target: GatewayTarget::Address(network_address("", ip)),
        port: 15008,
    }
}

/// An address in a network.
pub fn network_address(network: &str, ip: &str) -> NetworkAddress {
    NetworkAddress {
        network: network.into(),
        ip: ip.parse().unwrap(),
    }
}

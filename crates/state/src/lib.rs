//! What discovery has told us: workloads, services, policies, and the route of a connection.
//!
//! One [`Store`] takes updates in and publishes an immutable [`Snapshot`] after each batch;
//! readers never wait and never see half a batch. The maps share structure between snapshots, so
//! a change costs what it changes, whatever the size of the mesh. No I/O, no clock.

mod balance;
mod draw;
mod dump;
mod inbound;
mod route;
mod service;
mod snapshot;
mod store;
mod workload;

pub use dump::Dump;
pub use inbound::InboundTarget;
pub use route::{Route, RouteError};
pub use service::{
    Endpoint, HealthPolicy, IpFamilies, LoadBalancing, Mode, NetworkAddress, PortMap, Scope,
    Service, ServiceKey, ServiceKeyError, Visibility, WeightedWaypoint,
};
pub use snapshot::Snapshot;
pub use store::{Published, Removal, Store, Update};
pub use workload::{
    ApplicationTunnel, GatewayRef, GatewayTarget, Health, Locality, NetworkMode, Protocol,
    Workload, WorkloadDetails,
};

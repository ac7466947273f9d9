//! Choosing an endpoint of a service. Source: node-proxy specification §10 and §7.2.

use std::sync::Arc;

use crate::draw::Draw;
use crate::service::{Endpoint, HealthPolicy, Mode, Scope, Service};
use crate::snapshot::Snapshot;
use crate::workload::{Health, Workload};

/// What is asked of a service: traffic of its own, or tunnels for a waypoint behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    Traffic,
    Waypoint,
}

/// What is wanted of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Who asks.
    pub(crate) source: &'a Workload,
    /// The service's port.
    pub(crate) port: u16,
    pub(crate) purpose: Purpose,
}

/// An endpoint, and its port for the service port that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) workload: &'a Arc<Workload>,
    pub(crate) port: u16,
}

impl Snapshot {
    /// Picks an endpoint by preference, then at random by capacity: the same draw picks the same.
    pub(crate) fn pick(
        &self,
        service: &Service,
        wanted: &Wanted<'_>,
        draw: &mut Draw,
    ) -> Option<Chosen<'_>> {
        let mut best = 0;
        let mut group: Vec<Chosen<'_>> = Vec::new();
        for endpoint in self.endpoints(&service.key()) {
            let Some((rank, chosen)) = candidate(service, endpoint, wanted) else {
                continue;
            };
            if rank > best {
                best = rank;
                group.clear();
            }
            if rank == best {
                group.push(chosen);
            }
        }
        draw.weighted(group.iter(), |chosen| chosen.workload.capacity)
            .cloned()
    }
}

/// The endpoint with its rank, if it may be picked and can be reached from the source.
fn candidate<'a>(
    service: &Service,
    endpoint: &'a Endpoint,
    wanted: &Wanted<'_>,
) -> Option<(usize, Chosen<'a>)> {
    let workload = &endpoint.workload;
    let is_usable = workload.health == Health::Healthy
        || service.load_balancing.health_policy == HealthPolicy::AllowAll;
    // Hostnames are not resolved and networks not crossed yet: picking such an endpoint would
    // fail connections that a neighbour can serve.
    let is_reachable = workload.network == wanted.source.network
        && workload
            .addresses
            .iter()
            .any(|ip| service.ip_families.allows(*ip));
    if !is_usable || !is_reachable || workload.capacity == 0 {
        return None;
    }
    let port = map_port(service, endpoint, wanted)?;
    let rank = rank(&service.load_balancing, wanted.source, workload)?;
    Some((rank, Chosen { workload, port }))
}

/// The endpoint's own mapping, then the service's, then for a workload that takes everything on
/// one port the port that was asked for.
fn map_port(service: &Service, endpoint: &Endpoint, wanted: &Wanted<'_>) -> Option<u16> {
    let Wanted { port, purpose, .. } = *wanted;
    let tunnel = endpoint.workload.application_tunnel;
    let has_tunnel_port = tunnel.is_some_and(|tunnel| tunnel.port.is_some());
    let target = service.ports.target(port);
    if target.is_none() && !(purpose == Purpose::Waypoint && tunnel.is_some()) {
        return None;
    }
    endpoint
        .ports
        .target(port)
        .filter(|mapped| *mapped > 0)
        .or(target.filter(|mapped| *mapped > 0))
        .or_else(|| (has_tunnel_port || purpose == Purpose::Waypoint).then_some(port))
}

/// How well an endpoint matches the preferences; `None`: not at all eligible.
fn rank(balancing: &crate::LoadBalancing, source: &Workload, endpoint: &Workload) -> Option<usize> {
    let preferences = &balancing.preferences;
    let matches = |scope: &Scope| is_same(*scope, source, endpoint);
    match balancing.mode {
        Mode::Any | Mode::Passthrough => Some(0),
        Mode::Strict => preferences.iter().all(matches).then_some(0),
        Mode::Failover => Some(match preferences.split_first() {
            // Another network does not end the comparison, but the same one outweighs the rest.
            Some((Scope::Network, rest)) => {
                let near = rest.iter().take_while(|scope| matches(scope)).count();
                if matches(&Scope::Network) {
                    near + 1 + rest.len()
                } else {
                    near
                }
            }
            _ => preferences
                .iter()
                .take_while(|scope| matches(scope))
                .count(),
        }),
    }
}

fn is_same(scope: Scope, a: &Workload, b: &Workload) -> bool {
    match scope {
        Scope::Region => a.locality.region == b.locality.region,
        Scope::Zone => a.locality.zone == b.locality.zone,
        Scope::Subzone => a.locality.subzone == b.locality.subzone,
        Scope::Node => a.node == b.node,
        Scope::Cluster => a.cluster_id == b.cluster_id,
        Scope::Network => a.network == b.network,
    }
}

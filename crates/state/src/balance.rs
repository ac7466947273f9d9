//! Choosing an endpoint of a service. Source: node-proxy specification §10 and §7.2.

use std::sync::Arc;

use crate::service::{Endpoint, HealthPolicy, Mode, Scope, Service};
use crate::snapshot::Snapshot;
use crate::workload::{Health, Workload};

/// What is asked of a service: traffic of its own, or tunnels for a waypoint behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    Traffic,
    Waypoint,
}

/// An endpoint, and its port for the service port that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) workload: &'a Arc<Workload>,
    pub(crate) port: u16,
}

impl Snapshot {
    /// Picks an endpoint by preference, then at random by capacity. `draw` is the randomness: the
    /// same draw picks the same endpoint.
    pub(crate) fn pick(
        &self,
        service: &Service,
        port: u16,
        source: &Workload,
        purpose: Purpose,
        draw: u64,
    ) -> Option<Chosen<'_>> {
        let key = service.key();
        let candidates = || {
            self.endpoints(&key)
                .filter_map(move |e| self.candidate(service, e, port, purpose))
                .filter_map(move |chosen| {
                    rank(&service.load_balancing, source, chosen.workload).map(|r| (r, chosen))
                })
        };
        let best = candidates().map(|(rank, _)| rank).max()?;
        let group = || {
            candidates()
                .filter(|(rank, _)| *rank == best)
                .map(|(_, chosen)| chosen)
        };
        let total: u64 = group().map(|c| u64::from(c.workload.capacity)).sum();
        let mut left = draw.checked_rem(total)?;
        group().find(|chosen| {
            let capacity = u64::from(chosen.workload.capacity);
            let is_it = left < capacity;
            left = left.saturating_sub(capacity);
            is_it
        })
    }

    fn candidate(
        &self,
        service: &Service,
        endpoint: &Endpoint,
        port: u16,
        purpose: Purpose,
    ) -> Option<Chosen<'_>> {
        let workload = self.workloads.get(&endpoint.uid)?;
        let is_usable = workload.health == Health::Healthy
            || service.load_balancing.health_policy == HealthPolicy::AllowAll;
        let is_reachable = !workload.addresses.is_empty()
            || !workload.hostname.is_empty()
            || workload.network_gateway.is_some();
        if !is_usable || !is_reachable {
            return None;
        }
        let port = map_port(service, endpoint, workload, port, purpose)?;
        Some(Chosen { workload, port })
    }
}

/// The endpoint's own mapping, then the service's, then for a workload that takes everything on
/// one port the port that was asked for.
fn map_port(
    service: &Service,
    endpoint: &Endpoint,
    workload: &Workload,
    port: u16,
    purpose: Purpose,
) -> Option<u16> {
    let has_tunnel_port = workload
        .application_tunnel
        .is_some_and(|tunnel| tunnel.port.is_some());
    let target = service.ports.target(port);
    if target.is_none() && !(purpose == Purpose::Waypoint && workload.application_tunnel.is_some())
    {
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

//! Where a connection of a captured pod goes: a pure decision.
//!
//! Source: node-proxy specification §7; design D1 to D3 where they differ.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ambimesh_types::{Authority, CloseReason, Identity, OriginalDst};

use crate::balance::{Chosen, Purpose};
use crate::service::{IpFamilies, Mode, Service};
use crate::snapshot::Snapshot;
use crate::workload::{GatewayRef, GatewayTarget, Protocol, Workload};

/// The port that takes tunnels.
const TUNNEL_PORT: u16 = 15008;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// Nothing is known of the destination: bytes pass untouched.
    Passthrough {
        /// The original destination.
        to: SocketAddr,
    },
    /// A workload that is not in the mesh.
    Direct {
        /// Its address and port.
        to: SocketAddr,
        /// Which it is.
        workload: Arc<Workload>,
        /// The service that was addressed.
        service: Option<Arc<Service>>,
    },
    /// Through a tunnel, to the destination or to its waypoint.
    Tunnel {
        /// The tunnel port of the hop.
        to: SocketAddr,
        /// What is asked of the hop.
        authority: Authority,
        /// Identities of which the hop must prove one; never empty.
        expected: Arc<[Identity]>,
        /// The hop.
        workload: Arc<Workload>,
        /// The service that was addressed.
        service: Option<Arc<Service>>,
    },
}

/// Why a connection has no route. It is refused, never passed round what is missing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct RouteError {
    /// For log and metrics.
    pub reason: CloseReason,
    /// Names the object and what is wrong with it.
    pub text: String,
}

fn refuse<T>(reason: CloseReason, text: String) -> Result<T, RouteError> {
    Err(RouteError { reason, text })
}

impl Snapshot {
    /// Decides where a connection of `source` to `destination` goes. `draw` is the randomness.
    ///
    /// # Errors
    /// [`RouteError`]: a service without a usable endpoint, a waypoint that cannot be used, a
    /// destination that cannot be reached from here.
    pub fn outbound_route(
        &self,
        source: &Workload,
        destination: OriginalDst,
        draw: u64,
    ) -> Result<Route, RouteError> {
        let network = &source.network;
        let by_address = self.workload_by_address(network, destination.ip());
        let by_vip = self.service_by_vip(network, destination.ip(), &source.namespace);
        // An address that is a workload's is not taken for a service's when it comes to waypoints
        // (specification §7.1 step 1), but it is when it comes to endpoints (step 3).
        let addressed = by_vip.filter(|_| by_address.is_none());
        if let Some(service) = addressed
            && let Some(waypoint) = service_waypoint(service, draw)
            && !self.is_waypoint_of(waypoint, source)
        {
            let service = Some(Arc::clone(service));
            return self.to_waypoint(waypoint, source, destination, service, draw);
        }
        if let Some(service) = by_vip.filter(|s| s.load_balancing.mode != Mode::Passthrough) {
            return self.to_endpoint(service, source, destination, draw);
        }
        match by_address {
            Some(workload) => self.to_pod(workload, source, destination, draw),
            None => Ok(Route::Passthrough {
                to: destination.socket_addr(),
            }),
        }
    }

    fn to_endpoint(
        &self,
        service: &Arc<Service>,
        source: &Workload,
        destination: OriginalDst,
        draw: u64,
    ) -> Result<Route, RouteError> {
        let picked = self.pick(service, destination.port(), source, Purpose::Traffic, draw);
        let Some(chosen) = picked else {
            let text = format!(
                "no healthy upstream: {destination} (service {})",
                service.key()
            );
            return refuse(CloseReason::NoHealthyEndpoint, text);
        };
        let waypoint = chosen.workload.waypoint.as_ref();
        if let Some(waypoint) = waypoint.filter(|_| chosen.workload.has_waypoint_for_services)
            && !self.is_waypoint_of(waypoint, source)
        {
            let service = Some(Arc::clone(service));
            return self.to_waypoint(waypoint, source, destination, service, draw);
        }
        let ip = address_of(chosen.workload, destination.ip(), service.ip_families)?;
        let to = SocketAddr::new(ip, chosen.port);
        hop(chosen.workload, source, to, Some(service))
    }

    fn to_pod(
        &self,
        workload: &Arc<Workload>,
        source: &Workload,
        destination: OriginalDst,
        draw: u64,
    ) -> Result<Route, RouteError> {
        if let Some(waypoint) = &workload.waypoint
            && !self.is_waypoint_of(waypoint, source)
        {
            return self.to_waypoint(waypoint, source, destination, None, draw);
        }
        hop(workload, source, destination.socket_addr(), None)
    }

    /// To the waypoint, asking for what the application asked for.
    fn to_waypoint(
        &self,
        waypoint: &GatewayRef,
        source: &Workload,
        destination: OriginalDst,
        service: Option<Arc<Service>>,
        draw: u64,
    ) -> Result<Route, RouteError> {
        let unusable = |why: &str| RouteError {
            reason: CloseReason::WaypointUnavailable,
            text: format!("waypoint {} of {destination} {why}", name_of(waypoint)),
        };
        let (chosen, gateway) = self
            .resolve_gateway(waypoint, source, draw)
            .ok_or_else(|| unusable("is unknown or has no ready endpoint"))?;
        if chosen.workload.network != source.network {
            return Err(unusable("is on another network"));
        }
        let asked = match &waypoint.target {
            GatewayTarget::Address(address) => address.ip,
            GatewayTarget::Hostname(_) => destination.ip(),
        };
        let families = gateway.map_or(IpFamilies::Automatic, |service| service.ip_families);
        let ip =
            address_of(chosen.workload, asked, families).map_err(|_| unusable("has no address"))?;
        Ok(Route::Tunnel {
            to: SocketAddr::new(ip, chosen.port),
            authority: Authority::Address(destination.socket_addr()),
            expected: expected(gateway.map(AsRef::as_ref), chosen.workload),
            workload: Arc::clone(chosen.workload),
            service,
        })
    }

    /// Finds a ready endpoint behind a gateway reference. Source: specification §7.3.
    fn resolve_gateway(
        &self,
        gateway: &GatewayRef,
        source: &Workload,
        draw: u64,
    ) -> Option<(Chosen<'_>, Option<&Arc<Service>>)> {
        let service = self.gateway_service(gateway, source);
        if let Some(service) = service {
            let chosen = self.pick(service, gateway.port, source, Purpose::Waypoint, draw)?;
            return Some((chosen, Some(service)));
        }
        let workload = self.gateway_workload(gateway)?;
        Some((
            Chosen {
                workload,
                port: gateway.port,
            },
            None,
        ))
    }

    fn gateway_service(&self, gateway: &GatewayRef, source: &Workload) -> Option<&Arc<Service>> {
        match &gateway.target {
            GatewayTarget::Hostname(key) => self.service(key),
            GatewayTarget::Address(at) => {
                self.service_by_vip(&at.network, at.ip, &source.namespace)
            }
        }
    }

    fn gateway_workload(&self, gateway: &GatewayRef) -> Option<&Arc<Workload>> {
        match &gateway.target {
            GatewayTarget::Address(at) => self.workload_by_address(&at.network, at.ip),
            GatewayTarget::Hostname(key) => self.workloads().find(|workload| {
                *workload.hostname == *key.hostname && workload.namespace == key.namespace
            }),
        }
    }

    /// Whether `workload` is one of the waypoint's own: its traffic is not sent to itself.
    fn is_waypoint_of(&self, waypoint: &GatewayRef, workload: &Workload) -> bool {
        match self.gateway_service(waypoint, workload) {
            Some(service) => self.is_endpoint(&service.key(), workload),
            None => self
                .gateway_workload(waypoint)
                .is_some_and(|w| w.uid() == workload.uid()),
        }
    }
}

/// The last hop: a tunnel to the workload if it takes tunnels, else a plain connection.
fn hop(
    workload: &Arc<Workload>,
    source: &Workload,
    to: SocketAddr,
    service: Option<&Arc<Service>>,
) -> Result<Route, RouteError> {
    if workload.network != source.network {
        let text = format!(
            "workload {} is on network {:?}, and this proxy does not cross networks yet",
            workload.uid(),
            workload.network
        );
        return refuse(CloseReason::NoRoute, text);
    }
    let (workload, service) = (Arc::clone(workload), service.map(Arc::clone));
    Ok(match workload.protocol {
        Protocol::Tcp => Route::Direct {
            to,
            workload,
            service,
        },
        Protocol::Hbone => Route::Tunnel {
            to: SocketAddr::new(to.ip(), TUNNEL_PORT),
            authority: Authority::Address(to),
            expected: expected(service.as_deref(), &workload),
            workload,
            service,
        },
    })
}

/// The service's waypoint: of several one by weight.
fn service_waypoint(service: &Service, draw: u64) -> Option<&GatewayRef> {
    let weighted = &service.weighted_waypoints;
    let total: u64 = weighted.iter().map(|w| u64::from(w.weight)).sum();
    let Some(mut left) = draw.checked_rem(total) else {
        return service.waypoint.as_ref();
    };
    let chosen = weighted.iter().find(|candidate| {
        let weight = u64::from(candidate.weight);
        let is_it = left < weight;
        left = left.saturating_sub(weight);
        is_it
    });
    chosen.map(|found| &found.waypoint)
}

/// The address of a workload to use: the one asked for, else one of the same family, else the
/// first that the service allows. Source: specification §7.5.
fn address_of(
    workload: &Workload,
    asked: IpAddr,
    families: IpFamilies,
) -> Result<IpAddr, RouteError> {
    let allowed = || {
        workload
            .addresses
            .iter()
            .copied()
            .filter(|ip| families.allows(*ip))
    };
    let same_family = |ip: &IpAddr| ip.is_ipv4() == asked.is_ipv4();
    if workload.addresses.contains(&asked) {
        return Ok(asked);
    }
    allowed()
        .find(same_family)
        .or_else(|| allowed().next())
        .ok_or_else(|| RouteError {
            reason: CloseReason::NoRoute,
            text: format!(
                "no valid routing destination for workload: {} has no address that may be used",
                workload.uid()
            ),
        })
}

fn expected(service: Option<&Service>, workload: &Workload) -> Arc<[Identity]> {
    let of_service = service.into_iter().flat_map(|s| &s.subject_alt_names);
    let mut identities: Vec<Identity> = of_service.cloned().collect();
    identities.push(workload.identity().clone());
    identities.sort_unstable();
    identities.dedup();
    identities.into()
}

fn name_of(gateway: &GatewayRef) -> String {
    match &gateway.target {
        GatewayTarget::Hostname(key) => key.to_string(),
        GatewayTarget::Address(address) => address.to_string(),
    }
}

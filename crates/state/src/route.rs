//! Where a connection of a captured pod goes: a pure decision.
//!
//! Source: node-proxy specification §7; design D1 to D3 where they differ.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ambimesh_types::{Authority, CloseReason, Identity, OriginalDst};

use crate::balance::{Chosen, Purpose, Wanted};
use crate::draw::Draw;
use crate::service::{IpFamilies, Mode, Service};
use crate::snapshot::Snapshot;
use crate::workload::{GatewayRef, GatewayTarget, Health, Protocol, Workload};

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
        let connection = Connection {
            source,
            destination,
        };
        let mut draw = Draw::new(draw);
        let network = &source.network;
        let by_address = self.workload_by_address(network, destination.ip());
        let by_vip = self.service_by_vip(network, destination.ip(), &source.namespace);
        // An address that is a workload's is not taken for a service's when it comes to waypoints
        // (specification §7.1 step 1), but it is when it comes to endpoints (step 3).
        let addressed = by_vip.filter(|_| by_address.is_none());
        if let Some(service) = addressed
            && let Some(waypoint) = self.service_waypoint(service, &connection, &mut draw)?
        {
            return self.to_waypoint(waypoint, &connection, Some(service), &mut draw);
        }
        if let Some(service) = by_vip.filter(|s| s.load_balancing.mode != Mode::Passthrough) {
            return self.to_endpoint(service, &connection, &mut draw);
        }
        match by_address {
            Some(workload) => self.to_pod(workload, &connection, &mut draw),
            None => Ok(Route::Passthrough {
                to: destination.socket_addr(),
            }),
        }
    }

    fn to_endpoint(
        &self,
        service: &Arc<Service>,
        connection: &Connection<'_>,
        draw: &mut Draw,
    ) -> Result<Route, RouteError> {
        let wanted = connection.wanted(connection.destination.port(), Purpose::Traffic);
        let chosen = self
            .pick(service, &wanted, draw)
            .ok_or_else(|| self.no_endpoint(service, connection.destination))?;
        let waypoint = chosen.workload.waypoint.as_ref();
        if let Some(waypoint) = waypoint.filter(|_| chosen.workload.has_waypoint_for_services)
            && !self.is_waypoint(connection.source, waypoint)
        {
            return self.to_waypoint(waypoint, connection, Some(service), draw);
        }
        let asked = connection.destination.ip();
        let ip = address_of(chosen.workload, asked, service.ip_families)?;
        let to = SocketAddr::new(ip, chosen.port);
        hop(chosen.workload, connection.source, to, Some(service))
    }

    fn to_pod(
        &self,
        workload: &Arc<Workload>,
        connection: &Connection<'_>,
        draw: &mut Draw,
    ) -> Result<Route, RouteError> {
        if let Some(waypoint) = &workload.waypoint
            && !self.is_waypoint(connection.source, waypoint)
        {
            return self.to_waypoint(waypoint, connection, None, draw);
        }
        let to = connection.destination.socket_addr();
        hop(workload, connection.source, to, None)
    }

    fn no_endpoint(&self, service: &Service, destination: OriginalDst) -> RouteError {
        let key = service.key();
        let why = match service.ports.target(destination.port()) {
            None => format!("service {key} has no port {}", destination.port()),
            Some(_) => format!(
                "none of the {} endpoints of service {key} is ready and can be reached",
                self.endpoints(&key).count()
            ),
        };
        RouteError {
            reason: CloseReason::NoHealthyEndpoint,
            text: format!("no healthy upstream: {destination}: {why}"),
        }
    }

    /// To the waypoint, asking for what the application asked for.
    fn to_waypoint(
        &self,
        waypoint: &GatewayRef,
        connection: &Connection<'_>,
        service: Option<&Arc<Service>>,
        draw: &mut Draw,
    ) -> Result<Route, RouteError> {
        let destination = connection.destination;
        let unusable = |why: &str| RouteError {
            reason: CloseReason::WaypointUnavailable,
            text: format!("waypoint {} of {destination} {why}", name_of(waypoint)),
        };
        let (chosen, gateway) = self
            .resolve_gateway(waypoint, connection.source, draw)
            .map_err(unusable)?;
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
            service: service.map(Arc::clone),
        })
    }

    /// The waypoint that a connection to the service goes through: of several one by weight. None
    /// for the waypoints themselves, which would send to each other without end.
    fn service_waypoint<'a>(
        &self,
        service: &'a Service,
        connection: &Connection<'_>,
        draw: &mut Draw,
    ) -> Result<Option<&'a GatewayRef>, RouteError> {
        let weighted = &service.weighted_waypoints;
        let mut bound = service
            .waypoint
            .iter()
            .chain(weighted.iter().map(|w| &w.waypoint));
        if bound.any(|waypoint| self.is_waypoint(connection.source, waypoint)) {
            return Ok(None);
        }
        let chosen = draw.weighted(weighted.iter(), |w| w.weight);
        match chosen.map(|w| &w.waypoint).or(service.waypoint.as_ref()) {
            None if !weighted.is_empty() => Err(RouteError {
                reason: CloseReason::WaypointUnavailable,
                text: format!("every waypoint of service {} has weight 0", service.key()),
            }),
            chosen => Ok(chosen),
        }
    }

    /// Finds a ready endpoint behind a gateway reference, or says what is wrong with it.
    /// Source: specification §7.3.
    fn resolve_gateway(
        &self,
        gateway: &GatewayRef,
        source: &Workload,
        draw: &mut Draw,
    ) -> Result<(Chosen<'_>, Option<&Arc<Service>>), &'static str> {
        if let Some(service) = self.gateway_service(gateway, source) {
            let wanted = Wanted {
                source,
                port: gateway.port,
                purpose: Purpose::Waypoint,
            };
            let chosen = self.pick(service, &wanted, draw);
            return Ok((chosen.ok_or("has no ready endpoint")?, Some(service)));
        }
        let workload = self.gateway_workload(gateway).ok_or("is unknown")?;
        if workload.health == Health::Unhealthy {
            return Err("is not ready");
        }
        if workload.network != source.network {
            return Err("is on another network");
        }
        let port = gateway.port;
        Ok((Chosen { workload, port }, None))
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
            GatewayTarget::Hostname(key) => self.workload_by_hostname(key),
        }
    }

    /// Whether `workload` is one of the waypoint's own: its traffic is not sent to itself.
    fn is_waypoint(&self, workload: &Workload, waypoint: &GatewayRef) -> bool {
        match self.gateway_service(waypoint, workload) {
            Some(service) => self.is_endpoint(&service.key(), workload),
            None => self
                .gateway_workload(waypoint)
                .is_some_and(|w| w.uid() == workload.uid()),
        }
    }
}

/// What is to be routed.
struct Connection<'a> {
    source: &'a Workload,
    destination: OriginalDst,
}

impl Connection<'_> {
    fn wanted(&self, port: u16, purpose: Purpose) -> Wanted<'_> {
        Wanted {
            source: self.source,
            port,
            purpose,
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
        return Err(RouteError {
            reason: CloseReason::NoRoute,
            text,
        });
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

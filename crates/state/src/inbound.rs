//! What a request that arrives in a tunnel is about.
//!
//! Source: node-proxy specification §8.2 steps 4 to 9.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ambimesh_types::{Authority, CloseReason};

use crate::route::RouteError;
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::workload::Workload;

/// The application that a request is for.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundTarget {
    /// Its socket: always at the address that the tunnel came to.
    pub address: SocketAddr,
    /// The service that the authority names, for a hostname.
    pub service: Option<Arc<Service>>,
}

impl Snapshot {
    /// Decides whether `authority` may be asked of `local`, and which socket it means.
    ///
    /// # Errors
    /// [`CloseReason::BadRequest`] (answer 400): another pod's address.
    /// [`CloseReason::NoRoute`] (answer 503): an unknown hostname or port.
    pub fn inbound_target(
        &self,
        local: &Workload,
        authority: &Authority,
        tunnel_address: IpAddr,
    ) -> Result<InboundTarget, RouteError> {
        let forced = local.application_tunnel.and_then(|tunnel| tunnel.port);
        let at = |port| SocketAddr::new(tunnel_address, forced.unwrap_or(port));
        match authority {
            Authority::Address(asked) => {
                if asked.ip() != tunnel_address && local.application_tunnel.is_none() {
                    let text = format!("ip mismatch: {tunnel_address} != {}", asked.ip());
                    return Err(RouteError {
                        reason: CloseReason::BadRequest,
                        text,
                    });
                }
                Ok(InboundTarget {
                    address: at(asked.port()),
                    service: None,
                })
            }
            Authority::Hostname(hostname, port) => {
                let (service, port) = self.inbound_service(local, hostname, *port)?;
                Ok(InboundTarget {
                    address: at(port),
                    service: Some(service),
                })
            }
        }
    }

    /// The service that telemetry names: the one that the caller names, if the workload belongs
    /// to it, else the first whose port leads to `port`.
    #[must_use]
    pub fn inbound_service_of(
        &self,
        local: &Workload,
        named: Option<&str>,
        port: u16,
    ) -> Option<&Arc<Service>> {
        let candidates = || local.services.keys().filter_map(|key| self.service(key));
        let by_name = named.and_then(|host| candidates().find(|s| &*s.hostname == host));
        by_name.or_else(|| {
            candidates().find(|service| {
                let own = local.services.get(&service.key());
                own.is_some_and(|ports| ports.0.iter().any(|(_, target)| *target == port))
                    || service.ports.0.iter().any(|(_, target)| *target == port)
            })
        })
    }

    fn inbound_service(
        &self,
        local: &Workload,
        hostname: &str,
        port: u16,
    ) -> Result<(Arc<Service>, u16), RouteError> {
        let fail = |text| RouteError {
            reason: CloseReason::NoRoute,
            text,
        };
        let service = self
            .service_by_hostname(hostname, &local.namespace)
            .ok_or_else(|| fail(format!("no service or workload for hostname: {hostname}")))?;
        let own = local
            .services
            .get(&service.key())
            .and_then(|ports| ports.target(port))
            .filter(|target| *target > 0);
        own.or_else(|| service.ports.target(port).filter(|target| *target > 0))
            .map(|target| (Arc::clone(service), target))
            .ok_or_else(|| {
                fail(format!(
                    "requested service {hostname}:{port} found, but cannot resolve port"
                ))
            })
    }
}

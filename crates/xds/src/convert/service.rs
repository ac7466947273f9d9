//! Services.

use std::sync::Arc;

use ambimesh_state::{
    GatewayRef, GatewayTarget, HealthPolicy, IpFamilies, LoadBalancing, Mode, NetworkAddress,
    PortMap, Scope, Service, ServiceKey, Visibility, WeightedWaypoint,
};
use ipnet::IpNet;

use super::{ConvertError, ip, port, unsupported};
use crate::wire::istio::workload as wire;

pub(super) fn service(message: wire::Service) -> Result<Service, ConvertError> {
    if message.hostname.is_empty() {
        return Err(ConvertError::Missing("hostname"));
    }
    let mut service = Service {
        name: message.name.into(),
        namespace: message.namespace.into(),
        hostname: message.hostname.into(),
        ports: ports(&message.ports)?,
        // An identity that does not parse can be nobody's: leaving it out widens nothing.
        subject_alt_names: message
            .subject_alt_names
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        waypoint: message.waypoint.map(gateway).transpose()?,
        weighted_waypoints: message
            .weighted_waypoints
            .into_iter()
            .map(weighted)
            .collect::<Result<_, _>>()?,
        load_balancing: message
            .load_balancing
            .map(balancing)
            .transpose()?
            .unwrap_or_default(),
        ip_families: families(message.ip_families)?,
        is_canonical: message.canonical,
        visibility: match wire::Visibility::try_from(message.visibility) {
            Ok(wire::Visibility::Namespace) => Visibility::Namespace,
            _ => Visibility::Public,
        },
        ..Service::default()
    };
    for address in message.addresses {
        vip(&mut service, address)?;
    }
    Ok(service)
}

fn vip(service: &mut Service, message: wire::NetworkAddress) -> Result<(), ConvertError> {
    let ip = ip(&message.address)?;
    let network: Arc<str> = message.network.into();
    let full = if ip.is_ipv4() { 32 } else { 128 };
    match message.length {
        Some(length) if length < full => {
            let too_long = |_| ConvertError::PrefixLength(length);
            let short = u8::try_from(length).map_err(|_| ConvertError::PrefixLength(length))?;
            service
                .cidr_vips
                .push((network, IpNet::new(ip, short).map_err(too_long)?.trunc()));
        }
        Some(length) if length > full => return Err(ConvertError::PrefixLength(length)),
        _ => service.vips.push(NetworkAddress { network, ip }),
    }
    Ok(())
}

pub(super) fn ports(messages: &[wire::Port]) -> Result<PortMap, ConvertError> {
    let pair = |message: &wire::Port| Ok((port(message.service_port)?, port(message.target_port)?));
    messages
        .iter()
        .map(pair)
        .collect::<Result<_, _>>()
        .map(PortMap)
}

pub(super) fn gateway(message: wire::GatewayAddress) -> Result<GatewayRef, ConvertError> {
    use wire::gateway_address::Destination;

    let target = match message
        .destination
        .ok_or(ConvertError::Missing("gateway destination"))?
    {
        Destination::Hostname(name) => {
            GatewayTarget::Hostname(ServiceKey::new(&name.namespace, &name.hostname))
        }
        Destination::Address(address) => GatewayTarget::Address(NetworkAddress {
            network: address.network.into(),
            ip: ip(&address.address)?,
        }),
    };
    Ok(GatewayRef {
        target,
        port: port(message.hbone_mtls_port)?,
    })
}

fn weighted(message: wire::WeightedWaypoint) -> Result<WeightedWaypoint, ConvertError> {
    let destination = message
        .destination
        .ok_or(ConvertError::Missing("waypoint destination"))?;
    Ok(WeightedWaypoint {
        waypoint: gateway(destination)?,
        weight: message.weight,
    })
}

fn balancing(message: wire::LoadBalancing) -> Result<LoadBalancing, ConvertError> {
    use wire::load_balancing as lb;

    let mode = match lb::Mode::try_from(message.mode) {
        Ok(lb::Mode::UnspecifiedMode) => Mode::Any,
        Ok(lb::Mode::Strict) => Mode::Strict,
        Ok(lb::Mode::Failover) => Mode::Failover,
        Ok(lb::Mode::Passthrough) => Mode::Passthrough,
        Err(_) => return unsupported("load balancing mode", message.mode),
    };
    let health_policy = match lb::HealthPolicy::try_from(message.health_policy) {
        Ok(lb::HealthPolicy::OnlyHealthy) => HealthPolicy::OnlyHealthy,
        Ok(lb::HealthPolicy::AllowAll) => HealthPolicy::AllowAll,
        Err(_) => return unsupported("health policy", message.health_policy),
    };
    let preferences = message
        .routing_preference
        .into_iter()
        .map(scope)
        .collect::<Result<_, _>>()?;
    Ok(LoadBalancing {
        preferences,
        mode,
        health_policy,
    })
}

fn scope(value: i32) -> Result<Scope, ConvertError> {
    use wire::load_balancing::Scope as Wire;

    match Wire::try_from(value) {
        Ok(Wire::Region) => Ok(Scope::Region),
        Ok(Wire::Zone) => Ok(Scope::Zone),
        Ok(Wire::Subzone) => Ok(Scope::Subzone),
        Ok(Wire::Node) => Ok(Scope::Node),
        Ok(Wire::Cluster) => Ok(Scope::Cluster),
        Ok(Wire::Network) => Ok(Scope::Network),
        Ok(Wire::UnspecifiedScope) | Err(_) => unsupported("routing preference", value),
    }
}

fn families(value: i32) -> Result<IpFamilies, ConvertError> {
    match wire::IpFamilies::try_from(value) {
        Ok(wire::IpFamilies::Automatic) => Ok(IpFamilies::Automatic),
        Ok(wire::IpFamilies::Ipv4Only) => Ok(IpFamilies::V4),
        Ok(wire::IpFamilies::Ipv6Only) => Ok(IpFamilies::V6),
        Ok(wire::IpFamilies::Dual) => Ok(IpFamilies::Dual),
        Err(_) => unsupported("address families", value),
    }
}

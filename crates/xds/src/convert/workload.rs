//! Workloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use ambimesh_state::{
    ApplicationTunnel, Health, Locality, NetworkMode, PortMap, Protocol, ServiceKey, Workload,
    WorkloadDetails,
};
use ambimesh_types::WorkloadUid;

use super::service::{gateway, ports};
use super::{ConvertError, ip, port, unsupported};
use crate::wire::istio::workload as wire;

const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";
const DEFAULT_SERVICE_ACCOUNT: &str = "default";
const DEFAULT_CLUSTER: &str = "Kubernetes";
/// An extension of ours (design D2): the waypoint also takes traffic to the workload's services.
const WAYPOINT_FOR_SERVICES: &str = "ambimesh.io/waypoint-for-services";

pub(super) fn workload(message: wire::Workload) -> Result<Workload, ConvertError> {
    if message.uid.is_empty() {
        return Err(ConvertError::Missing("uid"));
    }
    let details = WorkloadDetails {
        addresses: message
            .addresses
            .iter()
            .map(|a| ip(a))
            .collect::<Result<_, _>>()?,
        protocol: protocol(message.tunnel_protocol)?,
        is_native_tunnel: message.native_tunnel,
        network_mode: match wire::NetworkMode::try_from(message.network_mode) {
            Ok(wire::NetworkMode::Standard) => NetworkMode::Standard,
            Ok(wire::NetworkMode::HostNetwork) => NetworkMode::HostNetwork,
            Err(_) => return unsupported("network mode", message.network_mode),
        },
        workload_type: workload_type(message.workload_type)?,
        health: match wire::WorkloadStatus::try_from(message.status) {
            Ok(wire::WorkloadStatus::Healthy) => Health::Healthy,
            Ok(wire::WorkloadStatus::Unhealthy) => Health::Unhealthy,
            Err(_) => return unsupported("status", message.status),
        },
        waypoint: message.waypoint.map(gateway).transpose()?,
        has_waypoint_for_services: message
            .extensions
            .iter()
            .any(|extension| extension.name == WAYPOINT_FOR_SERVICES),
        network_gateway: message.network_gateway.map(gateway).transpose()?,
        services: services(message.services)?,
        application_tunnel: message
            .application_tunnel
            .map(application_tunnel)
            .transpose()?,
        authorization_policies: message
            .authorization_policies
            .iter()
            .map(|key| key.parse())
            .collect::<Result<_, _>>()?,
        locality: message.locality.map(locality).unwrap_or_default(),
        capacity: message.capacity.unwrap_or(1),
        trust_domain: or_default(message.trust_domain, DEFAULT_TRUST_DOMAIN),
        service_account: or_default(message.service_account, DEFAULT_SERVICE_ACCOUNT),
        cluster_id: or_default(message.cluster_id, DEFAULT_CLUSTER),
        name: message.name.into(),
        namespace: message.namespace.into(),
        network: message.network.into(),
        hostname: message.hostname.into(),
        node: message.node.into(),
        workload_name: message.workload_name.into(),
        canonical_name: message.canonical_name.into(),
        canonical_revision: message.canonical_revision.into(),
    };
    Ok(Workload::new(WorkloadUid::new(&message.uid), details))
}

fn protocol(value: i32) -> Result<Protocol, ConvertError> {
    match wire::TunnelProtocol::try_from(value) {
        Ok(wire::TunnelProtocol::None) => Ok(Protocol::Tcp),
        Ok(wire::TunnelProtocol::Hbone) => Ok(Protocol::Hbone),
        Ok(wire::TunnelProtocol::LegacyIstioMtls) | Err(_) => unsupported("tunnel protocol", value),
    }
}

fn workload_type(value: i32) -> Result<Arc<str>, ConvertError> {
    Ok(match wire::WorkloadType::try_from(value) {
        Ok(wire::WorkloadType::Deployment) => "deployment",
        Ok(wire::WorkloadType::Cronjob) => "cronjob",
        Ok(wire::WorkloadType::Pod) => "pod",
        Ok(wire::WorkloadType::Job) => "job",
        Err(_) => return unsupported("workload type", value),
    }
    .into())
}

fn services(
    message: impl IntoIterator<Item = (String, wire::PortList)>,
) -> Result<BTreeMap<ServiceKey, PortMap>, ConvertError> {
    message
        .into_iter()
        .map(|(key, list)| Ok((key.parse()?, ports(&list.ports)?)))
        .collect()
}

fn application_tunnel(message: wire::ApplicationTunnel) -> Result<ApplicationTunnel, ConvertError> {
    use wire::application_tunnel::Protocol;

    let is_proxy_protocol = match Protocol::try_from(message.protocol) {
        Ok(Protocol::None) => false,
        Ok(Protocol::Proxy) => true,
        Err(_) => return unsupported("application tunnel", message.protocol),
    };
    let port = Some(port(message.port)?).filter(|port| *port > 0);
    Ok(ApplicationTunnel {
        is_proxy_protocol,
        port,
    })
}

fn locality(message: wire::Locality) -> Locality {
    Locality {
        region: message.region.into(),
        zone: message.zone.into(),
        subzone: message.subzone.into(),
    }
}

fn or_default(text: String, default: &str) -> Arc<str> {
    if text.is_empty() {
        default.into()
    } else {
        text.into()
    }
}

//! The state as `/config_dump` shows it; the keys are those that `istioctl` reads.
//!
//! Source: node-proxy specification §12.4.

use std::collections::BTreeMap;

use ambimesh_policy::{Action, Match, Policy, Scope as PolicyScope, Sides, StringMatch};
use serde::Serialize;

use crate::service::{HealthPolicy, IpFamilies, Mode, PortMap, Scope, Service, Visibility};
use crate::snapshot::Snapshot;
use crate::workload::{GatewayRef, GatewayTarget, Health, NetworkMode, Protocol, Workload};

/// Everything that discovery has told, each list ordered by key.
#[derive(Debug, Serialize)]
pub struct Dump {
    workloads: Vec<WorkloadDump>,
    services: Vec<ServiceDump>,
    policies: Vec<PolicyDump>,
}

impl Dump {
    /// Takes a picture apart for printing.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut workloads: Vec<_> = snapshot.workloads().map(|w| WorkloadDump::new(w)).collect();
        workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
        let mut services: Vec<_> = snapshot
            .services()
            .map(|s| ServiceDump::new(snapshot, s))
            .collect();
        services.sort_by(|a, b| (&a.namespace, &a.hostname).cmp(&(&b.namespace, &b.hostname)));
        let mut policies: Vec<_> = snapshot.policies().map(|p| PolicyDump::new(p)).collect();
        policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Self {
            workloads,
            services,
            policies,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayDump {
    destination: String,
    hbone_mtls_port: u16,
}

impl GatewayDump {
    fn new(gateway: &GatewayRef) -> Self {
        let destination = match &gateway.target {
            GatewayTarget::Hostname(key) => key.to_string(),
            GatewayTarget::Address(address) => address.to_string(),
        };
        Self {
            destination,
            hbone_mtls_port: gateway.port,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadDump {
    workload_ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<GatewayDump>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_gateway: Option<GatewayDump>,
    protocol: &'static str,
    network_mode: &'static str,
    uid: String,
    name: String,
    namespace: String,
    trust_domain: String,
    service_account: String,
    network: String,
    workload_name: String,
    workload_type: String,
    canonical_name: String,
    canonical_revision: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    hostname: String,
    node: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    native_tunnel: bool,
    authorization_policies: Vec<String>,
    status: &'static str,
    cluster_id: String,
    locality: LocalityDump,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_tunnel: Option<TunnelDump>,
    services: Vec<String>,
    capacity: u32,
}

#[derive(Debug, Serialize)]
struct TunnelDump {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Debug, Serialize)]
struct LocalityDump {
    #[serde(skip_serializing_if = "str::is_empty")]
    region: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    zone: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    subzone: String,
}

impl WorkloadDump {
    fn new(workload: &Workload) -> Self {
        Self {
            workload_ips: workload.addresses.iter().map(ToString::to_string).collect(),
            waypoint: workload.waypoint.as_ref().map(GatewayDump::new),
            network_gateway: workload.network_gateway.as_ref().map(GatewayDump::new),
            protocol: match workload.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Hbone => "HBONE",
            },
            network_mode: match workload.network_mode {
                NetworkMode::Standard => "Standard",
                NetworkMode::HostNetwork => "HostNetwork",
            },
            uid: workload.uid().to_string(),
            name: workload.name.to_string(),
            namespace: workload.namespace.to_string(),
            trust_domain: workload.trust_domain.to_string(),
            service_account: workload.service_account.to_string(),
            network: workload.network.to_string(),
            workload_name: workload.workload_name.to_string(),
            workload_type: workload.workload_type.to_string(),
            canonical_name: workload.canonical_name.to_string(),
            canonical_revision: workload.canonical_revision.to_string(),
            hostname: workload.hostname.to_string(),
            node: workload.node.to_string(),
            native_tunnel: workload.is_native_tunnel,
            authorization_policies: texts(&workload.authorization_policies),
            status: status(workload.health),
            cluster_id: workload.cluster_id.to_string(),
            locality: LocalityDump {
                region: workload.locality.region.to_string(),
                zone: workload.locality.zone.to_string(),
                subzone: workload.locality.subzone.to_string(),
            },
            application_tunnel: workload.application_tunnel.map(|tunnel| TunnelDump {
                protocol: if tunnel.is_proxy_protocol {
                    "PROXY"
                } else {
                    "NONE"
                },
                port: tunnel.port,
            }),
            services: workload.services.keys().map(ToString::to_string).collect(),
            capacity: workload.capacity,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceDump {
    name: String,
    namespace: String,
    hostname: String,
    vips: Vec<String>,
    cidr_vips: Vec<CidrDump>,
    ports: BTreeMap<String, u16>,
    endpoints: BTreeMap<String, EndpointDump>,
    subject_alt_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<GatewayDump>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weighted_waypoints: Vec<WeightedDump>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_balancer: Option<BalancerDump>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_families: Option<&'static str>,
    canonical: bool,
    visibility: &'static str,
}

#[derive(Debug, Serialize)]
struct CidrDump {
    network: String,
    cidr: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointDump {
    workload_uid: String,
    port: BTreeMap<String, u16>,
    status: &'static str,
}

#[derive(Debug, Serialize)]
struct WeightedDump {
    destination: GatewayDump,
    weight: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BalancerDump {
    routing_preferences: Vec<&'static str>,
    mode: &'static str,
    health_policy: &'static str,
}

impl ServiceDump {
    fn new(snapshot: &Snapshot, service: &Service) -> Self {
        let balancing = &service.load_balancing;
        Self {
            name: service.name.to_string(),
            namespace: service.namespace.to_string(),
            hostname: service.hostname.to_string(),
            vips: texts(&service.vips),
            cidr_vips: service
                .cidr_vips
                .iter()
                .map(|(network, cidr)| CidrDump {
                    network: network.to_string(),
                    cidr: cidr.to_string(),
                })
                .collect(),
            ports: ports(&service.ports),
            endpoints: endpoints(snapshot, service),
            subject_alt_names: texts(&service.subject_alt_names),
            waypoint: service.waypoint.as_ref().map(GatewayDump::new),
            weighted_waypoints: service
                .weighted_waypoints
                .iter()
                .map(|w| WeightedDump {
                    destination: GatewayDump::new(&w.waypoint),
                    weight: w.weight,
                })
                .collect(),
            load_balancer: (*balancing != crate::LoadBalancing::default()).then(|| BalancerDump {
                routing_preferences: balancing.preferences.iter().map(|s| scope(*s)).collect(),
                mode: mode(balancing.mode),
                health_policy: match balancing.health_policy {
                    HealthPolicy::OnlyHealthy => "OnlyHealthy",
                    HealthPolicy::AllowAll => "AllowAll",
                },
            }),
            ip_families: match service.ip_families {
                IpFamilies::Automatic => None,
                IpFamilies::V4 => Some("IPv4"),
                IpFamilies::V6 => Some("IPv6"),
                IpFamilies::Dual => Some("Dual"),
            },
            canonical: service.is_canonical,
            visibility: match service.visibility {
                Visibility::Public => "Public",
                Visibility::Namespace => "Namespace",
            },
        }
    }
}

fn endpoints(snapshot: &Snapshot, service: &Service) -> BTreeMap<String, EndpointDump> {
    snapshot
        .endpoints(&service.key())
        .map(|endpoint| {
            let dump = EndpointDump {
                workload_uid: endpoint.workload.uid().to_string(),
                port: ports(&endpoint.ports),
                status: status(endpoint.workload.health),
            };
            (endpoint.workload.uid().to_string(), dump)
        })
        .collect()
}

fn status(health: Health) -> &'static str {
    match health {
        Health::Healthy => "Healthy",
        Health::Unhealthy => "Unhealthy",
    }
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Region => "Region",
        Scope::Zone => "Zone",
        Scope::Subzone => "Subzone",
        Scope::Node => "Node",
        Scope::Cluster => "Cluster",
        Scope::Network => "Network",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Any => "Standard",
        Mode::Strict => "Strict",
        Mode::Failover => "Failover",
        Mode::Passthrough => "Passthrough",
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyDump {
    name: String,
    namespace: String,
    scope: &'static str,
    action: &'static str,
    rules: Vec<Vec<Vec<MatchDump>>>,
    dry_run: bool,
}

impl PolicyDump {
    fn new(policy: &Policy) -> Self {
        let clauses = |rule: &ambimesh_policy::AllOf<ambimesh_policy::AnyOf<Match>>| {
            rule.0
                .iter()
                .map(|c| c.0.iter().map(MatchDump::new).collect())
                .collect()
        };
        Self {
            name: policy.key.name().to_owned(),
            namespace: policy.key.namespace().to_owned(),
            scope: match policy.scope {
                PolicyScope::Global => "Global",
                PolicyScope::Namespace => "Namespace",
                PolicyScope::WorkloadSelector => "WorkloadSelector",
            },
            action: match policy.action {
                Action::Allow => "Allow",
                Action::Deny => "Deny",
            },
            rules: policy.rules.0.iter().map(clauses).collect(),
            dry_run: policy.is_dry_run,
        }
    }
}

#[derive(Debug, Serialize)]
enum TextDump {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Presence([(); 0]),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountDump {
    namespace: String,
    service_account: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MatchDump {
    namespaces: Vec<TextDump>,
    not_namespaces: Vec<TextDump>,
    principals: Vec<TextDump>,
    not_principals: Vec<TextDump>,
    service_accounts: Vec<AccountDump>,
    not_service_accounts: Vec<AccountDump>,
    source_ips: Vec<String>,
    not_source_ips: Vec<String>,
    destination_ips: Vec<String>,
    not_destination_ips: Vec<String>,
    destination_ports: Vec<u16>,
    not_destination_ports: Vec<u16>,
}

impl MatchDump {
    fn new(m: &Match) -> Self {
        let (namespaces, not_namespaces) = both(&m.namespaces, text);
        let (principals, not_principals) = both(&m.principals, text);
        let (service_accounts, not_service_accounts) =
            both(&m.service_accounts, |account| AccountDump {
                namespace: account.namespace.to_string(),
                service_account: account.name.to_string(),
            });
        let (source_ips, not_source_ips) = both(&m.source_ips, ToString::to_string);
        let (destination_ips, not_destination_ips) = both(&m.destination_ips, ToString::to_string);
        let (destination_ports, not_destination_ports) = both(&m.destination_ports, |p| p.0);
        Self {
            namespaces,
            not_namespaces,
            principals,
            not_principals,
            service_accounts,
            not_service_accounts,
            source_ips,
            not_source_ips,
            destination_ips,
            not_destination_ips,
            destination_ports,
            not_destination_ports,
        }
    }
}

fn both<T, D>(sides: &Sides<T>, dump: impl Fn(&T) -> D) -> (Vec<D>, Vec<D>) {
    (
        sides.any_of.iter().map(&dump).collect(),
        sides.none_of.iter().map(&dump).collect(),
    )
}

fn text(m: &StringMatch) -> TextDump {
    match m {
        StringMatch::Exact(t) => TextDump::Exact(t.to_string()),
        StringMatch::Prefix(t) => TextDump::Prefix(t.to_string()),
        StringMatch::Suffix(t) => TextDump::Suffix(t.to_string()),
        StringMatch::Presence => TextDump::Presence([]),
    }
}

fn ports(map: &PortMap) -> BTreeMap<String, u16> {
    map.0
        .iter()
        .map(|(service, target)| (service.to_string(), *target))
        .collect()
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

//! `/config_dump`: the keys are those that `istioctl ztunnel-config` reads.
//!
//! Source: node-proxy specification §12.4.

use std::collections::BTreeMap;

use ambimesh_state::Dump;
use serde::Serialize;
use serde_json::{Value, json};

use super::AdminSite;
use super::certificates::{self, IdentityDump};
use super::connections::{self, PodDump};
use crate::build_info::BuildInfo;
use crate::config::{Config, Endpoint, Mode, RootSource};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigDump {
    #[serde(flatten)]
    state: Dump,
    staged_services: BTreeMap<String, Value>,
    static_config: Value,
    version: Value,
    config: Value,
    certificates: Vec<IdentityDump>,
    workload_state: BTreeMap<String, PodDump>,
}

/// The whole dump, as indented JSON.
pub(super) fn text(site: &AdminSite) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&ConfigDump {
        state: Dump::new(&site.state.load()),
        staged_services: BTreeMap::new(),
        static_config: json!({ "workloads": [], "services": [], "policies": [] }),
        version: version(&site.config),
        config: config(&site.config),
        certificates: certificates::dump(&site.certificates.all()),
        workload_state: connections::dump(&site.roster, &site.engine.connections()),
    })
}

fn version(config: &Config) -> Value {
    let build = BuildInfo::current();
    json!({
        "version": build.version,
        "gitRevision": "unknown",
        "rustVersion": "unknown",
        "buildProfile": build.profile,
        "buildStatus": "unknown",
        "istioVersion": config.metadata.get("ISTIO_VERSION").and_then(Value::as_str).unwrap_or("unknown"),
        "cryptoProvider": build.provider,
        "fips": build.is_fips,
    })
}

/// The settings in force. Never the token.
fn config(config: &Config) -> Value {
    let (mode, workload, socket) = match &config.mode {
        Mode::Shared { zds_socket } => ("Shared", None, Some(zds_socket.display().to_string())),
        Mode::Dedicated { workload } => {
            let name = format!(
                "{}/{}/{}",
                workload.namespace, workload.name, workload.service_account
            );
            ("Dedicated", Some(name), None)
        }
    };
    json!({
        "proxyMode": mode,
        "proxyWorkloadInformation": workload,
        "inpodUds": socket,
        "network": config.network,
        "localNode": config.node_name,
        "clusterId": config.cluster_id,
        "clusterDomain": config.cluster_domain,
        "xdsAddress": config.discovery.as_ref().map(address),
        "xdsRootCert": config.discovery.as_ref().map(root),
        "caAddress": config.authority.as_ref().map(address),
        "caRootCert": config.authority.as_ref().map(root),
        "secretTtl": seconds(config.certificate_lifetime),
        "selfTerminationDeadline": seconds(config.drain_deadline),
        "numWorkerThreads": config.workers,
        "packetMark": config.sockets.mark,
        "ipv6Enabled": config.sockets.ipv6,
        "requireOriginalSource": config.sockets.original_source,
        "inpodPortReuse": config.sockets.port_reuse,
        "keepalive": config.sockets.keepalive.map(|k| json!({
            "time": seconds(k.idle), "interval": seconds(k.interval), "retries": k.retries,
        })),
        "windowSize": config.tunnels.stream_window_bytes,
        "connectionWindowSize": config.tunnels.connection_window_bytes,
        "frameSize": config.tunnels.frame_bytes,
        "poolMaxStreamsPerConn": config.tunnels.streams_each,
        "poolUnusedReleaseTimeout": seconds(config.tunnels.unused_release),
        "enableResponseBaggage": config.response_baggage,
        "proxyMetadata": config.metadata,
        "dnsProxy": false,
    })
}

fn address(endpoint: &Endpoint) -> String {
    if endpoint.host.contains(':') {
        format!("https://[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("https://{}:{}", endpoint.host, endpoint.port)
    }
}

fn root(endpoint: &Endpoint) -> String {
    match &endpoint.root {
        RootSource::File(path) => path.display().to_string(),
        RootSource::System => "SYSTEM".to_owned(),
        RootSource::Inline(_) => "inline".to_owned(),
    }
}

fn seconds(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

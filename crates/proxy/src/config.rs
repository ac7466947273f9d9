//! The settings of a node proxy: Istio's variables, read once, typed.
//!
//! Names and meaning are those of Istio's ztunnel, so charts and habits carry over. A variable that
//! asks for something this proxy cannot do is an error, never ignored: a revocation list that
//! nobody reads would fail open. Source: node-proxy specification §14.

mod control;
mod environment;
mod threads;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use control::{Endpoint, RootSource, TokenSource};
pub use environment::ConfigError;

use crate::log::{Filter, FilterError, Format};
use environment::Environment;

/// Administration, loopback only.
pub const ADMIN_PORT: u16 = 15000;
/// Metrics.
pub const METRICS_PORT: u16 = 15020;
/// Readiness.
pub const READINESS_PORT: u16 = 15021;

/// What the parser may ask about this machine. Injected, so that parsing is pure.
pub struct Machine<'a> {
    /// Logical CPUs that this process may use.
    pub logical_cpus: usize,
    /// Whether a file exists.
    pub exists: &'a dyn Fn(&Path) -> bool,
}

/// Whose traffic this process carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Every captured pod of the node; the node agent says which, over ZDS.
    Shared {
        /// The node agent's socket.
        zds_socket: PathBuf,
    },
    /// One workload, in the namespace of this process.
    Dedicated {
        /// That workload.
        workload: WorkloadName,
    },
}

/// A local workload as the node agent or `PROXY_WORKLOAD_INFO` names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkloadName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// Service account.
    pub service_account: String,
}

/// How sockets are made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sockets {
    /// `SO_MARK` of every socket; capture rules let marked packets pass.
    pub mark: Option<NonZeroU32>,
    /// Whether listeners take IPv6 too.
    pub ipv6: bool,
    /// Whether to connect to applications from the caller's address; `None`: when the kernel lets us.
    pub original_source: Option<bool>,
    /// `SO_REUSEPORT` on listeners that we bind ourselves.
    pub port_reuse: bool,
    /// TCP keepalive, unless off.
    pub keepalive: Option<Keepalive>,
}

/// TCP keepalive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Lost probes that end a connection.
    pub retries: u32,
}

/// Sizes of tunnels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tunnels {
    /// HTTP/2 window of one stream, in bytes.
    pub stream_window_bytes: u32,
    /// HTTP/2 window of a whole tunnel, in bytes.
    pub connection_window_bytes: u32,
    /// Largest HTTP/2 frame we take, in bytes.
    pub frame_bytes: u32,
    /// Streams on one tunnel before another is made.
    pub streams_each: u16,
    /// How long a tunnel without streams is kept.
    pub unused_release: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logging {
    /// Which records are written.
    pub filter: Filter,
    /// How a line looks.
    pub format: Format,
}

/// The pod this process runs in, from the downward API.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Own {
    /// Its address.
    pub instance_ip: Option<String>,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
}

/// Every setting of the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whose traffic it carries.
    pub mode: Mode,
    /// Own network; usually empty.
    pub network: String,
    /// Own node; `None`: every workload counts as local.
    pub node_name: Option<String>,
    /// Cluster id, sent to the control plane.
    pub cluster_id: String,
    /// Cluster's DNS domain.
    pub cluster_domain: String,
    /// Discovery, unless switched off.
    pub discovery: Option<Endpoint>,
    /// Certificate authority, unless switched off.
    pub authority: Option<Endpoint>,
    /// Proof of who we are to both.
    pub token: TokenSource,
    /// Lifetime to ask for.
    pub certificate_lifetime: Duration,
    /// Whether tunnels offer the post-quantum hybrid group first (`COMPLIANCE_POLICY=pqc`).
    pub post_quantum: bool,
    /// How sockets are made.
    pub sockets: Sockets,
    /// Sizes of tunnels.
    pub tunnels: Tunnels,
    /// How long open connections may go on when we are asked to end.
    pub drain_deadline: Duration,
    /// Engine workers.
    pub workers: usize,
    /// Whether answers to CONNECT carry our workload's baggage.
    pub response_baggage: bool,
    /// What is logged, and how.
    pub logging: Logging,
    /// Own pod.
    pub own: Own,
    /// Trust domain before discovery says otherwise.
    pub trust_domain: String,
    /// `ISTIO_META_*` and `ISTIO_METAJSON_*`, for the control plane.
    pub metadata: BTreeMap<String, serde_json::Value>,
}

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    /// The first variable that cannot be used, with its value.
    pub fn from_environment(
        variables: &BTreeMap<String, String>,
        machine: &Machine<'_>,
    ) -> Result<Self, ConfigError> {
        let env = Environment(variables);
        refuse_unsupported(&env)?;
        let mode = mode(&env)?;
        let is_shared = matches!(mode, Mode::Shared { .. });
        let cluster_id = env
            .text("ISTIO_META_CLUSTER_ID")
            .or_else(|| env.text("CLUSTER_ID"));
        Ok(Self {
            network: env.text_or("NETWORK", ""),
            node_name: env.text("NODE_NAME").map(str::to_owned),
            cluster_id: cluster_id.unwrap_or("Kubernetes").to_owned(),
            cluster_domain: env.text_or("CLUSTER_DOMAIN", "cluster.local"),
            discovery: control::endpoint(&env, &control::DISCOVERY, machine)?,
            authority: control::endpoint(&env, &control::AUTHORITY, machine)?,
            token: control::token(&env, machine),
            certificate_lifetime: env
                .duration("SECRET_TTL")?
                .unwrap_or(Duration::from_secs(86_400)),
            post_quantum: post_quantum(&env)?,
            sockets: sockets(&env, is_shared)?,
            tunnels: tunnels(&env)?,
            drain_deadline: drain_deadline(&env)?,
            workers: threads::workers(&env, machine.logical_cpus)?,
            response_baggage: env.flag("ENABLE_RESPONSE_BAGGAGE", true)?,
            logging: logging(&env)?,
            own: own(&env),
            trust_domain: env.text_or("TRUST_DOMAIN", "cluster.local"),
            metadata: metadata(&env)?,
            mode,
        })
    }
}

/// Settings whose silent absence would surprise or harm.
fn refuse_unsupported(env: &Environment<'_>) -> Result<(), ConfigError> {
    const ON: &[&str] = &["true", "1"];
    const OFF: &[&str] = &["false", "0"];
    env.refuse("FAKE_CA", OFF)?;
    env.refuse("TLS12_ENABLED", OFF)?;
    env.refuse("XDS_ON_DEMAND", OFF)?;
    env.refuse("UNSTABLE_ENABLE_SOCKS5", OFF)?;
    env.refuse("USER_TIMEOUT_ENABLED", OFF)?;
    env.refuse("ENABLE_PROXY", ON)?;
    // Where a PROXY header goes; such application tunnels are refused one by one.
    env.refuse("LOCALHOST_APP_TUNNEL", ON)?;
    for name in ["CRL_PATH", "LOCAL_XDS_PATH", "LOCAL_XDS", "PROXY_CONFIG"] {
        env.refuse(name, &[])?;
    }
    Ok(())
}

fn mode(env: &Environment<'_>) -> Result<Mode, ConfigError> {
    const WORKLOAD: &str = "PROXY_WORKLOAD_INFO";
    match env.text("PROXY_MODE").unwrap_or("shared") {
        "shared" => {
            let socket = env.text_or("INPOD_UDS", "/var/run/ztunnel/ztunnel.sock");
            Ok(Mode::Shared {
                zds_socket: socket.into(),
            })
        }
        "dedicated" => {
            let parts: Vec<&str> = env.text(WORKLOAD).unwrap_or_default().split('/').collect();
            match parts.as_slice() {
                [namespace, name, account] if parts.iter().all(|part| !part.is_empty()) => {
                    Ok(Mode::Dedicated {
                        workload: WorkloadName {
                            namespace: (*namespace).to_owned(),
                            name: (*name).to_owned(),
                            service_account: (*account).to_owned(),
                        },
                    })
                }
                _ => Err(env.error(
                    WORKLOAD,
                    "is not of the form <namespace>/<pod>/<service account>",
                )),
            }
        }
        _ => Err(env.error("PROXY_MODE", "is neither shared nor dedicated")),
    }
}

fn sockets(env: &Environment<'_>, is_shared: bool) -> Result<Sockets, ConfigError> {
    // 0x539: the mark that the capture rules in every pod let pass.
    let default_mark = if is_shared { 1337 } else { 0 };
    let keepalive = Keepalive {
        idle: env
            .duration("KEEPALIVE_TIME")?
            .unwrap_or(Duration::from_secs(180)),
        interval: env
            .duration("KEEPALIVE_INTERVAL")?
            .unwrap_or(Duration::from_secs(180)),
        retries: env.parsed("KEEPALIVE_RETRIES")?.unwrap_or(9),
    };
    Ok(Sockets {
        mark: NonZeroU32::new(env.parsed("PACKET_MARK")?.unwrap_or(default_mark)),
        ipv6: env.flag("IPV6_ENABLED", true)?,
        original_source: env.parsed("ENABLE_ORIG_SRC")?,
        port_reuse: env.flag("INPOD_PORT_REUSE", true)?,
        keepalive: env.flag("KEEPALIVE_ENABLED", true)?.then_some(keepalive),
    })
}

/// HTTP/2 windows start at 65,535 bytes and end at 2^31 - 1.
const WINDOWS: RangeInclusive<u32> = 65_535..=0x7fff_ffff;

/// HTTP/2 frames of at least 16 KiB must be taken, and can be 2^24 - 1 bytes at most.
const FRAMES: RangeInclusive<u32> = 16_384..=16_777_215;

fn tunnels(env: &Environment<'_>) -> Result<Tunnels, ConfigError> {
    let size = |name: &str, default: u32, range: RangeInclusive<u32>| {
        let bytes = env.parsed(name)?.unwrap_or(default);
        if range.contains(&bytes) {
            Ok(bytes)
        } else {
            Err(env.error(name, "is outside what HTTP/2 allows"))
        }
    };
    let usual = ambimesh_engine::Settings::default().client;
    let stream_window_bytes = size("HTTP2_STREAM_WINDOW_SIZE", usual.stream_window, WINDOWS)?;
    let fitting = usual.with_stream_window(stream_window_bytes);
    Ok(Tunnels {
        stream_window_bytes,
        connection_window_bytes: size(
            "HTTP2_CONNECTION_WINDOW_SIZE",
            fitting.connection_window,
            WINDOWS,
        )?,
        frame_bytes: size("HTTP2_FRAME_SIZE", 1 << 20, FRAMES)?,
        streams_each: env
            .parsed("POOL_MAX_STREAMS_PER_CONNECTION")?
            .unwrap_or(100)
            .max(1),
        unused_release: env
            .duration("POOL_UNUSED_RELEASE_TIMEOUT")?
            .unwrap_or(Duration::from_secs(300)),
    })
}

/// Specification §13.3: the explicit deadline, else a little less than the grace period, else 5 s.
fn drain_deadline(env: &Environment<'_>) -> Result<Duration, ConfigError> {
    if let Some(deadline) = env.duration("CONNECTION_TERMINATION_DEADLINE")? {
        return Ok(deadline);
    }
    let seconds = match env.parsed::<u64>("TERMINATION_GRACE_PERIOD_SECONDS")? {
        Some(grace) if grace > 10 => grace - 5,
        Some(grace) => grace.saturating_sub(1).max(1),
        None => 5,
    };
    Ok(Duration::from_secs(seconds))
}

fn post_quantum(env: &Environment<'_>) -> Result<bool, ConfigError> {
    match env.text("COMPLIANCE_POLICY") {
        None => Ok(false),
        Some("pqc") => Ok(true),
        Some(_) => Err(env.error("COMPLIANCE_POLICY", "is not pqc")),
    }
}

fn logging(env: &Environment<'_>) -> Result<Logging, ConfigError> {
    let format = match env.text("LOG_FORMAT").unwrap_or("plain") {
        "plain" => Format::Text,
        "json" => Format::Json,
        _ => return Err(env.error("LOG_FORMAT", "is neither plain nor json")),
    };
    let filter = env.text("RUST_LOG").unwrap_or("info").parse();
    let filter = filter.map_err(|e: FilterError| env.error("RUST_LOG", &e.to_string()))?;
    Ok(Logging { filter, format })
}

fn own(env: &Environment<'_>) -> Own {
    Own {
        instance_ip: env.text("INSTANCE_IP").map(str::to_owned),
        name: env.text_or("POD_NAME", ""),
        namespace: env.text_or("POD_NAMESPACE", ""),
        service_account: env.text_or("SERVICE_ACCOUNT", ""),
    }
}

fn metadata(env: &Environment<'_>) -> Result<BTreeMap<String, serde_json::Value>, ConfigError> {
    let mut all: BTreeMap<String, serde_json::Value> = env
        .with_prefix("ISTIO_META_")
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    for (name, value) in env.with_prefix("ISTIO_METAJSON_") {
        let parsed = serde_json::from_str(value).map_err(|e| {
            env.error(
                &format!("ISTIO_METAJSON_{name}"),
                &format!("is no JSON: {e}"),
            )
        })?;
        all.insert(name.to_owned(), parsed);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;

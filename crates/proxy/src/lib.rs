//! The node proxy: settings, the node agent's protocol, certificates, telemetry, administration, and
//! the life of the process around the [engine](ambimesh_engine).
//!
//! Threads: one per engine worker, one for the log, one for the node agent's socket (shared mode),
//! and one control runtime for discovery, certificates, signals and the small HTTP servers.
//! Nothing here reads the process's environment: [`run`] is handed it.

mod admin;
mod backoff;
mod build_info;
mod certificates;
mod config;
mod control_plane;
mod ending;
mod host;
mod http;
mod lifecycle;
mod log;
mod metrics;
mod readiness;
mod telemetry;
mod zds;

pub use build_info::BuildInfo;
pub use config::{Config, ConfigError, Machine};
pub use lifecycle::run;

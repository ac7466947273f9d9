//! The whole metrics page, and the server's side of it.

use std::sync::Arc;

use hyper::StatusCode;

use super::exposition::{Exposition, Kind, push_label};
use crate::http::{Answer, Asked, Site};
use crate::log::LineQueue;
use crate::telemetry::FlowTelemetry;
use crate::zds::{Roster, RunState};

const OPENMETRICS: &str = "application/openmetrics-text;charset=utf-8;version=1.0.0";
const TEXT: &str = "text/plain; charset=utf-8";

/// Part of the page that somebody else fills in.
pub(crate) type Section = Box<dyn Fn(&mut Exposition) + Send + Sync>;

/// Everything that is on the metrics page.
pub(crate) struct MetricsSite {
    /// Flows.
    pub(crate) telemetry: Arc<FlowTelemetry>,
    /// Pods.
    pub(crate) roster: Roster,
    /// The log.
    pub(crate) lines: LineQueue,
    /// `ISTIO_META_ISTIO_VERSION`, if the control plane's chart set it.
    pub(crate) istio_version: String,
    /// Discovery and certificates.
    pub(crate) sections: Vec<Section>,
}

impl Site for MetricsSite {
    fn answer(&self, asked: &Asked) -> Answer {
        match asked.path.as_str() {
            "/metrics" | "/stats/prometheus" => {
                let is_open = asked.accept.contains("application/openmetrics-text");
                let content_type = if is_open { OPENMETRICS } else { TEXT };
                Answer {
                    status: StatusCode::OK,
                    content_type,
                    body: self.page(),
                }
            }
            _ => Answer::not_found(),
        }
    }
}

impl MetricsSite {
    fn page(&self) -> String {
        let mut page = Exposition::default();
        let mut build = String::new();
        push_label(&mut build, "component", "ztunnel");
        push_label(&mut build, "tag", &self.istio_version);
        page.family("istio_build", "Istio component build info", Kind::Gauge)
            .sample(&build, 1);
        self.telemetry.traffic().write(&mut page);
        self.write_pods(&mut page);
        for section in &self.sections {
            section(&mut page);
        }
        page.family(
            "ambimesh_log_lines_lost",
            "Log lines lost because nobody read them in time",
            Kind::Counter,
        )
        .sample("", self.lines.lost());
        write_process(&mut page);
        page.finish()
    }

    fn write_pods(&self, page: &mut Exposition) {
        let (started, stopped) = self.roster.totals();
        let gauges = [
            (
                "workload_manager_active_proxy_count",
                "The total number current workloads with active proxies (unstable)",
                RunState::Up,
            ),
            (
                "workload_manager_pending_proxy_count",
                "The total number current workloads with pending proxies (unstable)",
                RunState::Pending,
            ),
        ];
        for (name, help, state) in gauges {
            page.family(name, help, Kind::Gauge)
                .sample("", self.roster.count(state));
        }
        let help = "The total number of proxies that were started (unstable)";
        page.family("workload_manager_proxies_started", help, Kind::Counter)
            .sample("", started);
        let help = "The total number of proxies that were stopped (unstable)";
        page.family("workload_manager_proxies_stopped", help, Kind::Counter)
            .sample("", stopped);
    }
}

fn write_process(page: &mut Exposition) {
    // Reading the folder takes a descriptor itself.
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let count = open.count().saturating_sub(1);
        page.family(
            "process_open_fds",
            "Number of open file descriptors",
            Kind::Gauge,
        )
        .sample("", count);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit {
        page.family(
            "process_max_fds",
            "Maximum number of file descriptors",
            Kind::Gauge,
        )
        .sample("", limit);
    }
}

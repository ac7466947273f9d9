//! The small HTTP servers: administration, metrics, readiness.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Control, LifeError};
use crate::admin::{AdminSite, ReadinessSite};
use crate::certificates::{CertificateCache, View};
use crate::config::{ADMIN_PORT, Config, METRICS_PORT, READINESS_PORT};
use crate::ending::EndSender;
use crate::http::{self, Reach, Site};
use crate::log::LineQueue;
use crate::metrics::{Exposition, Kind, MetricsSite, Section};
use crate::readiness::Readiness;
use crate::telemetry::FlowTelemetry;

type Servers = JoinSet<&'static str>;

/// Serves the readiness probe: before everything else, so that a slow start is seen as one.
pub(super) fn serve_readiness(
    servers: &mut Servers,
    config: &Config,
    readiness: &Readiness,
) -> Result<(), LifeError> {
    let site: Arc<dyn Site> = Arc::new(ReadinessSite(readiness.clone()));
    serve(servers, (READINESS_PORT, Reach::Everyone), config, &site)
}

/// Serves metrics and administration.
pub(super) fn serve_pages(
    servers: &mut Servers,
    control: &Control,
    ending: &EndSender,
    telemetry: Arc<FlowTelemetry>,
    lines: LineQueue,
) -> Result<(), LifeError> {
    let config = &control.config;
    let version = config
        .metadata
        .get("ISTIO_VERSION")
        .and_then(|v| v.as_str())
        .unwrap_or_default();
    let (counters, certificates) = (Arc::clone(&control.counters), control.certificates.clone());
    let sections: Vec<Section> = vec![
        Box::new(move |page| counters.write(page)),
        Box::new(move |page| write_certificates(&certificates, page)),
    ];
    let metrics = MetricsSite {
        telemetry,
        roster: control.roster.clone(),
        lines,
        istio_version: version.to_owned(),
        sections,
    };
    let admin = AdminSite {
        config: Arc::clone(config),
        log: control.log.clone(),
        ending: ending.clone(),
        state: Arc::clone(&control.state),
        certificates: control.certificates.clone(),
        roster: control.roster.clone(),
        engine: Arc::clone(&control.engine),
    };
    let (metrics, admin): (Arc<dyn Site>, Arc<dyn Site>) = (Arc::new(metrics), Arc::new(admin));
    serve(servers, (METRICS_PORT, Reach::Everyone), config, &metrics)?;
    serve(servers, (ADMIN_PORT, Reach::Loopback), config, &admin)
}

fn serve(
    servers: &mut Servers,
    (port, reach): (u16, Reach),
    config: &Config,
    site: &Arc<dyn Site>,
) -> Result<(), LifeError> {
    let listeners = http::bind(port, reach, config.sockets.ipv6);
    for listener in listeners.map_err(|source| LifeError::Bind { port, source })? {
        let site = Arc::clone(site);
        servers.spawn(async move {
            http::serve(listener, site).await;
            "http server"
        });
    }
    Ok(())
}

fn write_certificates<C>(certificates: &CertificateCache<C>, page: &mut Exposition) {
    let all = certificates.all();
    let count = |is: fn(&View<C>) -> bool| all.values().filter(|view| is(view)).count();
    page.family(
        "ambimesh_certificates",
        "Identities that this proxy speaks for, by state",
        Kind::Gauge,
    )
    .sample(
        "state=\"available\"",
        count(|view| matches!(view, View::Ready(_))),
    )
    .sample(
        "state=\"initializing\"",
        count(|view| matches!(view, View::Pending)),
    )
    .sample(
        "state=\"unavailable\"",
        count(|view| matches!(view, View::Failed(_))),
    );
}

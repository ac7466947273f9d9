//! The label set of a flow. Source: node-proxy specification §12.1.

use ambimesh_engine::Facts;
use ambimesh_state::Workload;

use super::baggage::Baggage;
use super::reporter;
use crate::metrics::{ConnectionLabels, ServiceLabels, Side};

/// The text that a flow is counted under.
pub(super) fn text(facts: &Facts) -> String {
    let source_principal = facts
        .source_identity
        .as_ref()
        .map_or("", |identity| identity.as_str());
    let source = Side {
        principal: source_principal,
        ..source(facts)
    };
    let destination = destination(facts);
    let service =
        facts
            .destination_service
            .as_deref()
            .map_or_else(ServiceLabels::default, |service| ServiceLabels {
                hostname: &service.hostname,
                namespace: &service.namespace,
                name: &service.name,
            });
    let labels = ConnectionLabels {
        reporter: reporter(facts.direction),
        source,
        destination,
        service,
        is_mutual_tls: facts.source_identity.is_some(),
    };
    let mut text = String::with_capacity(1200);
    labels.write(&mut text);
    text
}

fn source(facts: &Facts) -> Side<'_> {
    if let Some(workload) = &facts.source_workload {
        return of_workload(workload);
    }
    let baggage = Baggage::parse(facts.source_baggage.as_deref().unwrap_or_default());
    let proven_namespace = facts
        .source_identity
        .as_ref()
        .map_or("", |identity| identity.namespace());
    Side {
        workload: baggage.workload,
        canonical_service: baggage.service,
        canonical_revision: baggage.version,
        namespace: if proven_namespace.is_empty() {
            baggage.namespace
        } else {
            proven_namespace
        },
        app: baggage.workload,
        version: baggage.version,
        cluster: baggage.cluster,
        region: baggage.region,
        zone: baggage.zone,
        principal: "",
    }
}

fn destination(facts: &Facts) -> Side<'_> {
    let Some(workload) = &facts.destination_workload else {
        return Side::default();
    };
    // What was chosen, also for plaintext: dashboards join on it.
    Side {
        principal: workload.identity().as_str(),
        ..of_workload(workload)
    }
}

fn of_workload(workload: &Workload) -> Side<'_> {
    Side {
        workload: &workload.workload_name,
        canonical_service: &workload.canonical_name,
        canonical_revision: &workload.canonical_revision,
        namespace: &workload.namespace,
        principal: "",
        app: &workload.canonical_name,
        version: &workload.canonical_revision,
        cluster: &workload.cluster_id,
        region: &workload.locality.region,
        zone: &workload.locality.zone,
    }
}

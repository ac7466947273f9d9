//! Istio's label set of a connection, as text.

use super::exposition::push_label;

/// Which end of a connection reports it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Reporter {
    /// The proxy of the one who connects.
    Source,
    /// The proxy of the one who is connected to.
    Destination,
}

impl Reporter {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// What is known about one end; empty where nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Side<'a> {
    pub(crate) workload: &'a str,
    pub(crate) canonical_service: &'a str,
    pub(crate) canonical_revision: &'a str,
    pub(crate) namespace: &'a str,
    /// SPIFFE ID; only what TLS proved, or what we chose to connect to.
    pub(crate) principal: &'a str,
    pub(crate) app: &'a str,
    pub(crate) version: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) region: &'a str,
    pub(crate) zone: &'a str,
}

/// The service a connection was addressed to; empty for a pod address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServiceLabels<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// Everything that tells one series of connections from another, but for how they ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLabels<'a> {
    pub(crate) reporter: Reporter,
    pub(crate) source: Side<'a>,
    pub(crate) destination: Side<'a>,
    pub(crate) service: ServiceLabels<'a>,
    pub(crate) is_mutual_tls: bool,
}

/// Stands in the text where the response flags go: no label can hold it, its quotes would be escaped.
const FLAGS: &str = "response_flags=\"\"";

impl ConnectionLabels<'_> {
    /// The label set as text, with a place for response flags. Source: specification §12.1.
    pub(crate) fn write(&self, text: &mut String) {
        text.clear();
        push_label(text, "reporter", self.reporter.as_str());
        let [source, destination] = [&self.source, &self.destination];
        push_side(text, SOURCE, source);
        push_label(text, "destination_service", self.service.hostname);
        push_label(
            text,
            "destination_service_namespace",
            self.service.namespace,
        );
        push_label(text, "destination_service_name", self.service.name);
        push_side(text, DESTINATION, destination);
        push_label(text, "request_protocol", "tcp");
        text.push(',');
        text.push_str(FLAGS);
        let security = if self.is_mutual_tls {
            "mutual_tls"
        } else {
            "unknown"
        };
        push_label(text, "connection_security_policy", security);
        let localities = [
            source.region,
            source.zone,
            destination.region,
            destination.zone,
        ];
        if localities.iter().any(|value| !value.is_empty()) {
            for (name, value) in LOCALITIES.into_iter().zip(localities) {
                push_label(text, name, value);
            }
        }
    }
}

/// A label set with its response flags filled in.
pub(crate) fn with_flags(text: &str, flags: &str) -> String {
    text.replacen(FLAGS, &format!("response_flags=\"{flags}\""), 1)
}

const SOURCE: [&str; 8] = [
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
];

const DESTINATION: [&str; 8] = [
    "destination_workload",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
];

const LOCALITIES: [&str; 4] = [
    "source_region",
    "source_zone",
    "destination_region",
    "destination_zone",
];

fn push_side(text: &mut String, names: [&str; 8], side: &Side<'_>) {
    let values = [
        side.workload,
        side.canonical_service,
        side.canonical_revision,
        side.namespace,
        side.principal,
        side.app,
        side.version,
        side.cluster,
    ];
    for (name, value) in names.into_iter().zip(values) {
        push_label(text, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and order are Istio's; what is not known is `unknown`; flags go where they belong.
    #[test]
    fn labels_are_istios_in_istios_order() {
        let source = Side {
            workload: "curl",
            namespace: "demo",
            principal: "spiffe://cluster.local/ns/demo/sa/curl",
            ..Side::default()
        };
        let service = ServiceLabels {
            hostname: "web.demo.svc.cluster.local",
            namespace: "demo",
            name: "web",
        };
        let destination = Side {
            workload: "web",
            zone: "b",
            ..Side::default()
        };
        let labels = ConnectionLabels {
            reporter: Reporter::Source,
            source,
            destination,
            service,
            is_mutual_tls: true,
        };
        let mut text = "old".to_owned();

        labels.write(&mut text);

        assert_eq!(
            with_flags(&text, "DENY"),
            "reporter=\"source\",source_workload=\"curl\",source_canonical_service=\"unknown\",\
             source_canonical_revision=\"unknown\",source_workload_namespace=\"demo\",\
             source_principal=\"spiffe://cluster.local/ns/demo/sa/curl\",source_app=\"unknown\",\
             source_version=\"unknown\",source_cluster=\"unknown\",\
             destination_service=\"web.demo.svc.cluster.local\",destination_service_namespace=\"demo\",\
             destination_service_name=\"web\",destination_workload=\"web\",\
             destination_canonical_service=\"unknown\",destination_canonical_revision=\"unknown\",\
             destination_workload_namespace=\"unknown\",destination_principal=\"unknown\",\
             destination_app=\"unknown\",destination_version=\"unknown\",destination_cluster=\"unknown\",\
             request_protocol=\"tcp\",response_flags=\"DENY\",connection_security_policy=\"mutual_tls\",\
             source_region=\"unknown\",source_zone=\"unknown\",destination_region=\"unknown\",destination_zone=\"b\""
        );
    }
}

//! The access log. Source: node-proxy specification §12.3; `reason` is ours.

use std::net::SocketAddr;

use ambimesh_engine::{Direction, End, Facts};
use ambimesh_state::Workload;
use ambimesh_types::Identity;

use super::baggage::Baggage;
use super::is_failure;
use crate::log::{Level, Log, Record, Value};

const TARGET: &str = "access";

type Field<'a> = (&'a str, Value<'a>);

/// A flow knows where it goes.
pub(super) fn opened(log: &Log, facts: &Facts) {
    if log.is_enabled(Level::Debug, TARGET) {
        let texts = Texts::of(facts);
        log.debug(TARGET, "connection opened", &texts.fields());
    }
}

/// A flow that was opened ended.
pub(super) fn complete(log: &Log, facts: &Facts, end: &End) {
    let level = if is_failure(end.reason) {
        Level::Error
    } else {
        Level::Info
    };
    if !log.is_enabled(level, TARGET) {
        return;
    }
    // Metrics count from the source's point of view, the log from that of the local pod.
    let (sent, received) = match facts.direction {
        Direction::Outbound => (end.transferred.received, end.transferred.sent),
        Direction::InboundTunnel | Direction::InboundPlaintext => {
            (end.transferred.sent, end.transferred.received)
        }
    };
    let duration = format!("{}ms", end.duration.as_millis());
    let texts = Texts::of(facts);
    let mut fields = texts.fields();
    fields.push(("bytes_sent", Value::Number(sent)));
    fields.push(("bytes_recv", Value::Number(received)));
    fields.push(("duration", Value::Text(&duration)));
    push_end(&mut fields, end);
    log.write(&Record {
        level,
        target: TARGET,
        message: "connection complete",
        fields: &fields,
    });
}

/// A connection ended before it was known where it goes.
pub(super) fn failed(log: &Log, facts: &Facts, end: &End) {
    if !log.is_enabled(Level::Warn, TARGET) {
        return;
    }
    let source = facts.source.socket_addr();
    let mut fields = vec![
        ("src.addr", Value::Bare(&source)),
        ("dst.addr", Value::Bare(&facts.destination)),
        ("direction", Value::Text(direction(facts.direction))),
    ];
    push_end(&mut fields, end);
    log.warn(TARGET, "connection failed", &fields);
}

fn push_end<'a>(fields: &mut Vec<Field<'a>>, end: &'a End) {
    fields.push(("reason", Value::Text(end.reason.as_str())));
    if is_failure(end.reason) {
        let text = end.detail.as_deref().unwrap_or(end.reason.as_str());
        fields.push(("error", Value::Text(text)));
    }
}

/// What a line says about a flow, with the texts that have to be made for it.
struct Texts<'a> {
    facts: &'a Facts,
    source: SocketAddr,
    baggage: Baggage<'a>,
    authority: Option<String>,
}

impl<'a> Texts<'a> {
    fn of(facts: &'a Facts) -> Self {
        Self {
            facts,
            source: facts.source.socket_addr(),
            baggage: Baggage::parse(facts.source_baggage.as_deref().unwrap_or_default()),
            authority: facts.authority.as_ref().map(ToString::to_string),
        }
    }

    /// In Istio's order; what is not known is left out.
    fn fields(&self) -> Vec<Field<'_>> {
        let facts = self.facts;
        let mut fields: Vec<Field<'_>> = Vec::with_capacity(18);
        fields.push(("src.addr", Value::Bare(&self.source)));
        if let Some(workload) = &facts.source_workload {
            push_text(&mut fields, "src.workload", name(workload));
            push_text(&mut fields, "src.namespace", &workload.namespace);
        } else {
            let baggage = &self.baggage;
            let name = if baggage.service.is_empty() {
                baggage.workload
            } else {
                baggage.service
            };
            push_text(&mut fields, "src.workload", name);
            push_text(&mut fields, "src.namespace", baggage.namespace);
        }
        push_identity(&mut fields, "src.identity", facts.source_identity.as_ref());
        let cluster = facts
            .source_workload
            .as_ref()
            .map_or(self.baggage.cluster, |w| &w.cluster_id);
        push_text(&mut fields, "src.cluster", cluster);
        fields.push(("dst.addr", Value::Bare(&facts.destination)));
        if let Some(authority) = &self.authority {
            fields.push(("dst.hbone_addr", Value::Bare(authority)));
        }
        push_text(
            &mut fields,
            "dst.service",
            facts
                .destination_service
                .as_deref()
                .map_or("", |s| &s.hostname),
        );
        if let Some(workload) = &facts.destination_workload {
            push_text(&mut fields, "dst.workload", name(workload));
            push_text(&mut fields, "dst.namespace", &workload.namespace);
        }
        push_identity(
            &mut fields,
            "dst.identity",
            facts.destination_identity.as_ref(),
        );
        push_text(
            &mut fields,
            "dst.cluster",
            facts
                .destination_workload
                .as_ref()
                .map_or("", |w| &w.cluster_id),
        );
        fields.push(("direction", Value::Text(direction(facts.direction))));
        fields
    }
}

fn name(workload: &Workload) -> &str {
    if workload.name.is_empty() {
        &workload.canonical_name
    } else {
        &workload.name
    }
}

fn push_text<'a>(fields: &mut Vec<Field<'a>>, field: &'a str, text: &'a str) {
    if !text.is_empty() {
        fields.push((field, Value::Text(text)));
    }
}

fn push_identity<'a>(fields: &mut Vec<Field<'a>>, field: &'a str, identity: Option<&'a Identity>) {
    push_text(fields, field, identity.map_or("", Identity::as_str));
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "outbound",
        Direction::InboundTunnel | Direction::InboundPlaintext => "inbound",
    }
}

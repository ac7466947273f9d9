//! Headers of CONNECT requests and their answers.
//!
//! Source: node-proxy specification §6.2.

use ambimesh_hbone::{ConnectRequest, HeaderList};
use ambimesh_state::Workload;
use ambimesh_types::Authority;

use crate::telemetry::Facts;

pub(crate) const BAGGAGE: &str = "baggage";
pub(crate) const REASON: &str = "ambimesh-reason";
const FORWARDED: &str = "forwarded";
const FORWARDED_NETWORK: &str = "x-forwarded-network";
const TRACEPARENT: &str = "traceparent";

/// Longer values of a peer are not kept: nothing honest comes near.
const MAX_BAGGAGE_BYTES: usize = 4096;
const MAX_REASON_BYTES: usize = 64;

/// The request for a flow, with everything that telemetry at the other end wants to know.
pub(crate) fn connect_request(
    facts: &Facts,
    authority: Authority,
    use_baggage: bool,
) -> ConnectRequest {
    let mut headers = HeaderList::new();
    if use_baggage && let Some(workload) = &facts.source_workload {
        headers.push(BAGGAGE, baggage(workload));
    }
    headers.push(FORWARDED, forwarded(facts));
    headers.push(TRACEPARENT, traceparent(facts.trace_id));
    ConnectRequest { authority, headers }
}

/// What a workload says about itself; empty values are left out.
pub(crate) fn baggage(workload: &Workload) -> String {
    let owner = format!("k8s.{}.name", workload.workload_type);
    let fields = [
        ("k8s.cluster.name", &*workload.cluster_id),
        ("k8s.namespace.name", &*workload.namespace),
        (&*owner, &*workload.workload_name),
        ("service.name", &*workload.canonical_name),
        ("service.version", &*workload.canonical_revision),
        ("cloud.region", &*workload.locality.region),
        ("cloud.availability_zone", &*workload.locality.zone),
    ];
    let present = fields.iter().filter(|(_, value)| !value.is_empty());
    present
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// The lines of baggage as one; `None` when there are none, or they are not plain text.
pub(crate) fn baggage_of(headers: &HeaderList) -> Option<Box<str>> {
    let lines: Vec<&str> = headers
        .values_of(BAGGAGE)
        .map(text)
        .collect::<Option<Vec<_>>>()?;
    let joined = lines.join(",");
    let is_usable = !joined.is_empty() && joined.len() <= MAX_BAGGAGE_BYTES;
    is_usable.then(|| joined.into())
}

fn forwarded(facts: &Facts) -> String {
    let source = facts.source;
    match &facts.destination_service {
        Some(service) => format!("for=\"{source}\";host={}", service.hostname),
        None => format!("for=\"{source}\""),
    }
}

/// The service that the caller says it asked for. `for=` is never believed.
pub(crate) fn forwarded_host(headers: &HeaderList) -> Option<String> {
    let value = text(headers.value_of(FORWARDED)?)?;
    let host = value
        .split(';')
        .find_map(|part| part.strip_prefix("host="))?;
    let host = host.trim_matches('"');
    (!host.is_empty()).then(|| host.to_owned())
}

/// The network that the caller says it is in.
pub(crate) fn forwarded_network(headers: &HeaderList) -> Option<&str> {
    text(headers.value_of(FORWARDED_NETWORK)?)
}

fn traceparent(trace_id: u128) -> String {
    // Half of the trace id serves as span id: spans are not recorded, the form wants one.
    let span_id = trace_id & u128::from(u64::MAX);
    format!("00-{trace_id:032x}-{span_id:016x}-00")
}

/// The trace that the caller's log names.
pub(crate) fn trace_id(headers: &HeaderList) -> Option<u128> {
    let value = text(headers.value_of(TRACEPARENT)?)?;
    let mut fields = value.split('-');
    let (_version, trace_id) = (fields.next()?, fields.next()?);
    let has_form = trace_id.len() == 32 && trace_id.bytes().all(|b| b.is_ascii_hexdigit());
    has_form
        .then(|| u128::from_str_radix(trace_id, 16).ok())
        .flatten()
}

/// Why the other proxy refused, in its own word.
pub(crate) fn reason(headers: &HeaderList) -> Option<&str> {
    let reason = text(headers.value_of(REASON)?)?;
    let is_word = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (reason.len() <= MAX_REASON_BYTES && reason.bytes().all(is_word)).then_some(reason)
}

fn text(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes()
        .all(|b| (b' '..=b'~').contains(&b))
        .then_some(text)
}

#[cfg(test)]
mod tests;

//! Pods and their open connections, as `/config_dump` shows them.

use std::collections::BTreeMap;

use ambimesh_engine::{ConnectionSummary, Direction};
use serde::Serialize;

use crate::zds::Roster;

/// One pod.
#[derive(Debug, Default, Serialize)]
pub(super) struct PodDump {
    state: &'static str,
    connections: ConnectionsDump,
    info: InfoDump,
}

#[derive(Debug, Default, Serialize)]
struct ConnectionsDump {
    inbound: Vec<ConnectionDump>,
    outbound: Vec<ConnectionDump>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct InfoDump {
    name: String,
    namespace: String,
    service_account: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionDump {
    src: String,
    original_dst: Option<String>,
    actual_dst: String,
    protocol: &'static str,
    /// Ours: bytes so far, as the metrics count them.
    received_bytes: u64,
    sent_bytes: u64,
}

/// Every pod by its uid, with its open connections.
pub(super) fn dump(roster: &Roster, open: &[ConnectionSummary]) -> BTreeMap<String, PodDump> {
    let mut pods: BTreeMap<String, PodDump> = roster
        .pods()
        .into_iter()
        .map(|(uid, entry)| {
            let info = InfoDump {
                name: entry.name.name,
                namespace: entry.name.namespace,
                service_account: entry.name.service_account,
            };
            (
                uid,
                PodDump {
                    state: entry.state.as_str(),
                    connections: ConnectionsDump::default(),
                    info,
                },
            )
        })
        .collect();
    for summary in open {
        // A pod that is being removed is no longer in the roster; its connections end in a moment.
        let Some(pod) = pods.get_mut(&*summary.facts.pod) else {
            continue;
        };
        match summary.facts.direction {
            Direction::Outbound => pod.connections.outbound.push(connection(summary)),
            Direction::InboundTunnel | Direction::InboundPlaintext => {
                pod.connections.inbound.push(connection(summary));
            }
        }
    }
    pods
}

fn connection(summary: &ConnectionSummary) -> ConnectionDump {
    let facts = &summary.facts;
    let original = facts.original_destination.to_string();
    let (original_dst, actual_dst) = match facts.direction {
        Direction::Outbound => (Some(original), facts.destination.to_string()),
        Direction::InboundTunnel | Direction::InboundPlaintext => {
            let host = facts.authority.as_ref().map(ToString::to_string);
            let actual = facts
                .upstream
                .map_or(original, |upstream| upstream.to_string());
            (host, actual)
        }
    };
    ConnectionDump {
        src: facts.source.to_string(),
        original_dst,
        actual_dst,
        protocol: if facts.authority.is_some() {
            "HBONE"
        } else {
            "TCP"
        },
        received_bytes: summary.transferred.received,
        sent_bytes: summary.transferred.sent,
    }
}

//! Datagrams of the node agent's protocol as values.

use std::os::fd::OwnedFd;

use ambimesh_engine::ListenerKind;
use ambimesh_netns::{Datagram, Namespace};
use ambimesh_xds::wire::istio::workload::zds;
use prost::Message;

use super::enrolment::Reply;
use crate::config::WorkloadName;

/// The agent reads answers into 1024 bytes and calls anything longer a broken connection.
const MAX_ANSWER_BYTES: usize = 1023;

/// Tags and lengths around the text of an answer: two nested fields, each one byte of tag and at
/// most two of length.
const ANSWER_OVERHEAD_BYTES: usize = 6;

/// A pod to serve, with the descriptors it came with.
#[derive(Debug)]
pub struct Pod {
    /// Kubernetes uid of the pod.
    pub uid: String,
    /// Who it is.
    pub name: WorkloadName,
    /// Its network namespace.
    pub namespace: Namespace,
    /// Listening sockets made by the agent; empty if it leaves that to us.
    pub listeners: Vec<(ListenerKind, OwnedFd)>,
}

/// What the agent asks.
#[derive(Debug)]
pub enum Request {
    /// Serve this pod.
    Add(Pod),
    /// Go on serving the pod with this uid, which the agent cannot describe.
    Keep(String),
    /// Stop serving the pod with this uid.
    Remove(String),
    /// Every pod was named.
    SnapshotSent,
    /// A newer generation has taken over.
    Retire,
}

/// A datagram that is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It was longer than our buffer or carried too many descriptors.
    #[error("message or descriptors were cut off")]
    Truncated,
    /// It is not what the protocol's definition says.
    #[error("cannot decode the message")]
    Undecodable(#[from] prost::DecodeError),
    /// It asks for nothing that we know.
    #[error("message without a payload")]
    NoPayload,
    /// The descriptors do not fit the message.
    #[error("{0}")]
    Descriptors(&'static str),
    /// A pod without a name.
    #[error("add without workload information")]
    NoWorkload,
    /// The namespace cannot be looked at.
    #[error("the descriptor of the pod's network namespace cannot be used")]
    Namespace(#[source] std::io::Error),
}

/// Reads one datagram. Its descriptors are owned already, so an error closes every one of them.
pub(super) fn decode(datagram: Datagram, bytes: &[u8]) -> Result<Request, RequestError> {
    use zds::workload_request::Payload;

    if datagram.is_truncated {
        return Err(RequestError::Truncated);
    }
    let payload = zds::WorkloadRequest::decode(bytes)?
        .payload
        .ok_or(RequestError::NoPayload)?;
    if !matches!(payload, Payload::Add(_)) && !datagram.descriptors.is_empty() {
        return Err(RequestError::Descriptors(
            "a descriptor came with a message that takes none",
        ));
    }
    Ok(match payload {
        Payload::Add(add) => Request::Add(pod(add, datagram.descriptors)?),
        Payload::Keep(keep) => Request::Keep(keep.uid),
        Payload::Del(del) => Request::Remove(del.uid),
        Payload::SnapshotSent(_) => Request::SnapshotSent,
        Payload::Retire(_) => Request::Retire,
    })
}

/// The first message on a connection.
pub(super) fn hello() -> Vec<u8> {
    zds::ZdsHello {
        version: zds::Version::V1.into(),
        takes_listeners: true,
    }
    .encode_to_vec()
}

/// One answer, short enough for the agent's buffer.
pub(super) fn encode(reply: &Reply) -> Vec<u8> {
    use zds::workload_response::Payload;

    let error = match reply {
        Reply::Ack => String::new(),
        Reply::Nack(text) | Reply::NackAndReconnect(text) => {
            let room = MAX_ANSWER_BYTES - ANSWER_OVERHEAD_BYTES;
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
            let end = ends.take_while(|end| *end <= room).last().unwrap_or(0);
            text[..end].to_owned()
        }
    };
    zds::WorkloadResponse {
        payload: Some(Payload::Ack(zds::Ack { error })),
    }
    .encode_to_vec()
}

fn pod(add: zds::AddWorkload, descriptors: Vec<OwnedFd>) -> Result<Pod, RequestError> {
    let mut descriptors = descriptors.into_iter();
    let namespace = descriptors
        .next()
        .ok_or(RequestError::Descriptors("add without a descriptor"))?;
    if descriptors.len() != add.listeners.len() {
        return Err(RequestError::Descriptors(
            "not one descriptor for each listener",
        ));
    }
    let kinds = add.listeners().map(kind).collect::<Result<Vec<_>, _>>()?;
    let mut seen = kinds.clone();
    seen.sort_unstable_by_key(|kind| *kind as u8);
    seen.dedup();
    if seen.len() != kinds.len() || !matches!(kinds.len(), 0 | 3) {
        return Err(RequestError::Descriptors("not one listener of each kind"));
    }
    let info = add.workload_info.ok_or(RequestError::NoWorkload)?;
    Ok(Pod {
        uid: add.uid,
        name: WorkloadName {
            namespace: info.namespace,
            name: info.name,
            service_account: info.service_account,
        },
        namespace: Namespace::from_descriptor(namespace).map_err(RequestError::Namespace)?,
        listeners: kinds.into_iter().zip(descriptors).collect(),
    })
}

fn kind(listener: zds::Listener) -> Result<ListenerKind, RequestError> {
    match listener {
        zds::Listener::Outbound => Ok(ListenerKind::Outbound),
        zds::Listener::InboundPlaintext => Ok(ListenerKind::Plaintext),
        zds::Listener::InboundHbone => Ok(ListenerKind::Tunnel),
        zds::Listener::Unspecified => {
            Err(RequestError::Descriptors("a listener of an unknown kind"))
        }
    }
}

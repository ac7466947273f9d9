//! One subscriber's side of delta xDS, without I/O: what to send, what an answer means.
//!
//! Source: node-proxy specification §4.2 to §4.4; the xDS protocol, "incremental".

use std::collections::{BTreeMap, HashMap};

use ambimesh_policy::PolicyKey;
use ambimesh_state::{Removal, Update};

use crate::convert::{ADDRESS_TYPE, AUTHORIZATION_TYPE, ConvertError, convert, substitute};
use crate::wire::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Status,
};

/// The types that are asked for, in the order in which they are.
pub const TYPES: [&str; 2] = [ADDRESS_TYPE, AUTHORIZATION_TYPE];
/// The text of a refusal is cut here: it is for people, and must not grow with the mesh.
const MAX_REFUSAL_BYTES: usize = 4096;

/// What an answer means.
#[derive(Debug, Default)]
pub struct Received {
    /// To be applied, in order.
    pub updates: Vec<Update>,
    /// To be applied after them.
    pub removals: Vec<Removal>,
    /// Resources that were refused, with the reason; their old versions stay in force.
    pub rejected: Vec<(String, String)>,
    /// To be sent when everything has been applied.
    pub reply: DeltaDiscoveryRequest,
}

#[derive(Debug, Default)]
struct Subscription {
    /// Held resources and their versions. A refused resource keeps its old one, so that it is
    /// sent again after a reconnect.
    versions: BTreeMap<String, String>,
    has_synced: bool,
}

/// The state of all subscriptions; it survives connections.
#[derive(Debug, Default)]
pub struct Session {
    node: Node,
    subscriptions: HashMap<&'static str, Subscription>,
}

impl Session {
    /// Starts without anything held.
    #[must_use]
    pub fn new(node: Node) -> Self {
        let subscriptions = TYPES.map(|url| (url, Subscription::default())).into();
        Self {
            node,
            subscriptions,
        }
    }

    /// The first requests on a new connection: all types, with the versions that are held, so
    /// that only what changed meanwhile is sent.
    #[must_use]
    pub fn connected(&self) -> Vec<DeltaDiscoveryRequest> {
        let request = |url: &str| DeltaDiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: url.to_owned(),
            initial_resource_versions: self
                .subscriptions
                .get(url)
                .map(|s| s.versions.clone().into_iter().collect())
                .unwrap_or_default(),
            ..DeltaDiscoveryRequest::default()
        };
        TYPES.map(request).into()
    }

    /// Takes an answer apart. What can be understood is applied though the rest is refused. A
    /// refused policy of which no old version is held is replaced by the strictest of its kind.
    pub fn receive(&mut self, response: DeltaDiscoveryResponse) -> Received {
        let url = response.type_url;
        let mut received = Received {
            reply: DeltaDiscoveryRequest {
                type_url: url.clone(),
                response_nonce: response.nonce,
                ..DeltaDiscoveryRequest::default()
            },
            ..Received::default()
        };
        let Some(subscription) = self.subscriptions.get_mut(url.as_str()) else {
            received
                .rejected
                .push((url, "this type was not asked for".to_owned()));
            received.reply.error_detail = refusal(&received.rejected);
            return received;
        };
        for resource in response.resources {
            let body = resource.resource.unwrap_or_default();
            let is_held = subscription.versions.contains_key(&resource.name);
            match convert(&url, &body.value).and_then(|u| named(u, &resource.name)) {
                Ok(update) => {
                    received.updates.push(update);
                    subscription
                        .versions
                        .insert(resource.name, resource.version);
                }
                Err(error) => {
                    if url == AUTHORIZATION_TYPE && !is_held {
                        received
                            .updates
                            .extend(substitute(&body.value, &resource.name));
                    }
                    received.rejected.push((resource.name, error.to_string()));
                }
            }
        }
        for name in response.removed_resources {
            subscription.versions.remove(&name);
            received.removals.extend(removal(&url, name));
        }
        received.reply.error_detail = refusal(&received.rejected);
        subscription.has_synced |= received.rejected.is_empty();
        received
    }

    /// Whether every type was answered once without a refusal. Never becomes false again.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.subscriptions
            .values()
            .all(|subscription| subscription.has_synced)
    }
}

/// Takes an update only under its own name: by another it could never be removed again.
fn named(update: Update, name: &str) -> Result<Update, ConvertError> {
    let own = match &update {
        Update::Workload(workload) => workload.uid().to_string(),
        Update::Service(service) => service.key().to_string(),
        Update::Policy(policy) => policy.key.to_string(),
    };
    if own == name {
        Ok(update)
    } else {
        Err(ConvertError::Misnamed(own))
    }
}

fn removal(url: &str, name: String) -> Option<Removal> {
    if url == AUTHORIZATION_TYPE {
        return name.parse::<PolicyKey>().ok().map(Removal::Policy);
    }
    Some(Removal::Address(name))
}

fn refusal(rejected: &[(String, String)]) -> Option<Status> {
    if rejected.is_empty() {
        return None;
    }
    let mut message = String::new();
    for (name, reason) in rejected {
        let separator = if message.is_empty() { "" } else { "; " };
        let next = format!("{separator}{name}: {reason}");
        if message.len() + next.len() > MAX_REFUSAL_BYTES {
            message.push_str("; ...");
            break;
        }
        message.push_str(&next);
    }
    Some(Status {
        code: 0,
        message,
        details: vec![],
    })
}

#[cfg(test)]
mod tests;

//! The one writer: takes batches of updates in and publishes snapshots.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ambimesh_policy::{Policy, PolicyKey, Scope};
use ambimesh_types::WorkloadUid;
use arc_swap::ArcSwap;

use crate::service::{Endpoint, NetworkAddress, Service, ServiceKey};
use crate::snapshot::{Map, Set, Snapshot};
use crate::workload::{NetworkMode, Workload};

/// Withdrawn policies that are remembered. Beyond it the memory starts anew, and who still lists
/// a forgotten one is refused until discovery has corrected the list.
const MAX_WITHDRAWN: usize = 4096;

/// The newest snapshot, for any number of readers.
#[derive(Debug, Default)]
pub struct Published(ArcSwap<Snapshot>);

impl Published {
    /// The newest snapshot. Blocking: never.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

/// Something discovery has told.
#[derive(Clone, Debug)]
pub enum Update {
    /// A workload, new or changed.
    Workload(Arc<Workload>),
    /// A service, new or changed.
    Service(Arc<Service>),
    /// A policy, new or changed.
    Policy(Arc<Policy>),
}

/// Something discovery has taken back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Removal {
    /// A workload, or if there is none of that key, the service of that key.
    Address(String),
    /// A policy.
    Policy(PolicyKey),
}

/// Owns the newest state; everybody else has snapshots of it.
#[derive(Debug, Default)]
pub struct Store {
    state: Snapshot,
    published: Arc<Published>,
    /// Workloads of other nodes are not local; `None`: all are.
    own_node: Option<Box<str>>,
    /// What a batch does to the endpoints of each service, the last word on each; written once.
    changed_endpoints: HashMap<ServiceKey, HashMap<WorkloadUid, Option<Arc<Endpoint>>>>,
}

impl Store {
    /// Starts with nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with nothing known, for the proxy of one node.
    #[must_use]
    pub fn for_node(node: &str) -> Self {
        Self {
            own_node: Some(node.into()),
            ..Self::default()
        }
    }

    /// Where the snapshots appear.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// Takes a batch in, updates in order and then removals, and publishes it as one snapshot.
    pub fn apply(
        &mut self,
        updates: impl IntoIterator<Item = Update>,
        removals: impl IntoIterator<Item = Removal>,
    ) {
        for update in updates {
            match update {
                Update::Workload(workload) => self.put_workload(workload),
                Update::Service(service) => self.put_service(service),
                Update::Policy(policy) => self.put_policy(policy),
            }
        }
        for removal in removals {
            match removal {
                Removal::Address(name) => self.remove_address(&name),
                Removal::Policy(key) => self.remove_policy(&key),
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        for (key, changes) in std::mem::take(&mut self.changed_endpoints) {
            let mut endpoints = self.state.endpoints.get(&key).cloned().unwrap_or_default();
            for (uid, change) in changes {
                match change {
                    Some(endpoint) => endpoints.insert_mut(uid, endpoint),
                    None => drop(endpoints.remove_mut(&uid)),
                }
            }
            if endpoints.is_empty() {
                self.state.endpoints.remove_mut(&key);
            } else {
                self.state.endpoints.insert_mut(key, endpoints);
            }
        }
        self.state.generation += 1;
        self.published.0.store(Arc::new(self.state.clone()));
    }

    fn put_workload(&mut self, workload: Arc<Workload>) {
        if self.state.workloads.get(workload.uid()) == Some(&workload) {
            return;
        }
        self.remove_workload(workload.uid());
        let uid = workload.uid().clone();
        for address in indexed_addresses(&workload) {
            add(&mut self.state.by_address, address, uid.clone());
        }
        if self.is_local(&workload) {
            let name = (workload.namespace.clone(), workload.name.clone());
            add(&mut self.state.local, name, uid.clone());
        }
        if let Some(name) = own_hostname(&workload) {
            add(&mut self.state.by_own_hostname, name, uid.clone());
        }
        for (service, ports) in &workload.services {
            let endpoint = Endpoint {
                workload: Arc::clone(&workload),
                ports: ports.clone(),
            };
            self.change_endpoint(service, &uid, Some(Arc::new(endpoint)));
        }
        self.state.workloads.insert_mut(uid, workload);
    }

    fn remove_workload(&mut self, uid: &WorkloadUid) -> bool {
        let Some(workload) = self.state.workloads.get(uid).cloned() else {
            return false;
        };
        for address in indexed_addresses(&workload) {
            take(&mut self.state.by_address, &address, uid);
        }
        let name = (workload.namespace.clone(), workload.name.clone());
        take(&mut self.state.local, &name, uid);
        if let Some(name) = own_hostname(&workload) {
            take(&mut self.state.by_own_hostname, &name, uid);
        }
        for service in workload.services.keys() {
            self.change_endpoint(service, uid, None);
        }
        self.state.workloads.remove_mut(uid)
    }

    fn change_endpoint(
        &mut self,
        service: &ServiceKey,
        uid: &WorkloadUid,
        change: Option<Arc<Endpoint>>,
    ) {
        self.changed_endpoints
            .entry(service.clone())
            .or_default()
            .insert(uid.clone(), change);
    }

    fn is_local(&self, workload: &Workload) -> bool {
        self.own_node
            .as_ref()
            .is_none_or(|node| **node == *workload.node)
    }

    fn put_service(&mut self, service: Arc<Service>) {
        let key = service.key();
        if self.state.services.get(&key) == Some(&service) {
            return;
        }
        self.remove_service(&key);
        for vip in &service.vips {
            add(&mut self.state.by_vip, vip.clone(), key.clone());
        }
        if !service.cidr_vips.is_empty() {
            self.state
                .ranges
                .insert_mut(key.clone(), service.cidr_vips.clone());
        }
        add(
            &mut self.state.by_hostname,
            service.hostname.clone(),
            key.clone(),
        );
        self.state.services.insert_mut(key, service);
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        let Some(service) = self.state.services.get(key).cloned() else {
            return;
        };
        for vip in &service.vips {
            take(&mut self.state.by_vip, vip, key);
        }
        self.state.ranges.remove_mut(key);
        take(&mut self.state.by_hostname, &service.hostname, key);
        self.state.services.remove_mut(key);
    }

    fn remove_address(&mut self, name: &str) {
        if !self.remove_workload(&WorkloadUid::new(name))
            && let Ok(key) = name.parse::<ServiceKey>()
        {
            self.remove_service(&key);
        }
    }

    fn put_policy(&mut self, policy: Arc<Policy>) {
        let key = policy.key.clone();
        self.unindex_policy(&key);
        match policy.scope {
            Scope::Global => self.state.global_policies.insert_mut(key.clone()),
            Scope::Namespace => {
                let namespace = Arc::from(key.namespace());
                add(&mut self.state.namespace_policies, namespace, key.clone());
            }
            Scope::WorkloadSelector => {}
        }
        self.state.withdrawn_policies.remove_mut(&key);
        self.state.policies.insert_mut(key, policy);
    }

    fn remove_policy(&mut self, key: &PolicyKey) {
        self.unindex_policy(key);
        if self.state.policies.remove_mut(key) {
            if self.state.withdrawn_policies.size() >= MAX_WITHDRAWN {
                self.state.withdrawn_policies = Set::default();
            }
            self.state.withdrawn_policies.insert_mut(key.clone());
        }
    }

    fn unindex_policy(&mut self, key: &PolicyKey) {
        self.state.global_policies.remove_mut(key);
        take(
            &mut self.state.namespace_policies,
            &Arc::from(key.namespace()),
            key,
        );
    }
}

fn indexed_addresses(workload: &Workload) -> Vec<NetworkAddress> {
    if workload.network_mode == NetworkMode::HostNetwork {
        return Vec::new();
    }
    let at = |ip: &IpAddr| NetworkAddress {
        network: workload.network.clone(),
        ip: *ip,
    };
    workload.addresses.iter().map(at).collect()
}

fn own_hostname(workload: &Workload) -> Option<ServiceKey> {
    let is_set = !workload.hostname.is_empty();
    is_set.then(|| ServiceKey::new(&workload.namespace, &workload.hostname))
}

fn add<K, T>(index: &mut Map<K, Set<T>>, key: K, value: T)
where
    K: Clone + Eq + std::hash::Hash,
    T: Clone + Eq + std::hash::Hash,
{
    let mut values = index.get(&key).cloned().unwrap_or_default();
    values.insert_mut(value);
    index.insert_mut(key, values);
}

fn take<K, T>(index: &mut Map<K, Set<T>>, key: &K, value: &T)
where
    K: Clone + Eq + std::hash::Hash,
    T: Clone + Eq + std::hash::Hash,
{
    let Some(mut values) = index.get(key).cloned() else {
        return;
    };
    values.remove_mut(value);
    if values.is_empty() {
        index.remove_mut(key);
    } else {
        index.insert_mut(key.clone(), values);
    }
}

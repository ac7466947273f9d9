//! An immutable picture of the mesh, and questions to it.

use std::net::IpAddr;
use std::sync::Arc;

use ambimesh_policy::{Policy, PolicyKey, PolicySet};
use ambimesh_types::WorkloadUid;
use ipnet::IpNet;
use rpds::{HashTrieMapSync, HashTrieSetSync};

use crate::service::{Endpoint, NetworkAddress, Service, ServiceKey};
use crate::workload::Workload;

pub(crate) type Map<K, V> = HashTrieMapSync<K, V>;
pub(crate) type Set<T> = HashTrieSetSync<T>;
pub(crate) type Endpoints = Map<WorkloadUid, Arc<Endpoint>>;

/// Everything that is known at one moment. Cheap to clone; snapshots share structure.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) workloads: Map<WorkloadUid, Arc<Workload>>,
    pub(crate) by_address: Map<NetworkAddress, Set<WorkloadUid>>,
    /// By namespace and name; only workloads of the own node.
    pub(crate) local: Map<(Arc<str>, Arc<str>), Set<WorkloadUid>>,
    /// By namespace and hostname; only workloads that have one.
    pub(crate) by_own_hostname: Map<ServiceKey, Set<WorkloadUid>>,
    pub(crate) services: Map<ServiceKey, Arc<Service>>,
    pub(crate) by_hostname: Map<Arc<str>, Set<ServiceKey>>,
    pub(crate) by_vip: Map<NetworkAddress, Set<ServiceKey>>,
    pub(crate) ranges: Map<ServiceKey, Vec<(Arc<str>, IpNet)>>,
    /// By service; also of services that have not been announced yet.
    pub(crate) endpoints: Map<ServiceKey, Endpoints>,
    pub(crate) policies: Map<PolicyKey, Arc<Policy>>,
    pub(crate) global_policies: Set<PolicyKey>,
    pub(crate) namespace_policies: Map<Arc<str>, Set<PolicyKey>>,
    /// Taken away by discovery: whoever still lists one of them need not wait for it.
    pub(crate) withdrawn_policies: Set<PolicyKey>,
}

impl Snapshot {
    /// Counts published snapshots; a newer one has a greater number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Finds a workload by its key.
    #[must_use]
    pub fn workload_by_uid(&self, uid: &WorkloadUid) -> Option<&Arc<Workload>> {
        self.workloads.get(uid)
    }

    /// Finds the workload that an address belongs to. Of several the one that is a pod, then the
    /// one that takes tunnels. Workloads on their node's network are never found.
    #[must_use]
    pub fn workload_by_address(&self, network: &str, ip: IpAddr) -> Option<&Arc<Workload>> {
        let uids = self.by_address.get(&NetworkAddress {
            network: network.into(),
            ip,
        })?;
        uids.iter()
            .filter_map(|uid| self.workloads.get(uid))
            .max_by_key(|workload| {
                let is_pod = workload.uid().as_str().contains("//Pod/");
                (
                    is_pod,
                    workload.protocol == crate::Protocol::Hbone,
                    workload.uid().clone(),
                )
            })
    }

    /// Finds the workload of a pod that this proxy serves, on the node that the store was made
    /// for. Source: specification §4.6.
    #[must_use]
    pub fn local_workload(
        &self,
        namespace: &str,
        name: &str,
        service_account: &str,
    ) -> Option<&Arc<Workload>> {
        self.local
            .get(&(namespace.into(), name.into()))?
            .iter()
            .filter_map(|uid| self.workloads.get(uid))
            .filter(|workload| &*workload.service_account == service_account)
            .min_by_key(|workload| workload.uid())
    }

    /// Finds the workload that has this hostname itself, not through a service.
    pub(crate) fn workload_by_hostname(&self, name: &ServiceKey) -> Option<&Arc<Workload>> {
        let uids = self.by_own_hostname.get(name)?;
        uids.iter().min().and_then(|uid| self.workloads.get(uid))
    }

    /// Finds a service by its key.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// Finds the service that `hostname` means to a client of `namespace`.
    #[must_use]
    pub fn service_by_hostname(&self, hostname: &str, namespace: &str) -> Option<&Arc<Service>> {
        self.best_of(self.by_hostname.get(hostname)?, namespace)
    }

    /// Finds the service that an address means to a client of `namespace`: an exact address
    /// first, then the longest range.
    #[must_use]
    pub fn service_by_vip(
        &self,
        network: &str,
        ip: IpAddr,
        namespace: &str,
    ) -> Option<&Arc<Service>> {
        let exact = self
            .by_vip
            .get(&NetworkAddress {
                network: network.into(),
                ip,
            })
            .and_then(|keys| self.best_of(keys, namespace));
        exact.or_else(|| self.service_by_range(network, ip, namespace))
    }

    /// The endpoints of a service, healthy or not.
    pub fn endpoints(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints
            .get(key)
            .into_iter()
            .flat_map(|endpoints| endpoints.values())
    }

    /// Whether `workload` is an endpoint of the service.
    #[must_use]
    pub fn is_endpoint(&self, key: &ServiceKey, workload: &Workload) -> bool {
        self.endpoints
            .get(key)
            .is_some_and(|endpoints| endpoints.contains_key(workload.uid()))
    }

    /// Collects the policies that apply to a workload: those of the mesh, of its namespace, and
    /// those it lists. Source: specification §9.1.
    #[must_use]
    pub fn policies_of(&self, workload: &Workload) -> PolicySet {
        let in_namespace = self.namespace_policies.get(&workload.namespace);
        let listed = &workload.authorization_policies;
        let mut keys: Vec<&PolicyKey> = self
            .global_policies
            .iter()
            .chain(in_namespace.into_iter().flat_map(|keys| keys.iter()))
            .chain(listed)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let is_missing = |key: &&PolicyKey| {
            !self.policies.contains_key(*key) && !self.withdrawn_policies.contains(*key)
        };
        let missing = listed.iter().find(is_missing).cloned();
        let found = keys
            .into_iter()
            .filter_map(|key| self.policies.get(key))
            .cloned();
        PolicySet::new(found, missing)
    }

    /// Every workload.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }

    /// Every service.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Every policy.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.values()
    }

    /// Of several services that one name or address stands for: visible, in the client's
    /// namespace, canonical, then by name so that every proxy chooses alike.
    fn best_of(&self, keys: &Set<ServiceKey>, namespace: &str) -> Option<&Arc<Service>> {
        keys.iter()
            .filter_map(|key| self.services.get(key))
            .filter(|service| service.is_visible_to(namespace))
            .max_by_key(|service| {
                let is_own = &*service.namespace == namespace;
                (
                    is_own,
                    service.is_canonical,
                    std::cmp::Reverse(service.namespace.clone()),
                )
            })
    }

    fn service_by_range(
        &self,
        network: &str,
        ip: IpAddr,
        namespace: &str,
    ) -> Option<&Arc<Service>> {
        let ranked = self.ranges.iter().filter_map(|(key, ranges)| {
            let service = self
                .services
                .get(key)
                .filter(|s| s.is_visible_to(namespace))?;
            let length = ranges
                .iter()
                .filter(|(of, range)| &**of == network && range.contains(&ip))
                .map(|(_, range)| range.prefix_len())
                .max()?;
            Some((
                (
                    &*service.namespace == namespace,
                    length,
                    service.is_canonical,
                ),
                service,
            ))
        });
        ranked
            .max_by_key(|(rank, service)| (*rank, service.key()))
            .map(|(_, service)| service)
    }
}

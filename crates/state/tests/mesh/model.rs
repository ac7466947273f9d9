//! The store against a model that keeps lists and searches them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ambimesh_policy::{Action, AnyOf, Policy, PolicyKey, PolicySet, Scope};
use ambimesh_state::{
    NetworkMode, PortMap, Removal, Service, ServiceKey, Snapshot, Store, Update, Visibility,
    Workload, WorkloadDetails,
};
use ambimesh_types::WorkloadUid;
use proptest::prelude::*;

use crate::mesh::{network_address, outsider, pod};

const NAMES: [&str; 3] = ["a", "b", "c"];
const NAMESPACES: [&str; 2] = ["demo", "other"];
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1"];
const RANGES: [&str; 3] = ["10.0.0.0/24", "10.0.0.0/16", "fd00::/64"];

#[derive(Clone, Debug)]
enum Step {
    Put(Update),
    Remove(Removal),
}

#[derive(Debug, Default)]
struct Model {
    workloads: BTreeMap<String, Arc<Workload>>,
    services: BTreeMap<String, Arc<Service>>,
    policies: BTreeMap<PolicyKey, Arc<Policy>>,
}

impl Model {
    fn take(&mut self, step: Step) {
        match step {
            Step::Put(Update::Workload(w)) => {
                self.workloads.insert(w.uid().to_string(), w);
            }
            Step::Put(Update::Service(s)) => {
                self.services.insert(s.key().to_string(), s);
            }
            Step::Put(Update::Policy(p)) => {
                self.policies.insert(p.key.clone(), p);
            }
            Step::Remove(Removal::Address(name)) => {
                if self.workloads.remove(&name).is_none() {
                    self.services.remove(&name);
                }
            }
            Step::Remove(Removal::Policy(key)) => {
                self.policies.remove(&key);
            }
        }
    }

    fn at(&self, ip: &str) -> BTreeSet<String> {
        let has = |w: &&Arc<Workload>| {
            w.network_mode == NetworkMode::Standard && w.addresses.contains(&ip.parse().unwrap())
        };
        self.workloads
            .values()
            .filter(has)
            .map(|w| w.uid().to_string())
            .collect()
    }

    fn endpoints(&self, key: &ServiceKey) -> BTreeMap<String, PortMap> {
        let of = |w: &Arc<Workload>| Some((w.uid().to_string(), w.services.get(key)?.clone()));
        self.workloads.values().filter_map(of).collect()
    }

    /// Exact addresses rank above every range; then the order of specification §4.6.
    fn by_vip(&self, ip: &str, namespace: &str) -> Option<String> {
        let ip: std::net::IpAddr = ip.parse().unwrap();
        let rank = |s: &Arc<Service>| {
            let exact = s.vips.iter().any(|vip| vip.ip == ip);
            let in_range = |(_, range): &&(Arc<str>, ipnet::IpNet)| range.contains(&ip);
            let length = s
                .cidr_vips
                .iter()
                .filter(in_range)
                .map(|(_, r)| r.prefix_len())
                .max();
            let length = if exact { 0 } else { length? };
            Some((exact, &*s.namespace == namespace, length, s.is_canonical))
        };
        let visible =
            |s: &&Arc<Service>| s.visibility == Visibility::Public || &*s.namespace == namespace;
        let ranked = self
            .services
            .values()
            .filter(visible)
            .filter_map(|s| Some((rank(s)?, s)));
        // Of equals any will do for this model; the caller compares ranks by what is unique.
        let best = ranked.clone().map(|(rank, _)| rank).max()?;
        let mut winners = ranked.filter(|(rank, _)| *rank == best);
        let winner = winners.next().map(|(_, s)| s.key().to_string());
        if winners.next().is_some() {
            None
        } else {
            winner
        }
    }

    fn policies_of(&self, workload: &Workload) -> PolicySet {
        let applies = |p: &&Arc<Policy>| {
            p.scope == Scope::Global
                || (p.scope == Scope::Namespace && p.key.namespace() == &*workload.namespace)
                || workload.authorization_policies.contains(&p.key)
        };
        PolicySet::new(self.policies.values().filter(applies).cloned(), None)
    }
}

fn any_name() -> impl Strategy<Value = (&'static str, &'static str)> {
    (
        prop::sample::select(&NAMESPACES[..]),
        prop::sample::select(&NAMES[..]),
    )
}

fn uid((namespace, name): (&str, &str)) -> WorkloadUid {
    WorkloadUid::new(&format!("Kubernetes//Pod/{namespace}/{name}"))
}

fn some_of(values: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(values, 0..=values.len())
}

fn any_workload() -> impl Strategy<Value = Update> {
    (
        any_name(),
        some_of(&ADDRESSES),
        prop::collection::vec((any_name(), 0..9u16), 0..3),
        any::<(bool, bool)>(),
    )
        .prop_map(|(name, addresses, services, (is_captured, is_host))| {
            let base = if is_captured { pod } else { outsider };
            let of = |((namespace, name), port)| {
                (ServiceKey::new(namespace, name), PortMap(vec![(80, port)]))
            };
            let details = WorkloadDetails {
                namespace: name.0.into(),
                services: services.into_iter().map(of).collect(),
                network_mode: if is_host {
                    NetworkMode::HostNetwork
                } else {
                    NetworkMode::Standard
                },
                ..base(name.1, &addresses)
            };
            Update::Workload(Arc::new(Workload::new(uid(name), details)))
        })
}

fn any_service() -> impl Strategy<Value = Update> {
    (
        any_name(),
        some_of(&ADDRESSES),
        some_of(&RANGES),
        any::<(bool, bool)>(),
    )
        .prop_map(
            |((namespace, name), vips, ranges, (is_canonical, is_hidden))| {
                Update::Service(Arc::new(Service {
                    name: name.into(),
                    namespace: namespace.into(),
                    hostname: name.into(),
                    vips: vips.iter().map(|ip| network_address("", ip)).collect(),
                    cidr_vips: ranges
                        .iter()
                        .map(|r| ("".into(), r.parse().unwrap()))
                        .collect(),
                    is_canonical,
                    visibility: if is_hidden {
                        Visibility::Namespace
                    } else {
                        Visibility::Public
                    },
                    ..Service::default()
                }))
            },
        )
}

fn any_policy() -> impl Strategy<Value = Update> {
    let scope = prop::sample::select(vec![
        Scope::Global,
        Scope::Namespace,
        Scope::WorkloadSelector,
    ]);
    (any_name(), scope).prop_map(|((namespace, name), scope)| {
        Update::Policy(Arc::new(Policy {
            key: PolicyKey::new(namespace, name),
            scope,
            action: Action::Allow,
            is_dry_run: false,
            rules: AnyOf(vec![]),
        }))
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let removal = (any_name(), 0..3u8).prop_map(|(name, kind)| match kind {
        0 => Removal::Address(uid(name).to_string()),
        1 => Removal::Address(ServiceKey::new(name.0, name.1).to_string()),
        _ => Removal::Policy(PolicyKey::new(name.0, name.1)),
    });
    prop_oneof![
        4 => any_workload().prop_map(Step::Put),
        3 => any_service().prop_map(Step::Put),
        2 => any_policy().prop_map(Step::Put),
        3 => removal.prop_map(Step::Remove),
    ]
}

/// A batch as a response would carry it: updates, then removals.
fn split(batch: &[Step]) -> (Vec<Update>, Vec<Removal>) {
    let (mut updates, mut removals) = (vec![], vec![]);
    for step in batch {
        match step {
            Step::Put(update) => updates.push(update.clone()),
            Step::Remove(removal) => removals.push(removal.clone()),
        }
    }
    (updates, removals)
}

fn compare(snapshot: &Snapshot, model: &Model) -> Result<(), TestCaseError> {
    for ip in ADDRESSES {
        let found = snapshot.workload_by_address("", ip.parse().unwrap());
        let expected = model.at(ip);
        prop_assert_eq!(found.is_some(), !expected.is_empty());
        prop_assert!(found.is_none_or(|w| expected.contains(w.uid().as_str())));
        for namespace in NAMESPACES {
            let found = snapshot.service_by_vip("", ip.parse().unwrap(), namespace);
            if let Some(expected) = model.by_vip(ip, namespace) {
                prop_assert_eq!(found.map(|s| s.key().to_string()), Some(expected));
            }
        }
    }
    for (namespace, name) in NAMESPACES.iter().flat_map(|ns| NAMES.map(|n| (*ns, n))) {
        let key = ServiceKey::new(namespace, name);
        let ends = snapshot
            .endpoints(&key)
            .map(|e| (e.workload.uid().to_string(), e.ports.clone()));
        prop_assert_eq!(ends.collect::<BTreeMap<_, _>>(), model.endpoints(&key));
        prop_assert_eq!(snapshot.service(&key), model.services.get(&key.to_string()));
        let local = snapshot.local_workload(namespace, name, name);
        prop_assert_eq!(local, model.workloads.get(uid((namespace, name)).as_str()));
    }
    for workload in model.workloads.values() {
        prop_assert_eq!(snapshot.workload_by_uid(workload.uid()), Some(workload));
        prop_assert_eq!(snapshot.policies_of(workload), model.policies_of(workload));
    }
    prop_assert_eq!(snapshot.workloads().count(), model.workloads.len());
    Ok(())
}

proptest! {
    /// After any batches every question has the answer that searching lists would give.
    #[test]
    fn lookups_equal_the_model(batches in prop::collection::vec(prop::collection::vec(any_step(), 0..8), 0..8)) {
        let (mut store, mut model) = (Store::new(), Model::default());
        let mut generation = store.published().load().generation();

        for batch in batches {
            let (updates, removals) = split(&batch);
            for update in updates.clone() {
                model.take(Step::Put(update));
            }
            for removal in removals.clone() {
                model.take(Step::Remove(removal));
            }
            store.apply(updates, removals);

            let snapshot = store.published().load();
            prop_assert!(snapshot.generation() > generation);
            generation = snapshot.generation();
            compare(&snapshot, &model)?;
        }
    }
}

//! Asking for the certificates of this node's workloads before their first connection.

use std::collections::BTreeSet;
use std::sync::Arc;

use ambimesh_state::{Protocol, Published, Snapshot};
use ambimesh_tls::Svid;
use ambimesh_types::Identity;
use tokio::sync::Notify;

use super::{CertificateCache, Priority};
use crate::zds::Roster;

/// Keeps the cache's identities those of the pods that we serve.
pub(crate) struct Prefetch {
    /// Where to ask.
    pub(crate) certificates: CertificateCache<Svid>,
    /// The pods.
    pub(crate) roster: Roster,
    /// Their workloads.
    pub(crate) state: Arc<Published>,
    /// Woken by every new snapshot.
    pub(crate) applied: Arc<Notify>,
}

impl Prefetch {
    /// Works until cancelled. Cancellation: safe at any await.
    pub(crate) async fn run(self) {
        let mut wanted = BTreeSet::new();
        loop {
            let now_wanted = identities(&self.roster, &self.state.load());
            for identity in now_wanted.difference(&wanted) {
                self.certificates.request(identity, Priority::Warmup);
            }
            // The last pod of an identity is gone.
            for identity in wanted.difference(&now_wanted) {
                self.certificates.forget(identity);
            }
            wanted = now_wanted;
            tokio::select! {
                () = self.applied.notified() => {}
                () = self.roster.wait_changed() => {}
            }
        }
    }
}

/// Identities of the pods we serve that speak or end tunnels.
fn identities(roster: &Roster, state: &Snapshot) -> BTreeSet<Identity> {
    roster
        .pods()
        .values()
        .filter_map(|pod| {
            state.local_workload(
                &pod.name.namespace,
                &pod.name.name,
                &pod.name.service_account,
            )
        })
        .filter(|workload| workload.protocol == Protocol::Hbone || workload.is_native_tunnel)
        .map(|workload| workload.identity().clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WorkloadName;
    use ambimesh_state::{Store, Update, Workload, WorkloadDetails};
    use ambimesh_types::WorkloadUid;

    fn workload(name: &str, account: &str, protocol: Protocol) -> Update {
        Update::Workload(Arc::new(Workload::new(
            WorkloadUid::new(&format!("Kubernetes//Pod/demo/{name}")),
            WorkloadDetails {
                name: name.into(),
                namespace: "demo".into(),
                service_account: account.into(),
                trust_domain: "cluster.local".into(),
                protocol,
                ..WorkloadDetails::default()
            },
        )))
    }

    fn pod(name: &str, account: &str) -> WorkloadName {
        WorkloadName {
            namespace: "demo".into(),
            name: name.into(),
            service_account: account.into(),
        }
    }

    /// Pods that share an account share an identity, which goes with the last of them.
    #[test]
    fn identities_are_those_of_the_pods_we_serve() {
        let mut store = Store::new();
        let updates = [
            workload("a", "web", Protocol::Hbone),
            workload("b", "web", Protocol::Hbone),
            workload("plain", "other", Protocol::Tcp),
            workload("elsewhere", "far", Protocol::Hbone),
        ];
        store.apply(updates, []);
        let (state, roster) = (store.published().load(), Roster::default());
        for (uid, name, account) in [
            ("1", "a", "web"),
            ("2", "b", "web"),
            ("3", "plain", "other"),
            ("4", "unknown", "x"),
        ] {
            roster.started(uid, &pod(name, account));
        }
        let web = BTreeSet::from([Identity::new("cluster.local", "demo", "web")]);

        assert_eq!(identities(&roster, &state), web);
        roster.stopped("1");
        assert_eq!(identities(&roster, &state), web, "another pod still has it");
        roster.stopped("2");
        assert!(identities(&roster, &state).is_empty());
    }
}

//! What data-path workers ask.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ambimesh_types::Identity;
use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::schedule::Priority;

/// What is known about one identity's certificate.
#[derive(Debug)]
pub enum View<C> {
    /// Valid now.
    Ready(Arc<C>),
    /// Being fetched.
    Pending,
    /// Cannot be had at the moment, and why.
    Failed(Arc<str>),
}

impl<C> Clone for View<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Ready(certificate) => Self::Ready(Arc::clone(certificate)),
            Self::Pending => Self::Pending,
            Self::Failed(text) => Self::Failed(Arc::clone(text)),
        }
    }
}

/// Certificates by identity. Never blocks on the network; cheap to clone, all clones share it.
pub struct CertificateCache<C> {
    shared: Arc<Shared<C>>,
}

struct Shared<C> {
    views: ArcSwap<HashMap<Identity, View<C>>>,
    wishes: Mutex<Wishes>,
    changed: Notify,
}

/// What was asked since the keeper last looked. Coalesced, so it cannot grow beyond the identities.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) requests: BTreeMap<Identity, Priority>,
    pub(super) forgets: BTreeSet<Identity>,
}

impl<C> Clone for CertificateCache<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C> Default for CertificateCache<C> {
    fn default() -> Self {
        let shared = Shared {
            views: ArcSwap::default(),
            wishes: Mutex::default(),
            changed: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl<C> CertificateCache<C> {
    /// The certificate of `identity`; asks for it, most urgently, if nobody has yet.
    ///
    /// Blocking: never, but for a short lock when there is no certificate.
    #[must_use]
    pub fn certificate(&self, identity: &Identity) -> View<C> {
        match self.shared.views.load().get(identity) {
            Some(View::Ready(certificate)) => View::Ready(Arc::clone(certificate)),
            Some(View::Failed(text)) => View::Failed(Arc::clone(text)),
            Some(View::Pending) | None => {
                self.request(identity, Priority::RealTime);
                View::Pending
            }
        }
    }

    /// Asks for a certificate that somebody will need.
    pub fn request(&self, identity: &Identity, priority: Priority) {
        self.wish(|wishes| {
            wishes.forgets.remove(identity);
            let wished = wishes.requests.entry(identity.clone()).or_insert(priority);
            *wished = priority.min(*wished);
        });
    }

    /// Says that nobody speaks for `identity` any more.
    pub fn forget(&self, identity: &Identity) {
        self.wish(|wishes| {
            wishes.requests.remove(identity);
            wishes.forgets.insert(identity.clone());
        });
    }

    /// Everything known, by identity.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Identity, View<C>> {
        self.shared
            .views
            .load()
            .iter()
            .map(|(identity, view)| (identity.clone(), view.clone()))
            .collect()
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(
            &mut self
                .shared
                .wishes
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.shared.changed.notify_one();
    }

    pub(super) fn take_wishes(&self) -> Wishes {
        std::mem::take(
            &mut *self
                .shared
                .wishes
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) async fn wait_wishes(&self) {
        self.shared.changed.notified().await;
    }

    pub(super) fn is_known(&self, identity: &Identity) -> bool {
        self.shared.views.load().contains_key(identity)
    }

    /// Replaces (or with `None` removes) what is known. Only the keeper writes.
    pub(super) fn publish(&self, identity: &Identity, view: Option<View<C>>) {
        let mut views = self.shared.views.load().as_ref().clone();
        match view {
            Some(view) => views.insert(identity.clone(), view),
            None => views.remove(identity),
        };
        self.shared.views.store(Arc::new(views));
    }
}

//! The task that fetches and renews certificates.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ambimesh_types::Identity;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::cache::{CertificateCache, View};
use super::renewal::Renewal;
use super::schedule::{Job, Schedule, Verdict};
use crate::log::{Log, Value};

const TARGET: &str = "certificates";

/// One fetch may take this long; the certificate authority answers in milliseconds.
const FETCH_LIMIT: Duration = Duration::from_secs(10);

/// With nothing to do, look again after this long.
const IDLE: Duration = Duration::from_secs(3600);

/// A new certificate.
#[derive(Debug)]
pub struct Issued<C> {
    /// The certificate with its key and roots.
    pub certificate: Arc<C>,
    /// When to renew it.
    pub renewal: Renewal,
}

/// Who signs. The text of an error is shown to operators and to the connections that wait.
pub trait Issuer: Send + Sync + 'static {
    /// A certificate with its key.
    type Certificate: Send + Sync + 'static;

    /// Gets a certificate for `identity`.
    fn issue(
        &self,
        identity: Identity,
    ) -> impl Future<Output = Result<Issued<Self::Certificate>, String>> + Send;
}

/// Fetches what is asked of the cache. Constructing it does nothing; [`Keeper::run`] works.
pub struct Keeper<I: Issuer> {
    cache: CertificateCache<I::Certificate>,
    issuer: Arc<I>,
    /// Wakes the workers: a certificate changed.
    on_change: Box<dyn Fn() + Send>,
    log: Log,
    schedule: Schedule,
    fetches: JoinSet<Result<Issued<I::Certificate>, String>>,
    jobs: HashMap<tokio::task::Id, Job>,
}

impl<I: Issuer> Keeper<I> {
    /// A keeper that fetches from `issuer` and says so by `on_change`.
    pub fn new(
        cache: CertificateCache<I::Certificate>,
        issuer: I,
        on_change: Box<dyn Fn() + Send>,
        log: Log,
    ) -> Self {
        Self {
            cache,
            issuer: Arc::new(issuer),
            on_change,
            log,
            schedule: Schedule::default(),
            fetches: JoinSet::new(),
            jobs: HashMap::new(),
        }
    }

    /// Works until cancelled. Cancellation: safe at any await; open fetches end with it.
    pub async fn run(mut self) {
        loop {
            self.take_wishes();
            self.expire();
            self.start_fetches();
            let wake_at = self
                .schedule
                .wake_at()
                .unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                () = self.cache.wait_wishes() => {}
                () = sleep_until(wake_at) => {}
                Some(ended) = self.fetches.join_next_with_id() => {
                    let (id, result) = match ended {
                        Ok((id, result)) => (id, result),
                        Err(error) => (error.id(), Err(format!("bug: the fetch ended with {error}"))),
                    };
                    self.finish(id, result);
                }
            }
        }
    }

    fn take_wishes(&mut self) {
        let wishes = self.cache.take_wishes();
        for identity in &wishes.forgets {
            self.schedule.forget(identity);
            self.cache.publish(identity, None);
        }
        for (identity, priority) in &wishes.requests {
            self.schedule.request(identity, *priority, Instant::now());
        }
        if !wishes.forgets.is_empty() {
            (self.on_change)();
        }
    }

    fn expire(&mut self) {
        for identity in self.schedule.take_expired(Instant::now()) {
            self.log.error(
                TARGET,
                "certificate expired",
                &[("identity", Value::Bare(&identity))],
            );
            let text = "certificate expired and the certificate authority did not renew it".into();
            self.cache.publish(&identity, Some(View::Failed(text)));
            (self.on_change)();
        }
    }

    fn start_fetches(&mut self) {
        while let Some(job) = self.schedule.next_job(Instant::now()) {
            let (issuer, identity) = (Arc::clone(&self.issuer), job.identity.clone());
            // A renewal leaves what is known in force until it has an answer.
            if !self.cache.is_known(&identity) {
                self.cache.publish(&identity, Some(View::Pending));
            }
            let fetch = self.fetches.spawn(async move {
                let late = |_| Err(format!("no answer within {} s", FETCH_LIMIT.as_secs()));
                timeout(FETCH_LIMIT, issuer.issue(identity))
                    .await
                    .unwrap_or_else(late)
            });
            self.jobs.insert(fetch.id(), job);
        }
    }

    fn finish(&mut self, id: tokio::task::Id, result: Result<Issued<I::Certificate>, String>) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        let renewal = result.as_ref().ok().map(|issued| issued.renewal);
        let verdict = self
            .schedule
            .finish(&job, renewal, Instant::now(), rand::random());
        let identity = &job.identity;
        match (verdict, result) {
            (Verdict::Discard, _) => return,
            (_, Ok(issued)) => {
                self.log.debug(
                    TARGET,
                    "certificate issued",
                    &[("identity", Value::Bare(identity))],
                );
                self.cache
                    .publish(identity, Some(View::Ready(issued.certificate)));
            }
            (verdict, Err(error)) => {
                let fields = [
                    ("identity", Value::Bare(identity)),
                    ("error", Value::Text(error.as_str())),
                ];
                self.log
                    .warn(TARGET, "certificate could not be fetched", &fields);
                if verdict == Verdict::KeepOld {
                    return;
                }
                self.cache
                    .publish(identity, Some(View::Failed(error.into())));
            }
        }
        (self.on_change)();
    }
}

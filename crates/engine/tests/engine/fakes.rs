//! Certificates and telemetry without their sources.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ambimesh_engine::{Certificates, End, Facts, Series, SvidStatus, Telemetry, Transferred};
use ambimesh_testkit::certificates::Authority;
use ambimesh_tls::{CertificateRequest, KeyExchange, Svid, SvidParts};
use ambimesh_types::Identity;

/// Longer than anything here takes; reaching it is a failure, not a pace.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Signs what is asked for, unless told otherwise.
pub struct FakeCertificates {
    authority: Arc<Authority>,
    answers: Mutex<HashMap<Identity, SvidStatus>>,
    has_bug: AtomicBool,
}

impl FakeCertificates {
    pub fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            answers: Mutex::default(),
            has_bug: AtomicBool::new(false),
        }
    }

    /// Answers so from now on.
    pub fn set(&self, identity: &Identity, status: SvidStatus) {
        self.answers
            .lock()
            .unwrap()
            .insert(identity.clone(), status);
    }

    /// From now on, panics when it is asked.
    pub fn plant_bug(&self) {
        self.has_bug.store(true, Ordering::Relaxed);
    }

    /// A certificate as the authority would give it.
    pub fn sign(&self, identity: &Identity) -> SvidStatus {
        SvidStatus::Ready(Arc::new(sign(&self.authority, identity)))
    }
}

/// A fresh SVID of an authority.
pub fn sign(authority: &Authority, identity: &Identity) -> Svid {
    let request = CertificateRequest::new(identity).unwrap();
    let leaf = authority.sign_request(request.pem()).unwrap();
    let chain = [leaf, authority.root_pem().to_owned()];
    let key = request.into_key();
    let identity = identity.clone();
    let key_exchange = KeyExchange::ClassicalFirst;
    Svid::new(SvidParts {
        identity,
        chain: &chain,
        key,
        key_exchange,
    })
    .unwrap()
}

impl Certificates for FakeCertificates {
    fn svid(&self, identity: &Identity) -> SvidStatus {
        assert!(!self.has_bug.load(Ordering::Relaxed), "planted bug");
        let known = self.answers.lock().unwrap().get(identity).cloned();
        known.unwrap_or_else(|| {
            let status = self.sign(identity);
            self.set(identity, status.clone());
            status
        })
    }
}

/// What one engine reported.
#[derive(Default)]
pub struct Recorder {
    reports: Mutex<Reports>,
    changed: Condvar,
}

#[derive(Clone, Default)]
pub struct Reports {
    pub opened: Vec<Facts>,
    pub closed: Vec<(Facts, End)>,
    pub failed: Vec<(Facts, End)>,
    pub progressed: Transferred,
}

impl Recorder {
    /// Waits until the reports are as wanted.
    pub fn wait_until(&self, wanted: impl Fn(&Reports) -> bool) -> Reports {
        let deadline = Instant::now() + PATIENCE;
        let mut reports = self.reports.lock().unwrap();
        while !wanted(&reports) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{reports}");
            reports = self.changed.wait_timeout(reports, left).unwrap().0;
        }
        reports.clone()
    }

    /// Waits for the next end and takes it.
    pub fn wait_closed(&self) -> (Facts, End) {
        self.wait_until(|reports| !reports.closed.is_empty());
        self.reports.lock().unwrap().closed.remove(0)
    }

    fn record(&self, change: impl FnOnce(&mut Reports)) {
        change(&mut self.reports.lock().unwrap());
        self.changed.notify_all();
    }
}

fn ends(reports: &[(Facts, End)]) -> Vec<&End> {
    reports.iter().map(|(_, end)| end).collect()
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opened {}, ", self.opened.len())?;
        write!(
            f,
            "closed {:?}, failed {:?}",
            ends(&self.closed),
            ends(&self.failed)
        )
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reports.lock().unwrap().fmt(f)
    }
}

impl Telemetry for Recorder {
    fn opened(&self, _worker: usize, facts: &Facts) -> Series {
        self.record(|reports| reports.opened.push(facts.clone()));
        Series(7)
    }

    fn progressed(&self, _worker: usize, series: Series, delta: Transferred) {
        assert_eq!(series, Series(7));
        self.record(|reports| {
            reports.progressed.received += delta.received;
            reports.progressed.sent += delta.sent;
        });
    }

    fn closed(&self, _worker: usize, _series: Series, facts: &Facts, end: &End) {
        self.record(|reports| reports.closed.push((facts.clone(), end.clone())));
    }

    fn failed(&self, _worker: usize, facts: &Facts, end: &End) {
        self.record(|reports| reports.failed.push((facts.clone(), end.clone())));
    }
}

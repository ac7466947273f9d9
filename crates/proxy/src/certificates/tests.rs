use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ambimesh_types::Identity;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::log::{Format, testing};

type Answer = Result<Issued<u32>, String>;

/// A certificate authority whose every answer the test gives by hand.
#[derive(Clone, Default)]
struct FakeAuthority(Arc<Mutex<Vec<Open>>>);

/// An account, and where its answer goes.
type Open = (String, oneshot::Sender<Answer>);

impl Issuer for FakeAuthority {
    type Certificate = u32;

    async fn issue(&self, identity: Identity) -> Answer {
        let (sender, receiver) = oneshot::channel();
        self.0
            .lock()
            .unwrap()
            .push((identity.service_account().to_owned(), sender));
        receiver
            .await
            .unwrap_or_else(|_| Err("authority gone".to_owned()))
    }
}

/// A keeper that runs, its authority and the cache a worker asks.
struct Rig {
    cache: CertificateCache<u32>,
    authority: FakeAuthority,
    changes: Arc<Mutex<u32>>,
    _tasks: JoinSet<()>,
}

fn rig() -> Rig {
    let (cache, authority) = (CertificateCache::default(), FakeAuthority::default());
    let changes: Arc<Mutex<u32>> = Arc::default();
    let counter = Arc::clone(&changes);
    let on_change = Box::new(move || *counter.lock().unwrap() += 1);
    let (log, _lines) = testing::captured(Format::Text);
    let mut tasks = JoinSet::new();
    tasks.spawn(Keeper::new(cache.clone(), authority.clone(), on_change, log).run());
    Rig {
        cache,
        authority,
        changes,
        _tasks: tasks,
    }
}

fn identity(account: &str) -> Identity {
    Identity::new("cluster.local", "demo", account)
}

impl Rig {
    /// Lets every task that can run do so; paused time then stands still.
    async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    async fn advance(&self, seconds: f64) {
        tokio::time::advance(Duration::from_secs_f64(seconds)).await;
        self.settle().await;
    }

    /// Accounts whose fetch waits for an answer, in the order they were asked.
    fn asked(&self) -> Vec<String> {
        self.authority
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|(account, _)| account.clone())
            .collect()
    }

    async fn answer(&self, account: &str, answer: Answer) {
        let sender = {
            let mut open = self.authority.0.lock().unwrap();
            let at = open
                .iter()
                .position(|(name, _)| name == account)
                .expect("this account was asked for");
            open.remove(at).1
        };
        let _ = sender.send(answer);
        self.settle().await;
    }

    fn seen(&self, account: &str) -> String {
        match self.cache.certificate(&identity(account)) {
            View::Ready(serial) => format!("ready {serial}"),
            View::Pending => "pending".to_owned(),
            View::Failed(text) => format!("failed: {text}"),
        }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "reads as an answer next to the failures"
)]
fn issued(serial: u32, life_seconds: u64) -> Answer {
    let renewal = Renewal {
        refresh_after: Duration::from_secs(life_seconds / 2),
        expires_after: Duration::from_secs(life_seconds),
    };
    Ok(Issued {
        certificate: Arc::new(serial),
        renewal,
    })
}

/// Many who ask at once share one fetch; the answer wakes the workers once.
#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_fetch() {
    let rig = rig();

    for _ in 0..5 {
        assert_eq!(rig.seen("web"), "pending");
        rig.settle().await;
    }
    assert_eq!(rig.asked(), ["web"]);
    rig.answer("web", issued(1, 1000)).await;

    assert_eq!(rig.seen("web"), "ready 1");
    assert_eq!(*rig.changes.lock().unwrap(), 1);
}

/// A renewal starts before half-life, leaves the old certificate in use, and replaces it.
#[tokio::test(start_paused = true)]
async fn certificates_are_renewed_at_half_life() {
    let rig = rig();
    let _ = rig.seen("web");
    rig.settle().await;
    rig.answer("web", issued(1, 1000)).await;

    rig.advance(440.0).await;
    assert!(
        rig.asked().is_empty(),
        "jitter takes at most a tenth of the half-life"
    );
    rig.advance(61.0).await;
    assert_eq!(
        (rig.asked(), rig.seen("web")),
        (vec!["web".to_owned()], "ready 1".to_owned())
    );
    rig.answer("web", issued(2, 1000)).await;

    assert_eq!(rig.seen("web"), "ready 2");
}

/// While the authority is down, a valid certificate serves to its last second, and not longer.
#[tokio::test(start_paused = true)]
async fn an_outage_is_invisible_until_the_certificate_expires() {
    let rig = rig();
    let _ = rig.seen("web");
    rig.settle().await;
    rig.answer("web", issued(1, 1000)).await;
    rig.advance(501.0).await;
    rig.answer("web", Err("authority down".into())).await;

    rig.advance(498.0).await;
    assert_eq!(rig.seen("web"), "ready 1");
    rig.advance(1.5).await;
    assert!(
        rig.seen("web").starts_with("failed: certificate expired"),
        "{}",
        rig.seen("web")
    );

    rig.answer("web", issued(2, 1000)).await;
    assert_eq!(rig.seen("web"), "ready 2", "a later answer repairs it");
}

/// Without a certificate, callers get the error at once, and a retry in the background repairs it.
#[tokio::test(start_paused = true)]
async fn a_failed_first_fetch_is_told_at_once_and_retried() {
    let rig = rig();
    let _ = rig.seen("web");
    rig.settle().await;

    rig.answer("web", Err("not authorized".into())).await;
    assert_eq!(rig.seen("web"), "failed: not authorized");
    assert!(rig.asked().is_empty(), "no fetch before the backoff");
    rig.advance(1.1).await;
    rig.answer("web", Err("not authorized".into())).await;
    rig.advance(1.1).await;
    assert!(rig.asked().is_empty(), "the second wait is longer");
    rig.advance(1.1).await;
    rig.answer("web", issued(7, 1000)).await;

    assert_eq!(rig.seen("web"), "ready 7");
}

/// At most eight fetches run; then traffic goes before warm-up, and warm-up before renewal.
#[tokio::test(start_paused = true)]
async fn urgent_fetches_go_first() {
    let rig = rig();
    for n in 0..8 {
        rig.cache
            .request(&identity(&format!("busy-{n}")), Priority::Warmup);
    }
    rig.settle().await;
    assert_eq!(rig.asked().len(), 8);
    rig.cache.request(&identity("warm"), Priority::Warmup);
    rig.cache.request(&identity("bumped"), Priority::Warmup);
    rig.settle().await;
    assert_eq!(rig.asked().len(), 8, "the ninth waits");
    let _ = rig.seen("bumped");
    rig.settle().await;

    rig.answer("busy-0", issued(1, 1000)).await;
    assert!(
        rig.asked().contains(&"bumped".to_owned()) && !rig.asked().contains(&"warm".to_owned())
    );
    rig.answer("busy-1", issued(1, 1000)).await;
    assert!(rig.asked().contains(&"warm".to_owned()));
}

/// A forgotten identity is gone; the answer that was under way is thrown away, unless it is revived.
#[tokio::test(start_paused = true)]
async fn forgetting_discards_what_is_under_way() {
    let rig = rig();
    let _ = rig.seen("gone");
    rig.settle().await;

    rig.cache.forget(&identity("gone"));
    rig.settle().await;
    rig.answer("gone", issued(1, 1000)).await;
    assert!(rig.cache.all().is_empty());

    assert_eq!(rig.seen("gone"), "pending", "asking again starts anew");
    rig.settle().await;
    rig.answer("gone", issued(2, 1000)).await;
    assert_eq!(rig.seen("gone"), "ready 2");
}

/// An authority that never answers is a failure after ten seconds, not a hang.
#[tokio::test(start_paused = true)]
async fn a_silent_authority_is_a_failure() {
    let rig = rig();
    let _ = rig.seen("web");
    rig.settle().await;

    rig.advance(10.1).await;

    assert_eq!(rig.seen("web"), "failed: no answer within 10 s");
}

/// A renewal that comes back already expired is retried after a second, not in a tight loop.
#[tokio::test(start_paused = true)]
async fn stillborn_certificates_do_not_make_a_storm() {
    let rig = rig();
    let _ = rig.seen("web");
    rig.settle().await;

    rig.answer("web", issued(1, 0)).await;

    assert!(rig.asked().is_empty());
    assert!(rig.seen("web").starts_with("failed: certificate expired"));
    rig.advance(1.0).await;
    assert_eq!(rig.asked(), ["web"]);
}

/// Whatever the order of wishes and answers, no identity is fetched twice at once, and none is lost.
#[test]
fn the_schedule_never_fetches_one_identity_twice() {
    let mut schedule = schedule::Schedule::default();
    let now = Instant::now();
    let mut running: HashMap<String, schedule::Job> = HashMap::new();
    let mut seed = 7_u32;
    for step in 0..2000_u64 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let account = format!("sa-{}", seed >> 28);
        let now = now + Duration::from_secs(step);
        match (seed >> 24) % 4 {
            0 => schedule.request(&identity(&account), Priority::Warmup, now),
            1 => schedule.request(&identity(&account), Priority::RealTime, now),
            _ => {
                if let Some(job) = running.remove(&account) {
                    let lifetime = Duration::from_secs(u64::from(seed % 50));
                    let renewal = Renewal {
                        refresh_after: lifetime / 2,
                        expires_after: lifetime,
                    };
                    let _ =
                        schedule.finish(&job, seed.is_multiple_of(3).then_some(renewal), now, 0.5);
                }
            }
        }
        while let Some(job) = schedule.next_job(now) {
            let account = job.identity.service_account().to_owned();
            assert!(running.insert(account, job).is_none(), "step {step}");
        }
        assert!(running.len() <= 8);
    }
}

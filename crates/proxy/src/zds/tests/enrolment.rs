use std::collections::BTreeSet;
use std::time::Instant;

use ambimesh_netns::Namespace;

use super::super::enrolment::{RETRY_EVERY, Reply};
use super::super::message::Request;
use super::*;

fn pod(uid: &str) -> (Request, Witness) {
    let (descriptor, witness) = namespace();
    let namespace = Namespace::from_descriptor(descriptor).unwrap();
    (
        Request::Add(Pod {
            uid: uid.into(),
            name: name(),
            namespace,
            listeners: Vec::new(),
        }),
        witness,
    )
}

fn enrolment() -> (Enrolment<FakeHost>, FakeHost, Roster) {
    let (host, roster) = (FakeHost::default(), Roster::default());
    let mut enrolment = Enrolment::new(host.clone(), roster.clone());
    enrolment.connected();
    (enrolment, host, roster)
}

/// An enrolment whose snapshot held these pods.
fn enrolled(uids: &[&str]) -> (Enrolment<FakeHost>, FakeHost, Roster) {
    let (mut enrolment, host, roster) = enrolment();
    for uid in uids {
        assert_eq!(enrolment.handle(pod(uid).0, Instant::now()), Reply::Ack);
    }
    assert_eq!(
        enrolment.handle(Request::SnapshotSent, Instant::now()),
        Reply::Ack
    );
    host.take_told();
    (enrolment, host, roster)
}

fn is_nack(reply: &Reply) -> bool {
    matches!(reply, Reply::Nack(_))
}

/// One add starts one pod; its descriptor is not kept once the host has its own.
#[test]
fn an_added_pod_is_started_once() {
    let (mut enrolment, host, roster) = enrolment();
    let (request, witness) = pod("a");

    assert_eq!(enrolment.handle(request, Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["start a with 0 listeners"]);
    assert!(witness.is_closed());
    assert_eq!((roster.count(RunState::Up), roster.totals()), (1, (1, 0)));
    assert!(!enrolment.is_ready(), "the snapshot is not complete");
    enrolment.handle(Request::SnapshotSent, Instant::now());
    assert!(enrolment.is_ready());
}

/// The same pod in the same namespace again is a success that changes nothing.
#[test]
fn the_same_pod_again_changes_nothing() {
    let (mut enrolment, host, _) = enrolled(&[]);
    let (descriptor, _witness) = namespace();
    let again = descriptor.try_clone().unwrap();
    let request = |descriptor| {
        let namespace = Namespace::from_descriptor(descriptor).unwrap();
        Request::Add(Pod {
            uid: "a".into(),
            name: name(),
            namespace,
            listeners: Vec::new(),
        })
    };

    enrolment.handle(request(descriptor), Instant::now());
    assert_eq!(enrolment.handle(request(again), Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["start a with 0 listeners"]);
}

/// The same pod in a new namespace is stopped there and started here.
#[test]
fn a_pod_with_a_new_namespace_is_restarted() {
    let (mut enrolment, host, roster) = enrolled(&["a"]);

    assert_eq!(enrolment.handle(pod("a").0, Instant::now()), Reply::Ack);

    assert_eq!(host.take_told(), ["stop a", "start a with 0 listeners"]);
    assert_eq!(roster.totals(), (2, 1));
}

/// A pod that cannot be started is refused, makes the proxy unready, and is tried again.
#[test]
fn a_failed_start_is_pending_until_a_retry_works() {
    let (mut enrolment, host, roster) = enrolled(&[]);
    let now = Instant::now();
    host.break_pod("a");

    assert!(is_nack(&enrolment.handle(pod("a").0, now)));
    assert_eq!(
        (enrolment.is_ready(), roster.count(RunState::Pending)),
        (false, 1)
    );
    assert_eq!(enrolment.retry_at(), Some(now + RETRY_EVERY));
    enrolment.retry(now + RETRY_EVERY);
    assert_eq!(
        enrolment.retry_at(),
        Some(now + RETRY_EVERY * 2),
        "it goes on while anything is pending"
    );
    host.mend();
    enrolment.retry(now + RETRY_EVERY * 2);

    assert_eq!(
        host.take_told(),
        [
            "cannot start a",
            "cannot start a",
            "start a with 0 listeners"
        ]
    );
    assert_eq!((enrolment.retry_at(), enrolment.is_ready()), (None, true));
    assert_eq!(
        (roster.count(RunState::Pending), roster.count(RunState::Up)),
        (0, 1)
    );
}

/// istio#52858: an add that works while the same pod is pending ends the pending one.
#[test]
fn adding_a_pending_pod_again_ends_the_wait() {
    let (mut enrolment, host, _) = enrolled(&[]);
    host.break_pod("a");
    let (first, witness) = pod("a");
    enrolment.handle(first, Instant::now());
    assert!(!witness.is_closed(), "a pending pod keeps its namespace");
    host.mend();

    assert_eq!(enrolment.handle(pod("a").0, Instant::now()), Reply::Ack);

    assert!(witness.is_closed() && enrolment.is_ready());
    enrolment.retry(Instant::now());
    assert_eq!(
        host.take_told(),
        ["cannot start a", "start a with 0 listeners"]
    );
}

/// Deleting a pending pod lets go of its namespace and is a success, as is an unknown pod.
#[test]
fn deleting_a_pending_pod_frees_its_namespace() {
    let (mut enrolment, host, roster) = enrolled(&[]);
    host.break_pod("a");
    let (request, witness) = pod("a");
    enrolment.handle(request, Instant::now());

    assert_eq!(
        enrolment.handle(Request::Remove("a".into()), Instant::now()),
        Reply::Ack
    );
    assert_eq!(
        enrolment.handle(Request::Remove("unknown".into()), Instant::now()),
        Reply::Ack
    );

    assert!(witness.is_closed() && enrolment.is_ready() && roster.pods().is_empty());
}

/// After the snapshot a delete stops the pod at once.
#[test]
fn deleting_a_running_pod_stops_it() {
    let (mut enrolment, host, roster) = enrolled(&["a", "b"]);

    assert_eq!(
        enrolment.handle(Request::Remove("a".into()), Instant::now()),
        Reply::Ack
    );

    assert_eq!(host.take_told(), ["stop a"]);
    assert_eq!((roster.count(RunState::Up), roster.totals()), (1, (2, 1)));
}

/// On a new connection what runs keeps running; what the new snapshot does not name is stopped.
#[test]
fn a_new_snapshot_stops_what_it_does_not_name() {
    let (mut enrolment, host, _) = enrolled(&["kept", "deleted", "missing"]);

    enrolment.disconnected();
    assert!(!enrolment.is_ready());
    enrolment.connected();
    enrolment.handle(Request::Keep("kept".into()), Instant::now());
    enrolment.handle(Request::Keep("deleted".into()), Instant::now());
    enrolment.handle(Request::Remove("deleted".into()), Instant::now());
    assert!(
        host.take_told().is_empty(),
        "nothing stops before the snapshot is complete"
    );
    enrolment.handle(Request::SnapshotSent, Instant::now());

    let told: BTreeSet<String> = host.take_told().into_iter().collect();
    assert_eq!(
        told,
        BTreeSet::from(["stop deleted".to_owned(), "stop missing".to_owned()])
    );
    assert!(enrolment.is_ready());
}

/// What cannot be at this point of the dialogue is a protocol error.
#[test]
fn messages_out_of_order_are_protocol_errors() {
    let (mut enrolment, _, _) = enrolled(&[]);

    for request in [Request::SnapshotSent, Request::Keep("a".into())] {
        let reply = enrolment.handle(request, Instant::now());
        assert!(
            matches!(&reply, Reply::NackAndReconnect(text) if text.starts_with("failure to process message"))
        );
    }
}

/// A retired generation closes its listeners, takes no new pods, and still obeys deletes.
#[test]
fn a_retired_generation_takes_no_more_pods() {
    let (mut enrolment, host, _) = enrolled(&["a"]);

    assert_eq!(
        enrolment.handle(Request::Retire, Instant::now()),
        Reply::Ack
    );
    assert!(is_nack(&enrolment.handle(pod("b").0, Instant::now())));
    assert_eq!(
        enrolment.handle(Request::Remove("a".into()), Instant::now()),
        Reply::Ack
    );

    assert_eq!(host.take_told(), ["retire", "stop a"]);
    assert!(!enrolment.is_ready() && enrolment.is_retired());
}

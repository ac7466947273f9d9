//! Who may be at the other end, and waiting for the right to speak.

use std::sync::Arc;
use std::time::Duration;

use ambimesh_engine::{Command, Settings, SvidStatus, Timeouts};
use ambimesh_testkit::certificates::Authority;
use ambimesh_types::{CloseReason, Identity};

use crate::fakes::sign;
use crate::rig::{Rig, Wish};

/// A connection waits for its certificate, at both ends, and goes on when it arrives.
#[test]
fn connections_wait_for_certificates() {
    let rig = Rig::new();
    let listener = rig.listen();
    let pods = [&rig.client, &rig.server];
    for pod in pods {
        pod.certificates.set(&pod.identity(), SvidStatus::Pending);
    }
    let client = rig.client.connect(listener.local_addr().unwrap());
    rig.client
        .reports
        .wait_until(|reports| !reports.opened.is_empty());
    assert_eq!(rig.server.engine.active(), 0);

    for pod in pods {
        pod.certificates
            .set(&pod.identity(), pod.certificates.sign(&pod.identity()));
        pod.engine.send(Command::CertificatesChanged).unwrap();
    }
    listener.accept().unwrap();

    drop(client);
}

/// A certificate that cannot be had ends the connection with its reason.
#[test]
fn a_failed_certificate_ends_the_connection() {
    let rig = Rig::new();
    let listener = rig.listen();
    let failed = SvidStatus::Failed("authority says no".into());
    rig.client.certificates.set(&rig.client.identity(), failed);

    rig.client.connect_refused(listener.local_addr().unwrap());

    let (_, end) = rig.client.reports.wait_closed();
    assert_eq!(end.reason, CloseReason::NoCertificate);
    assert_eq!(end.detail.as_deref(), Some("authority says no"));
}

/// One that does not come in time does so too.
#[test]
fn a_late_certificate_ends_the_connection() {
    let timeouts = Timeouts {
        certificate: Duration::from_millis(50),
        ..Default::default()
    };
    let settings = Settings {
        timeouts,
        ..Default::default()
    };
    let rig = Rig::with(&Wish {
        settings,
        ..Default::default()
    });
    let listener = rig.listen();
    rig.client
        .certificates
        .set(&rig.client.identity(), SvidStatus::Pending);

    rig.client.connect_refused(listener.local_addr().unwrap());

    assert_eq!(
        rig.client.reports.wait_closed().1.reason,
        CloseReason::NoCertificate
    );
}

/// A server that proves another identity than discovery announced is not talked to.
#[test]
fn a_server_with_another_identity_is_refused() {
    let rig = Rig::new();
    let listener = rig.listen();
    let impostor = Identity::new("cluster.local", "demo", "impostor");
    rig.server.certificates.set(
        &rig.server.identity(),
        rig.server.certificates.sign(&impostor),
    );

    rig.client.connect_refused(listener.local_addr().unwrap());

    let (_, end) = rig.client.reports.wait_closed();
    assert_eq!(end.reason, CloseReason::IdentityMismatch);
    assert!(end.detail.unwrap().contains("sa/impostor"));
}

/// A caller of another trust domain, or of another authority, gets no tunnel.
#[test]
fn callers_of_other_domains_are_refused() {
    let rig = Rig::new();
    let listener = rig.listen();
    let stranger = Identity::new("other.domain", "demo", "client");
    let other_authority = Authority::new("other");
    let wrong = [
        (
            rig.client.certificates.sign(&stranger),
            CloseReason::IdentityMismatch,
        ),
        (
            SvidStatus::Ready(Arc::new(sign(&other_authority, &rig.client.identity()))),
            CloseReason::TlsFailure,
        ),
    ];

    for (index, (svid, reason)) in wrong.into_iter().enumerate() {
        rig.client.certificates.set(&rig.client.identity(), svid);
        rig.client.connect_refused(listener.local_addr().unwrap());
        let reports = rig
            .server
            .reports
            .wait_until(|reports| reports.failed.len() > index);
        // Under another authority the client refuses first: it trusts only its own.
        assert_eq!(
            reports.failed[index].1.reason, reason,
            "{:?}",
            reports.failed[index].1
        );
    }
}

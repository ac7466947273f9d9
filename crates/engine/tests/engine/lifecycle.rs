//! Pods that come and go, generations that hand over.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ambimesh_engine::{Command, CommandError, Engine, Settings, Shared, Timeouts};
use ambimesh_state::{Removal, Update};
use ambimesh_types::CloseReason;

use crate::fakes::{PATIENCE, Recorder};
use crate::rig::{Rig, Wish, uid, workload};

/// A connection that is faster than discovery waits for it.
#[test]
fn connections_wait_for_discovery() {
    let rig = Rig::with(&Wish {
        is_server_known: false,
        ..Default::default()
    });
    let listener = rig.listen();
    // Unknown to its client the server is passed through to, and its own proxy waits.
    let _client = rig.client.connect(listener.local_addr().unwrap());
    rig.server.wait_for_active(1);

    rig.apply([Update::Workload(Arc::new(workload("server", 2)))]);

    listener.accept().unwrap();
}

/// A pod that discovery never mentions is given up with its own reason.
#[test]
fn a_pod_that_stays_unknown_is_given_up() {
    let timeouts = Timeouts {
        workload: Duration::from_millis(50),
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
    rig.change([], [Removal::Address(uid("client").to_string())]);
    rig.client.wait_for_engine();

    rig.client.connect_refused(listener.local_addr().unwrap());

    let reports = rig
        .client
        .reports
        .wait_until(|reports| !reports.failed.is_empty());
    assert_eq!(reports.failed[0].1.reason, CloseReason::WorkloadUnknown);
}

/// The same tunnel serves as long as the workload is the same; another workload at the same
/// address gets another tunnel (design D6).
#[test]
fn a_reused_address_never_meets_an_old_tunnel() {
    let rig = Rig::new();
    let listener = rig.listen();
    let _first = rig.connect(&listener);
    let _second = rig.connect(&listener);
    rig.server.wait_for_active(2 + 1);

    let successor = workload_with_uid("successor");
    rig.change(
        [Update::Workload(Arc::new(successor))],
        [Removal::Address(uid("server").to_string())],
    );
    rig.client.wait_for_engine();
    let _third = rig.connect(&listener);

    rig.server.wait_for_active(3 + 2);
}

fn workload_with_uid(name: &str) -> ambimesh_state::Workload {
    ambimesh_state::Workload::new(uid(name), (*workload("server", 2)).clone())
}

/// Removing a pod ends its connections and closes its listeners.
#[test]
fn removing_a_pod_ends_its_connections() {
    let rig = Rig::new();
    let listener = rig.listen();
    let (mut client, _server) = rig.connect(&listener);

    rig.server
        .engine
        .send(Command::RemoveWorkload {
            uid: "server".into(),
        })
        .unwrap();

    assert!(client.read(&mut [0; 8]).is_err());
    assert_eq!(
        rig.server.reports.wait_closed().1.reason,
        CloseReason::WorkloadRemoved
    );
    rig.server.wait_for_engine();
    let gone = rig
        .client
        .inside(|| TcpStream::connect_timeout(&(rig.server.ip, 15008).into(), PATIENCE));
    assert!(
        gone.and_then(|mut stream| stream.read(&mut [0; 8]))
            .is_err()
    );
}

/// Without `SO_REUSEPORT` a second generation cannot bind, and says which port.
#[test]
fn a_taken_port_is_reported() {
    let settings = Settings {
        reuse_port: false,
        ..Default::default()
    };
    let rig = Rig::with(&Wish {
        settings,
        ..Default::default()
    });

    let error = rig
        .client
        .engine
        .send(Command::AddWorkload(rig.client.workload()))
        .unwrap_err();

    assert!(
        matches!(error, CommandError::Bind { port: 15008, .. }),
        "{error}"
    );
}

/// A new generation takes over: what is open at the old one goes on, the new one accepts, and the
/// old one says when it is done.
#[test]
fn generations_hand_over_without_a_cut() {
    let rig = Rig::new();
    let listener = rig.listen();
    let (mut client, mut server) = rig.connect(&listener);
    let reports = Arc::new(Recorder::default());
    let next = Engine::start(
        1,
        &Shared {
            telemetry: reports.clone(),
            ..rig.server.shared()
        },
    )
    .unwrap();
    next.send(Command::AddWorkload(rig.server.workload()))
        .unwrap();

    let (finished, done) = mpsc::channel();
    let finished = Box::new(move || finished.send(()).unwrap());
    rig.server
        .engine
        .send(Command::Drain {
            within: PATIENCE,
            finished,
        })
        .unwrap();
    rig.server.wait_for_engine();
    let (mut new_client, mut new_server) = rig.connect(&listener);
    new_client.write_all(b"new").unwrap();
    new_server.read_exact(&mut [0; 3]).unwrap();
    client.write_all(b"old").unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    assert!(done.try_recv().is_err());
    drop((client, server));

    done.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        reports
            .wait_until(|reports| reports.opened.len() == 1)
            .opened
            .len(),
        1
    );
    assert_eq!(rig.server.engine.active(), 0);
}

/// What does not end by itself is ended at the deadline.
#[test]
fn a_drain_ends_at_its_deadline() {
    let rig = Rig::new();
    let listener = rig.listen();
    let (mut client, _server) = rig.connect(&listener);
    let (finished, done) = mpsc::channel();

    let finished = Box::new(move || finished.send(()).unwrap());
    let within = Duration::from_millis(100);
    rig.server
        .engine
        .send(Command::Drain { within, finished })
        .unwrap();

    done.recv_timeout(PATIENCE).unwrap();
    assert!(client.read(&mut [0; 8]).is_err());
    assert_eq!(
        rig.server.reports.wait_closed().1.reason,
        CloseReason::Drained
    );
}

/// An idle tunnel is released, and the next connection dials a new one.
#[test]
fn idle_tunnels_are_released() {
    let settings = Settings {
        idle_tunnel_release: Duration::from_millis(50),
        ..Default::default()
    };
    let rig = Rig::with(&Wish {
        settings,
        ..Default::default()
    });
    let listener = rig.listen();
    drop(rig.connect(&listener));

    rig.server.wait_for_active(0);

    rig.connect(&listener);
}

/// A half-closed connection on which nothing moves is ended after its time.
#[test]
fn silent_half_closed_connections_end() {
    let timeouts = Timeouts {
        half_closed: Duration::from_millis(50),
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
    let (client, _server) = rig.connect(&listener);

    client.shutdown(std::net::Shutdown::Write).unwrap();

    // Whichever proxy is first; the other one sees its reset.
    let ends = [&rig.client, &rig.server].map(|pod| pod.reports.wait_closed().1.detail.unwrap());
    assert!(
        ends.iter()
            .any(|end| &**end == "one direction ended and the other is silent"),
        "{ends:?}"
    );
}

/// Several workers share the listeners; connections work whoever takes them.
#[test]
fn several_workers_share_a_pod() {
    let rig = Rig::with(&Wish {
        workers: 3,
        ..Default::default()
    });
    let listener = rig.listen();

    for _ in 0..50 {
        let (mut client, mut server) = rig.connect(&listener);
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
}

/// Stopping ends every connection, and each that was opened is reported closed.
#[test]
fn stopping_ends_and_reports_everything() {
    let Rig { client, server, .. } = {
        let rig = Rig::new();
        let listener = rig.listen();
        let (mut at_client, mut at_server) = rig.connect(&listener);
        at_client.write_all(b"x").unwrap();
        at_server.read_exact(&mut [0]).unwrap();
        rig
    };

    client.engine.stop();
    server.engine.stop();

    for reports in [client.reports, server.reports] {
        let reports = reports.wait_until(|_| true);
        assert_eq!((reports.opened.len(), reports.closed.len()), (1, 1));
    }
}

/// A worker that panics resets its connections, so that nobody takes a cut for an end, and is
/// noticed: nothing is taken any more, so that the process can end.
#[test]
fn a_worker_that_panics_stops_the_engine() {
    let rig = Rig::new();
    let listener = rig.listen();
    rig.client.certificates.plant_bug();

    // An error of any kind: an orderly end would be none.
    rig.client.connect_refused(listener.local_addr().unwrap());

    let engine = &rig.client.engine;
    let deadline = Instant::now() + PATIENCE;
    while engine.is_running() {
        assert!(Instant::now() < deadline, "still running");
        thread::yield_now();
    }
    let refused = engine.send(Command::StateChanged);
    assert!(matches!(refused, Err(CommandError::Stopped)), "{refused:?}");
}

//! Against the `h2` crate, in both roles: what two implementations agree on is HTTP/2.

mod driver;

use std::time::Duration;

use ambimesh_hbone::{Connection, ErrorCode, Role, Settings};
use ambimesh_testkit::reference::{self, LARGE_HEADER, Tuning, host};
use bytes::Bytes;
use driver::{Client, Exchange, Outcome, Server, drive};
use h2::Reason;
use http::StatusCode;
use tokio::io::duplex;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A test that hangs has failed.
const LIMIT: Duration = Duration::from_secs(60);

const LARGE: Tuning = Tuning {
    stream_window: 4 << 20,
    connection_window: 16 << 20,
    frame_size: 1 << 20,
    streams: 200,
};
const SMALL: Tuning = Tuning {
    stream_window: 1000,
    connection_window: 65_535,
    frame_size: 16_384,
    streams: 3,
};

fn settings(role: Role, tuning: Tuning) -> Settings {
    let settings = match role {
        Role::Client => Settings::client(),
        Role::Server => Settings::server(),
    };
    Settings {
        stream_window: tuning.stream_window,
        connection_window: tuning.connection_window,
        max_frame_size: tuning.frame_size,
        max_concurrent_streams: tuning.streams,
        max_header_list: 100_000,
        ..settings
    }
}

fn payload(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| ((at * 31 + seed * 17) ^ (at >> 8)).to_le_bytes()[0])
        .collect()
}

/// Exchanges of every kind and of sizes from nothing to beyond the window.
fn mixture() -> Vec<(&'static str, Vec<u8>)> {
    let sizes = [0, 1, 100, 16_384, 65_536, 300_000];
    let hosts = [
        host::ECHO,
        host::ECHO,
        host::REFUSE,
        host::RESET,
        host::HEADERS,
    ];
    (0..30)
        .map(|i| (hosts[i % hosts.len()], payload(i, sizes[i % sizes.len()])))
        .collect()
}

async fn our_client(tuning: Tuning, ours: Tuning, pipe: usize, exchanges: Vec<Exchange>) -> Client {
    let (near, far) = duplex(pipe);
    let mut tasks = JoinSet::new();
    tasks.spawn(reference::serve(far, tuning));
    let mut connection = Connection::new(Role::Client, settings(Role::Client, ours));
    let mut client = Client::new(exchanges);
    timeout(LIMIT, drive(&mut connection, near, &mut client))
        .await
        .expect("no hang");
    client
}

/// Our client against the reference server, on tight and wide windows, pipes and limits.
#[tokio::test]
async fn our_client_agrees_with_h2() {
    for (theirs, ours, pipe) in [
        (LARGE, LARGE, 1 << 20),
        (SMALL, LARGE, 1000),
        (LARGE, SMALL, 65_536),
        (SMALL, SMALL, 77),
    ] {
        let exchanges = mixture().into_iter().map(|(host, payload)| Exchange {
            authority: format!("{host}:80"),
            payload,
            abort_after: None,
        });

        let client = our_client(theirs, ours, pipe, exchanges.collect()).await;

        for ((host, sent), outcome) in mixture().into_iter().zip(client.outcomes) {
            let outcome = outcome.expect("an outcome");
            match host {
                host::REFUSE => assert_eq!(outcome, Outcome::Finished(503, Vec::new())),
                host::RESET if !sent.is_empty() => {
                    assert_eq!(outcome, Outcome::Reset(ErrorCode::CANCEL));
                }
                _ => assert!(outcome == Outcome::Finished(200, sent), "{host} differs"),
            }
        }
        assert_eq!(client.largest_header, LARGE_HEADER);
        assert!(client.most_at_once <= theirs.streams as usize);
    }
}

/// Two hundred downloads that we abort leave a tunnel that works, says the reference too.
#[tokio::test]
async fn our_aborted_downloads_leave_a_working_tunnel() {
    let abort = |at| Exchange {
        authority: "echo.test:80".to_owned(),
        payload: payload(at, 200_000),
        abort_after: Some(1 + at * 100),
    };
    let last = Exchange {
        abort_after: None,
        payload: payload(7, 8 << 20),
        ..abort(0)
    };
    let narrow = Tuning {
        stream_window: 100_000,
        connection_window: 150_000,
        ..LARGE
    };
    let exchanges = (0..200).map(abort).chain([last.clone()]).collect();

    let mut client = our_client(LARGE, narrow, 65_536, exchanges).await;

    let outcome = client.outcomes.pop().flatten().expect("an outcome");
    assert!(outcome == Outcome::Finished(200, last.payload));
}

/// A draining reference server finishes what it has; later streams are ours to retry.
#[tokio::test]
async fn our_client_follows_a_drain() {
    let (near, far) = duplex(4096);
    let mut tasks = JoinSet::new();
    tasks.spawn(reference::serve(far, LARGE));
    let mut connection = Connection::new(Role::Client, settings(Role::Client, LARGE));
    let sent = payload(3, 500_000);
    let exchange = Exchange {
        authority: "drain.test:80".into(),
        payload: sent.clone(),
        abort_after: None,
    };
    let mut client = Client::new(vec![exchange]);

    timeout(LIMIT, drive(&mut connection, near, &mut client))
        .await
        .expect("no hang");

    assert!(client.outcomes[0] == Some(Outcome::Finished(200, sent)));
    assert!(connection.peer_going_away().is_some() && connection.is_finished());
    timeout(LIMIT, tasks.join_next()).await.expect("no hang");
}

/// Runs our server on one end of a pipe and gives the other to a reference client.
async fn against_our_server<F>(
    ours: Tuning,
    theirs: Tuning,
    pipe: usize,
    run: impl FnOnce(h2::client::SendRequest<Bytes>) -> F,
) -> F::Output
where
    F: Future,
{
    let (near, far) = duplex(pipe);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connection = Connection::new(Role::Server, settings(Role::Server, ours));
        drive(&mut connection, near, &mut Server::default()).await;
    });
    let (client, connection) = timeout(LIMIT, reference::connect(far, theirs))
        .await
        .expect("no hang")
        .expect("handshake");
    tasks.spawn(async move {
        // How the connection ends is the exchanges' business.
        let _ = connection.await;
    });
    timeout(LIMIT, run(client)).await.expect("no hang")
}

/// The reference client against our server, on tight and wide windows, pipes and limits.
#[tokio::test]
async fn our_server_agrees_with_h2() {
    for (ours, theirs, pipe) in [
        (LARGE, LARGE, 1 << 20),
        (SMALL, LARGE, 1000),
        (LARGE, SMALL, 65_536),
        (SMALL, SMALL, 77),
    ] {
        let outcomes = against_our_server(ours, theirs, pipe, |client| async move {
            let mut exchanges = JoinSet::new();
            for (index, (host, payload)) in mixture().into_iter().enumerate() {
                let client = client.clone();
                exchanges.spawn(async move {
                    let authority = format!("{host}:80");
                    (
                        index,
                        reference::exchange(client, &authority, payload.into()).await,
                    )
                });
            }
            exchanges.join_all().await
        })
        .await;

        assert_eq!(outcomes.len(), mixture().len());
        for (index, outcome) in outcomes {
            let (host, sent) = mixture().swap_remove(index);
            let ok = |body| reference::Outcome::Finished(StatusCode::OK, body);
            let unavailable = StatusCode::SERVICE_UNAVAILABLE;
            match host {
                host::REFUSE => {
                    assert_eq!(
                        outcome,
                        reference::Outcome::Finished(unavailable, Vec::new())
                    );
                }
                host::RESET if !sent.is_empty() => {
                    assert_eq!(outcome, reference::Outcome::Reset(Reason::CANCEL));
                }
                _ => assert!(outcome == ok(sent), "{host} differs"),
            }
        }
    }
}

/// Two hundred exchanges that the reference client aborts leave a tunnel that works.
#[tokio::test]
async fn their_aborted_downloads_leave_a_working_tunnel() {
    let narrow = Tuning {
        stream_window: 100_000,
        connection_window: 150_000,
        ..LARGE
    };
    let sent = payload(9, 8 << 20);
    let expected = sent.clone();

    let outcome = against_our_server(narrow, narrow, 65_536, |client| async move {
        for at in 0..200 {
            let opened = reference::open(client.clone(), "echo.test:80").await;
            let (response, mut sender) = opened.expect("a stream");
            reference::send(&mut sender, payload(at, 50_000).into())
                .await
                .expect("credit");
            let response = response.await.expect("an answer");
            if at % 2 == 0 {
                sender.send_reset(Reason::CANCEL);
            }
            drop(response);
        }
        reference::exchange(client, "echo.test:80", sent.into()).await
    })
    .await;

    assert!(outcome == reference::Outcome::Finished(StatusCode::OK, expected));
}

/// A drain of ours: the stream that is open ends well, new ones are not taken.
#[tokio::test]
async fn our_server_drains() {
    let sent = payload(5, 500_000);
    let expected = sent.clone();

    let (outcome, refused) = against_our_server(LARGE, LARGE, 4096, |client| async move {
        let outcome = reference::exchange(client.clone(), "drain.test:80", sent.into()).await;
        (
            outcome,
            reference::open(client, "echo.test:80").await.is_err(),
        )
    })
    .await;

    assert!(outcome == reference::Outcome::Finished(StatusCode::OK, expected));
    assert!(refused);
}

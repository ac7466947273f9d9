//! Windows: live changes, negative ones, and those smaller than HTTP/2's own.

mod pipe;

use ambimesh_hbone::{
    Connection, ConnectionError, Event, OpenError, Role, SendError, Settings, StreamId,
};
use ambimesh_testkit::hostile::{Frames, fields};
use pipe::{End, carry, request};

fn feed(connection: &mut Connection, frames: Frames) -> Vec<String> {
    pipe::describe(connection, &frames.into_bytes(), usize::MAX)
}

fn client_with(frames: Frames) -> Connection {
    let mut connection = Connection::new(Role::Client, Settings::client());
    feed(&mut connection, frames);
    connection
}

/// A lowered initial window makes streams negative; credit brings them back, and the caller is
/// told only then (RFC 9113 §6.9.2).
#[test]
fn lowered_window_goes_negative_and_recovers() {
    let mut client = client_with(Frames::server().settings(&[(4, 1000)]));
    let stream = client.open(&request()).unwrap();
    client.data_header(stream, 900, false).unwrap();

    assert!(feed(&mut client, Frames::new().settings(&[(4, 100)])).is_empty());
    assert_eq!(client.sendable(stream), 0);
    assert!(
        feed(
            &mut client,
            Frames::new().window_update(stream.value(), 800)
        )
        .is_empty()
    );
    assert_eq!(client.sendable(stream), 0);

    let seen = feed(&mut client, Frames::new().window_update(stream.value(), 5));
    assert_eq!(seen, [format!("Writable {{ stream: Some({stream:?}) }}")]);
    assert_eq!(client.sendable(stream), 5);

    let seen = feed(
        &mut client,
        Frames::new().settings(&[(4, 50)]).settings(&[(4, 200)]),
    );
    assert_eq!(seen, ["Writable { stream: None }"]);
    assert_eq!(client.sendable(stream), 105);
}

/// A setting that lifts an open stream's window beyond 2^31-1 ends the tunnel.
#[test]
fn overflow_by_settings_ends_the_tunnel() {
    let mut client = client_with(Frames::server().settings(&[(4, 0)]));
    let stream = client.open(&request()).unwrap();

    let frames = Frames::new()
        .window_update(stream.value(), 2)
        .settings(&[(4, (1 << 31) - 1)]);

    assert_eq!(feed(&mut client, frames).last().unwrap(), "WindowOverflow");
}

/// The peer's settings apply live: streams, frame size, header list.
#[test]
fn peer_settings_apply_live() {
    let mut client = Connection::new(Role::Client, Settings::client());
    assert_eq!(client.stream_limit(), 100);
    assert!(!client.is_established());

    let seen = feed(
        &mut client,
        Frames::new().settings(&[(3, 1), (4, 1 << 20), (5, 1 << 20)]),
    );
    feed(&mut client, Frames::new().window_update(0, 1 << 20));

    assert_eq!(seen, ["StreamLimit { limit: 1 }"]);
    assert!(client.is_established());
    let stream = client.open(&request()).unwrap();
    assert_eq!(
        client.open(&request()),
        Err(OpenError::StreamLimit { limit: 1 })
    );
    assert_eq!(client.sendable(stream), 1 << 20);
    feed(
        &mut client,
        Frames::new().settings(&[(3, 5), (5, 1 << 14), (6, 100)]),
    );
    assert!(client.can_open());
    assert_eq!(client.sendable(stream), 1 << 14);
    let refused = client.open(&request());
    assert!(matches!(
        refused,
        Err(OpenError::HeaderListTooLarge { limit: 100, .. })
    ));
}

/// A frame cannot exceed what may be sent, and a refused one costs nothing.
#[test]
fn frames_beyond_the_window_are_not_sent() {
    let mut client = client_with(Frames::server());
    let stream = client.open(&request()).unwrap();

    let refused = client.data_header(stream, 16_385, false);

    assert_eq!(
        refused,
        Err(SendError::BeyondWindow {
            length: 16_385,
            sendable: 16_384
        })
    );
    for _ in 0..3 {
        client.data_header(stream, 16_384, false).unwrap();
    }
    client.data_header(stream, 16_383, true).unwrap();
    assert_eq!(client.data_header(stream, 0, false), Err(SendError::Closed));
}

/// A stream window below 65,535 holds from the peer's confirmation on, also for open streams.
#[test]
fn small_stream_window_holds_once_confirmed() {
    let settings = Settings {
        stream_window: 1000,
        ..Settings::server()
    };
    let mut server = Connection::new(Role::Server, settings);
    let early = Frames::client()
        .connect(1, "a:1")
        .data(1, &[0; 10_000], false);
    assert_eq!(feed(&mut server, early).len(), 2);

    let late = Frames::new()
        .settings_ack()
        .connect(3, "a:1")
        .data(3, &[0; 1001], false);
    let seen = feed(&mut server, late);
    assert!(seen[1].contains("Violation(WindowExceeded)"), "{seen:?}");

    // 10,000 on loan of a window of 1000: nothing more until 9001 are back.
    server.control().clear();
    server.consumed(first_stream(), 9000);
    let seen = feed(&mut server, Frames::new().data(1, &[0; 1], false));
    assert!(seen[0].contains("Violation(WindowExceeded)"), "{seen:?}");
}

/// An empty DATA frame that ends a stream needs no credit, also when the window is negative.
#[test]
fn end_needs_no_credit() {
    let settings = Settings {
        stream_window: 1000,
        ..Settings::server()
    };
    let mut server = Connection::new(Role::Server, settings);
    let early = Frames::client()
        .connect(1, "a:1")
        .data(1, &[0; 10_000], false)
        .settings_ack();

    let seen = feed(&mut server, early.data(1, b"", true));

    assert!(seen[2].starts_with("End"), "{seen:?}");
}

/// The number of a server's first stream, which only the codec can make.
fn first_stream() -> StreamId {
    let mut client = client_with(Frames::server());
    client.open(&request()).expect("room")
}

/// More than the connection window ends the tunnel, however many streams share it.
#[test]
fn connection_window_is_enforced() {
    let settings = Settings {
        connection_window: 65_535,
        ..Settings::server()
    };
    let mut server = Connection::new(Role::Server, settings);
    let payload = vec![0; 32_768];
    let frames = Frames::client()
        .connect(1, "a:1")
        .connect(3, "a:1")
        .connect(5, "a:1");
    let frames = frames
        .data(1, &payload, false)
        .data(3, &payload[1..], false)
        .data(5, b"x", false);

    assert_eq!(feed(&mut server, frames).last().unwrap(), "WindowExceeded");
    assert_eq!(
        ConnectionError::WindowExceeded.code(),
        ambimesh_hbone::ErrorCode(3)
    );
}

/// Padding is charged like payload and its credit comes back although nobody sees it.
#[test]
fn padding_returns_its_credit() {
    let settings = Settings {
        connection_window: 65_535,
        stream_window: 65_535,
        ..Settings::server()
    };
    let mut server = Connection::new(Role::Server, settings);
    feed(
        &mut server,
        Frames::client().settings_ack().connect(1, "a:1"),
    );

    for _ in 0..1000 {
        assert!(feed(&mut server, Frames::new().padded_data(1, b"", 255, false)).is_empty());
    }
    server.control().clear();
    let seen = feed(&mut server, Frames::new().data(1, &vec![1; 40_000], false));
    assert_eq!(seen.len(), 1);
}

/// Headers larger than a frame travel as CONTINUATION, in both directions.
#[test]
fn large_headers_travel_in_parts() {
    let mut client = End::client(Settings::client());
    let mut server = End::server(Settings {
        max_header_list: 200_000,
        ..Settings::server()
    });
    carry(&mut server, &mut client, usize::MAX, |_, _| {});
    let mut large = request();
    large.headers.push("large", vec![b'x'; 100_000]);
    let stream = client.connection.open(&large).unwrap();

    let mut received = None;
    carry(
        &mut client,
        &mut server,
        usize::MAX,
        |_, event| match event {
            Event::Request { request, .. } => received = Some(request),
            other => panic!("{other:?}"),
        },
    );

    assert_eq!(received, Some(large));
    assert!(server.connection.has_stream(stream));
}

/// After a peer changed its table size, our next header block says that we use none (RFC 7541
/// §4.2): decoders may insist on it.
#[test]
fn changed_table_size_is_acknowledged() {
    let mut client = client_with(Frames::server().settings(&[(1, 100)]));
    client.control().clear();

    client.open(&request()).unwrap();
    let first = client.control()[9];
    client.control().clear();
    client.open(&request()).unwrap();

    assert_eq!((first, client.control()[9]), (0x20, 0x02));
}

/// Interim answers are passed over; the real one is the event.
#[test]
fn interim_answers_are_skipped() {
    let mut client = client_with(Frames::server());
    let stream = client.open(&request()).unwrap().value();
    let early = Frames::new().headers(stream, &fields(&[(":status", "103")]));

    let seen = feed(
        &mut client,
        early.headers(stream, &fields(&[(":status", "503")])),
    );

    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("status: 503"), "{seen:?}");
}

//! Half-close, refusals, drains and GOAWAY.

mod pipe;

use ambimesh_hbone::{
    Connection, ErrorCode, Event, GoingAway, OpenError, ResetCause, Role, SendError, Settings,
    StreamId,
};
use ambimesh_testkit::hostile::Frames;
use pipe::{End, carry, request};

fn tunnel() -> (End, End, StreamId) {
    let mut client = End::client(Settings::client());
    let mut server = End::server(Settings::server());
    let stream = client.open();
    carry(&mut client, &mut server, usize::MAX, |server, event| {
        if let Event::Request { stream, .. } = event {
            server.accept(stream);
        }
    });
    carry(&mut server, &mut client, usize::MAX, |_, _| {});
    (client, server, stream)
}

fn events(from: &mut End, to: &mut End) -> Vec<String> {
    let mut seen = Vec::new();
    carry(from, to, usize::MAX, |_, event| {
        seen.push(format!("{event:?}"));
    });
    seen
}

/// Each direction ends on its own; the stream is gone when both have.
#[test]
fn half_close_leaves_the_other_direction() {
    let (mut client, mut server, stream) = tunnel();

    client.connection.end(stream);
    assert_eq!(
        events(&mut client, &mut server),
        [format!("End {{ stream: {stream:?} }}")]
    );
    assert!(server.connection.has_peer_ended(stream) && !server.connection.has_ended(stream));
    assert_eq!(
        client.connection.data_header(stream, 1, false),
        Err(SendError::Closed)
    );

    assert_eq!(server.write(stream, 0, 5), 5);
    server.connection.end(stream);
    assert_eq!(events(&mut server, &mut client).len(), 2);
    assert_eq!(client.connection.open_streams(), 0);
    client.connection.consumed(stream, 5);
    assert!(!client.connection.has_stream(stream) && !server.connection.has_stream(stream));
}

/// A refusal is one answer that ends the stream; a client that still sends is told to stop.
#[test]
fn rejected_request_is_answered_and_gone() {
    let mut client = End::client(Settings::client());
    let mut server = End::server(Settings::server());
    let stream = client.open();
    client.write(stream, 0, 1000);
    carry(&mut client, &mut server, usize::MAX, |server, event| {
        if let Event::Request { stream, .. } = event {
            server.connection.reject(stream, 401).unwrap();
        }
    });

    let seen = events(&mut server, &mut client);

    assert!(seen[1].contains("status: 401"), "{seen:?}");
    assert!(seen[2].starts_with("End"));
    assert!(seen[3].contains(&format!("code: {:?}, cause: Peer", ErrorCode::NO_ERROR)));
    assert!(!server.connection.has_stream(stream) && !client.connection.has_stream(stream));
    assert_eq!(
        server.connection.reject(stream, 401),
        Err(SendError::Closed)
    );
}

/// A drain loses no request that is under way: it is served until the client knows, and the
/// tunnel is finished when the last stream is.
#[test]
fn drain_takes_two_steps() {
    let (mut client, mut server, old) = tunnel();
    server.connection.drain();
    assert!(server.connection.is_going_away() && !server.connection.is_finished());
    let crossing = client.open();
    let seen = events(&mut client, &mut server);
    assert!(seen[0].starts_with("Request"), "{seen:?}");
    server.accept(crossing);

    let seen = events(&mut server, &mut client);
    assert!(
        seen[0].starts_with("GoAway { last_stream: 2147483647"),
        "{seen:?}"
    );
    assert_eq!(
        client.connection.open(&request()),
        Err(OpenError::GoingAway)
    );
    events(&mut client, &mut server);
    let seen = events(&mut server, &mut client);
    assert_eq!(
        seen,
        [format!(
            "GoAway {{ last_stream: {crossing}, code: ErrorCode(0) }}"
        )]
    );

    for stream in [old, crossing] {
        assert_eq!(server.write(stream, 0, 10), 10);
        assert!(!server.connection.is_finished());
        client.connection.reset(stream, ErrorCode::CANCEL);
        events(&mut client, &mut server);
    }
    assert!(server.connection.is_finished() && client.connection.is_finished());
}

/// Streams that come after the final GOAWAY are ignored, with their credit returned.
#[test]
fn streams_after_the_final_goaway_are_ignored() {
    let mut server = Connection::new(Role::Server, Settings::server());
    let start = Frames::client().connect(1, "a:1").into_bytes();
    pipe::describe(&mut server, &start, usize::MAX);
    server.drain();

    let frames = Frames::new()
        .ping(true, *b"drain\0\0\0")
        .connect(3, "a:1")
        .data(3, b"lost", true);
    let seen = pipe::describe(&mut server, &frames.into_bytes(), usize::MAX);

    assert!(seen.is_empty(), "{seen:?}");
    assert!(
        server
            .control()
            .ends_with(&Frames::new().go_away(1, 0, b"").into_bytes())
    );
}

/// A GOAWAY gives back the streams beyond it, safe to open elsewhere; the others go on.
#[test]
fn goaway_gives_back_later_streams() {
    let mut client = Connection::new(Role::Client, Settings::client());
    pipe::describe(&mut client, &Frames::server().into_bytes(), usize::MAX);
    let [first, second, third] = [(); 3].map(|()| client.open(&request()).unwrap());

    let bytes = Frames::new()
        .go_away(first.value(), 0, b"restart")
        .into_bytes();
    let mut input = &bytes[..];

    let code = ErrorCode::NO_ERROR;
    let last_stream = first.value();
    assert_eq!(
        client.next_event(&mut input),
        Ok(Some(Event::GoAway { last_stream, code }))
    );
    for stream in [second, third] {
        let event = client.next_event(&mut input).unwrap().unwrap();
        let (code, cause) = (ErrorCode::REFUSED_STREAM, ResetCause::GoAway);
        assert!(event.is_retryable());
        assert_eq!(
            event,
            Event::Reset {
                stream,
                code,
                cause
            }
        );
    }
    assert_eq!(
        client.peer_going_away(),
        Some(GoingAway { last_stream, code })
    );
    assert!(client.sendable(first) > 0 && !client.is_finished());
    client.reset(first, ErrorCode::CANCEL);
    assert!(client.is_finished());
}

/// An End that waits behind the last DATA is void when the caller resets on that DATA.
#[test]
fn reset_on_the_last_data_is_the_last_word() {
    let mut server = Connection::new(Role::Server, Settings::server());
    let bytes = Frames::client()
        .connect(1, "a:1")
        .data(1, b"x", true)
        .into_bytes();
    let mut input = &bytes[..];
    let mut seen = Vec::new();

    while let Some(event) = server.next_event(&mut input).unwrap() {
        if let Event::Data { stream, .. } = event {
            server.reset(stream, ErrorCode::CANCEL);
        }
        seen.push(format!("{event:?}"));
    }

    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(
        server
            .control()
            .ends_with(&Frames::new().reset(1, 8).into_bytes())
    );
}

/// Calls that make no sense are refused and send nothing.
#[test]
fn senseless_calls_send_nothing() {
    let (mut client, mut server, stream) = tunnel();
    let response = ambimesh_hbone::ConnectResponse::new(200);

    assert_eq!(
        server.connection.open(&request()),
        Err(OpenError::NotClient)
    );
    assert_eq!(
        client.connection.respond(stream, &response, false),
        Err(SendError::NotAnswerable)
    );
    assert_eq!(
        server.connection.respond(stream, &response, false),
        Err(SendError::NotAnswerable)
    );
    client.connection.consumed(stream, 1 << 30);
    server.connection.end(client.open());
    assert_eq!(server.pending(), 0);

    client.connection.close(ErrorCode::NO_ERROR);
    client.connection.close(ErrorCode::NO_ERROR);
    assert!(client.connection.is_finished() && !client.connection.has_stream(stream));
}

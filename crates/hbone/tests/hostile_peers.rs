//! Peers that break the protocol or try to make us grow: each finds its named end, none a panic.

mod pipe;

use ambimesh_hbone::{Connection, ConnectionError, ErrorCode, Limits, Role, Settings};
use ambimesh_testkit::hostile::{Frames, PREFACE, fields, flag, kind};
use pipe::serve;
use proptest::prelude::*;

fn server_error(frames: Frames) -> ConnectionError {
    let bytes = frames.into_bytes();
    serve(Settings::server(), &bytes).expect_err("the tunnel ends")
}

fn events(frames: Frames) -> Vec<String> {
    serve(Settings::server(), &frames.into_bytes()).expect("the tunnel goes on")
}

type Case = (&'static str, Frames, ErrorCode);

const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;
const SIZE: ErrorCode = ErrorCode::FRAME_SIZE_ERROR;
const FLOW: ErrorCode = ErrorCode::FLOW_CONTROL_ERROR;
const MAX: u32 = (1 << 31) - 1;

/// A client with stream 1 open.
fn open() -> Frames {
    Frames::client().connect(1, "10.0.0.1:80")
}

fn check(cases: Vec<Case>) {
    for (name, frames, code) in cases {
        assert_eq!(server_error(frames).code(), code, "{name}");
    }
}

/// What is no HTTP/2 at all ends with its first bytes.
#[test]
fn strangers_are_turned_away() {
    check(vec![
        (
            "other protocol",
            Frames::new().raw(b"GET / HTTP/1.1\r\n"),
            PROTOCOL,
        ),
        (
            "no settings",
            Frames::new().raw(PREFACE).ping(false, [0; 8]),
            PROTOCOL,
        ),
        (
            "acknowledgement first",
            Frames::new().raw(PREFACE).settings_ack(),
            PROTOCOL,
        ),
    ]);
}

/// Violations by frames of streams end the tunnel with the code that RFC 9113 names.
#[test]
fn bad_stream_frames_end_the_tunnel() {
    check(vec![
        ("huge", open().header(1 << 21, kind::DATA, 0, 1), SIZE),
        ("data on 0", open().data(0, b"x", false), PROTOCOL),
        ("data on idle", open().data(3, b"x", false), PROTOCOL),
        ("reset on idle", open().reset(3, 8), PROTOCOL),
        ("credit on idle", open().window_update(3, 8), PROTOCOL),
        (
            "padding too long",
            open().frame(kind::DATA, flag::PADDED, 1, &[9; 5]),
            PROTOCOL,
        ),
        (
            "no pad length",
            open().frame(kind::DATA, flag::PADDED, 1, &[]),
            SIZE,
        ),
        (
            "short priority",
            open().frame(kind::PRIORITY, 0, 1, &[0; 4]),
            SIZE,
        ),
        (
            "push",
            open().frame(kind::PUSH_PROMISE, 4, 1, &[0; 8]),
            PROTOCOL,
        ),
        (
            "short reset",
            open().frame(kind::RST_STREAM, 0, 1, &[0; 3]),
            SIZE,
        ),
    ]);
}

/// The same for frames of the whole connection.
#[test]
fn bad_connection_frames_end_the_tunnel() {
    check(vec![
        ("credit of zero", open().window_update(0, 0), PROTOCOL),
        ("credit overflow", open().window_update(0, MAX), FLOW),
        ("short ping", open().frame(kind::PING, 0, 0, &[0; 7]), SIZE),
        (
            "ping on stream",
            open().frame(kind::PING, 0, 1, &[0; 8]),
            PROTOCOL,
        ),
        (
            "settings on stream",
            open().frame(kind::SETTINGS, 0, 1, &[]),
            PROTOCOL,
        ),
        (
            "odd settings",
            open().frame(kind::SETTINGS, 0, 0, &[0; 5]),
            SIZE,
        ),
        (
            "full acknowledgement",
            open().frame(kind::SETTINGS, 1, 0, &[0; 6]),
            SIZE,
        ),
        ("window setting", open().settings(&[(4, 1 << 31)]), FLOW),
        ("frame setting", open().settings(&[(5, 16_383)]), PROTOCOL),
        ("push setting", open().settings(&[(2, 2)]), PROTOCOL),
        (
            "short goaway",
            open().frame(kind::GOAWAY, 0, 0, &[0; 7]),
            SIZE,
        ),
        (
            "goaway taken back",
            open().go_away(0, 0, b"").go_away(2, 0, b""),
            PROTOCOL,
        ),
    ]);
}

/// The same for header blocks, whose order and coding the whole connection depends on.
#[test]
fn bad_header_blocks_end_the_tunnel() {
    let begun = || open().frame(kind::HEADERS, 0, 3, &[]);
    let padded = flag::END_HEADERS | flag::PADDED;
    check(vec![
        ("even stream", Frames::client().connect(2, "a:1"), PROTOCOL),
        (
            "coding",
            open().headers(3, &[0xff; 9]),
            ErrorCode::COMPRESSION_ERROR,
        ),
        (
            "padding too long",
            open().frame(kind::HEADERS, padded, 3, &[9; 5]),
            PROTOCOL,
        ),
        (
            "lone part",
            open().frame(kind::CONTINUATION, 4, 1, &[]),
            PROTOCOL,
        ),
        ("interrupted", begun().ping(false, [0; 8]), PROTOCOL),
        (
            "continued elsewhere",
            begun().frame(kind::CONTINUATION, 4, 5, &[]),
            PROTOCOL,
        ),
    ]);
}

/// The last thing a failed tunnel says is why; it says it once, and stays failed.
#[test]
fn failure_says_goaway_once() {
    let bytes = Frames::client()
        .connect(1, "10.0.0.1:80")
        .data(0, b"x", false)
        .into_bytes();
    let mut connection = Connection::new(Role::Server, Settings::server());
    let mut input = &bytes[..];
    while let Ok(Some(_)) = connection.next_event(&mut input) {}

    let first = connection.next_event(&mut &b"more"[..]);
    let again = connection.next_event(&mut &b"more"[..]);

    assert!(first.is_err() && first == again);
    let control = connection.control().clone();
    let text = b"stream frame without a stream";
    assert!(control.ends_with(text));
    let expected = Frames::new().go_away(1, 1, text).into_bytes();
    assert!(control.ends_with(&expected));
    assert!(connection.is_finished() && connection.is_going_away());
}

/// A header block without end is cut off long before it costs memory ("CONTINUATION flood").
#[test]
fn continuation_flood_ends_the_tunnel() {
    let mut large = Frames::client().frame(kind::HEADERS, 0, 1, &vec![0; 60_000]);
    for _ in 0..4 {
        large = large.frame(kind::CONTINUATION, 0, 1, &vec![0; 60_000]);
    }
    let mut many = Frames::client().frame(kind::HEADERS, 0, 1, &[]);
    for _ in 0..100 {
        many = many.frame(kind::CONTINUATION, 0, 1, &[]);
    }

    for frames in [large, many] {
        let error = server_error(frames);
        assert_eq!(
            error,
            ConnectionError::HeaderBlockTooLarge { limit: 128 << 10 }
        );
        assert_eq!(error.code(), ErrorCode::ENHANCE_YOUR_CALM);
    }
}

/// Streams that are opened and reset at once run out of budget; answers and time refill it.
#[test]
fn rapid_reset_ends_the_tunnel() {
    let mut frames = Frames::client();
    for stream in (1..).step_by(2).take(501) {
        frames = frames.connect(stream, "10.0.0.1:80").reset(stream, 8);
    }

    assert_eq!(
        server_error(frames),
        ConnectionError::RapidReset { limit: 500 }
    );
}

/// A peer cannot have *us* reset its streams without end either (CVE-2025-8671).
#[test]
fn provoked_resets_count_as_resets() {
    let mut frames = Frames::client();
    for stream in (1..).step_by(2).take(501) {
        frames = frames
            .connect(stream, "10.0.0.1:80")
            .window_update(stream, 0);
    }

    assert_eq!(
        server_error(frames),
        ConnectionError::RapidReset { limit: 500 }
    );
}

/// A long-lived tunnel on which clients give up now and then is no attack.
#[test]
fn refilled_budget_never_runs_out() {
    let mut connection = Connection::new(Role::Server, Settings::server());
    let start = Frames::client().into_bytes();
    assert_eq!(connection.next_event(&mut &start[..]), Ok(None));

    for stream in (1..).step_by(2).take(5000) {
        let bytes = Frames::new()
            .connect(stream, "10.0.0.1:80")
            .reset(stream, 8)
            .into_bytes();
        let mut input = &bytes[..];
        while connection
            .next_event(&mut input)
            .expect("within budget")
            .is_some()
        {}
        if stream % 400 == 1 {
            connection.refill_limits();
        }
    }
}

/// Frames that want an answer cannot fill the buffer of answers.
#[test]
fn answer_floods_end_the_tunnel() {
    let flood = |one: &dyn Fn(Frames) -> Frames| {
        (0..4000).fold(
            Frames::client().settings_ack().connect(1, "a:1"),
            |frames, _| one(frames),
        )
    };
    let refused = (3..12_000)
        .step_by(2)
        .fold(Frames::client(), |f, id| f.connect(id, "a:1"));

    for frames in [
        flood(&|frames| frames.ping(false, [0; 8])),
        flood(&|frames| frames.settings(&[(4, 1)])),
        flood(&|frames| frames.headers(1, &[])),
        refused,
    ] {
        let error = server_error(frames);
        assert!(
            matches!(error, ConnectionError::ControlFlood { .. }),
            "{error}"
        );
    }
}

/// The same frames are welcome at a pace at which the answers are written.
#[test]
fn answered_pings_are_no_flood() {
    let mut connection = Connection::new(Role::Server, Settings::server());
    let start = Frames::client().into_bytes();
    assert_eq!(connection.next_event(&mut &start[..]), Ok(None));

    for _ in 0..20_000 {
        let ping = Frames::new().ping(false, *b"01234567").into_bytes();
        assert_eq!(connection.next_event(&mut &ping[..]), Ok(None));
        assert!(connection.control().ends_with(b"01234567"));
        connection.control().clear();
    }
}

/// Empty DATA without end is a way to keep a reader busy for nothing.
#[test]
fn empty_data_flood_ends_the_tunnel() {
    let start = Frames::client().connect(1, "10.0.0.1:80");
    let frames = (0..1001).fold(start, |frames, _| frames.data(1, b"", false));

    assert_eq!(
        server_error(frames),
        ConnectionError::EmptyDataFlood { limit: 1000 }
    );
}

/// Streams above the advertised maximum are refused one by one; the others live on.
#[test]
fn streams_above_the_maximum_are_refused() {
    let settings = Settings {
        max_concurrent_streams: 2,
        ..Settings::server()
    };
    let frames = Frames::client()
        .connect(1, "a:1")
        .connect(3, "a:1")
        .connect(5, "a:1");
    let frames = frames
        .data(5, b"lost", true)
        .data(1, b"kept", false)
        .reset(3, 8)
        .connect(7, "a:1");
    let mut connection = Connection::new(Role::Server, settings);

    let seen = pipe::describe(&mut connection, &frames.into_bytes(), usize::MAX);

    assert!(seen[0].starts_with("Request") && seen[1].starts_with("Request"));
    assert_eq!(seen[2], "Refused { stream: StreamId(5) }");
    assert_eq!(seen[3], format!("1: {:?}", b"kept"));
    assert!(seen[4].starts_with("Reset") && seen[5].starts_with("Request { stream: StreamId(7)"));
    let refusal = Frames::new().reset(5, 7).into_bytes();
    assert!(
        connection
            .control()
            .windows(refusal.len())
            .any(|window| window == refusal)
    );
}

/// Violations on one stream reset that stream, say so, and leave the tunnel alone.
#[test]
fn stream_violations_reset_the_stream() {
    for (frames, code) in [
        (open().window_update(1, 0), ErrorCode::PROTOCOL_ERROR),
        (open().window_update(1, MAX), ErrorCode::FLOW_CONTROL_ERROR),
        (
            open().data(1, b"", true).data(1, b"late", false),
            ErrorCode::STREAM_CLOSED,
        ),
        (
            open().headers(1, &fields(&[("a", "b")])),
            ErrorCode::PROTOCOL_ERROR,
        ),
        (
            open().data(1, b"", true).headers(1, &[]),
            ErrorCode::STREAM_CLOSED,
        ),
    ] {
        let seen = events(frames.connect(3, "10.0.0.1:80"));

        let reset = &seen[seen.len() - 2];
        assert!(
            reset.contains(&format!("{code:?}")) && reset.contains("Violation"),
            "{reset}"
        );
        assert!(seen[seen.len() - 1].starts_with("Request"));
    }
}

/// Requests that are no CONNECT reach the caller, who answers them.
#[test]
fn bad_requests_reach_the_caller() {
    let get = fields(&[(":method", "GET"), (":scheme", "https"), (":path", "/")]);
    let frames = Frames::client().headers(1, &get).connect(3, "nowhere");

    let seen = events(frames);

    assert!(seen[0].starts_with("BadRequest") && seen[0].contains("Method { method: \"GET\" }"));
    assert!(seen[1].starts_with("BadRequest") && seen[1].contains("nowhere"));
}

/// A header list beyond the limit is answered with 431 while its block is still bearable, and
/// the table of HPACK stays in step.
#[test]
fn large_header_list_is_refused_politely() {
    let long = "x".repeat(120);
    // Remembered once (index 62), then repeated by reference: 1 byte for 160.
    let mut block = [&[0x40, 1, b'a', 120][..], long.as_bytes()].concat();
    block.extend([0xbe; 500]);
    let by_reference = [&[0xbe][..], &fields(&[(":method", "CONNECT")])].concat();

    let seen = events(
        Frames::client()
            .headers(1, &block)
            .headers(3, &by_reference),
    );

    assert!(
        seen[0].contains("HeaderListTooLarge { limit: 65536 }"),
        "{}",
        seen[0]
    );
    assert!(
        seen[1].contains("pseudo-header after a header"),
        "{}",
        seen[1]
    );
}

/// Blocks that nobody reads still fill HPACK's table: trailers, and headers of closed streams.
#[test]
fn unread_header_blocks_are_decoded() {
    let remembered = [0x40, 1, b'a', 1, b'b'];
    let target = fields(&[(":method", "CONNECT"), (":authority", "10.0.0.1:80")]);
    let by_reference = [&target[..], &[0xbe]].concat();
    let trailers = flag::END_HEADERS | flag::END_STREAM;

    for frames in [
        open().frame(kind::HEADERS, trailers, 1, &remembered),
        open().reset(1, 8).headers(1, &remembered),
    ] {
        let seen = events(frames.headers(3, &by_reference));

        assert!(
            seen.last()
                .is_some_and(|last| last.contains(r#"headers: {"a": "b"}"#)),
            "{seen:?}"
        );
    }
}

fn any_frame() -> impl Strategy<Value = (u8, u8, u32, Vec<u8>)> {
    (
        0_u8..12,
        any::<u8>(),
        0_u32..8,
        prop::collection::vec(any::<u8>(), 0..80),
    )
}

proptest! {
    /// Arbitrary frames and arbitrary bytes are answered without a panic, by both roles, and the
    /// buffers keep their bounds.
    #[test]
    fn any_input_is_answered(
        frames in prop::collection::vec(any_frame(), 0..60),
        noise: Vec<u8>,
        is_client: bool,
        size in 1_usize..200,
    ) {
        let start = if is_client { Frames::server() } else { Frames::client().connect(1, "a:1") };
        let frames = frames.into_iter().fold(start, |all, (kind, flags, stream, payload)| {
            all.frame(kind, flags, stream, &payload)
        });
        let (role, settings) = if is_client {
            (Role::Client, Settings::client())
        } else {
            (Role::Server, Settings::server())
        };
        let limits = Limits { pending_answers: 500, ..Limits::default() };
        let mut connection = Connection::new(role, Settings { limits, ..settings });
        if is_client {
            connection.open(&pipe::request()).expect("a first stream");
        }
        let greeting = connection.control().len();

        pipe::describe(&mut connection, &frames.raw(&noise).into_bytes(), size);

        // Answers, credit for the streams there can be, and a GOAWAY.
        prop_assert!(connection.control().len() < greeting + 500 + 10 * 13 + 100);
    }
}

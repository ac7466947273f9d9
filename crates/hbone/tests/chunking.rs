//! However the input is cut, the events are the same.

mod pipe;

use ambimesh_hbone::{Connection, Role, Settings};
use ambimesh_testkit::hostile::{Frames, fields, flag, kind};
use pipe::describe;
use proptest::prelude::*;

fn server() -> Connection {
    Connection::new(Role::Server, Settings::server())
}

/// One of everything an honest client may send.
fn sampler() -> Vec<u8> {
    let block = fields(&[
        (":method", "CONNECT"),
        (":authority", "[fd98::1]:80"),
        ("a", "b"),
    ]);
    let (first, second) = block.split_at(20);
    let padded = [&[3, 0, 0, 0, 0, 200][..], &block, &[0; 3]].concat();
    Frames::client()
        .settings(&[(1, 0), (4, 100_000), (5, 20_000), (6, 9000), (0x99, 7)])
        .settings_ack()
        .window_update(0, 1 << 20)
        .connect(1, "10.0.0.1:80")
        .data(1, b"hello", false)
        .padded_data(1, b"padded", 11, false)
        .padded_data(1, b"", 255, false)
        .frame(
            kind::HEADERS,
            flag::PADDED | flag::PRIORITY | flag::END_HEADERS,
            3,
            &padded,
        )
        .frame(kind::PRIORITY, 0, 3, &[0; 5])
        .frame(0xbe, 0xff, 3, b"an extension")
        .frame(kind::HEADERS, flag::END_STREAM, 5, first)
        .frame(kind::CONTINUATION, 0, 5, b"")
        .frame(kind::CONTINUATION, flag::END_HEADERS, 5, second)
        .window_update(1, 77)
        .data(3, &[7; 3000], false)
        .padded_data(1, b"last words", 9, true)
        .ping(false, *b"question")
        .ping(true, *b"answered")
        .reset(3, 8)
        .data(3, b"nobody hears", false)
        .connect(7, "web.demo.svc.cluster.local:8080")
        .frame(
            kind::HEADERS,
            flag::END_HEADERS | flag::END_STREAM,
            7,
            &fields(&[("t", "x")]),
        )
        .go_away(0, 0, b"good bye")
        .into_bytes()
}

/// Every chunk size from one byte to the whole input gives the same events and the same answers.
#[test]
fn every_chunk_size_gives_the_same_events() {
    let input = sampler();
    let mut whole = server();
    let expected = describe(&mut whole, &input, input.len());

    for size in 1..input.len() {
        let mut connection = server();
        assert_eq!(
            describe(&mut connection, &input, size),
            expected,
            "chunks of {size}"
        );
        assert_eq!(connection.control(), whole.control(), "chunks of {size}");
    }
}

/// The events of the sampler, in order: nothing is lost to padding, priority or extensions.
#[test]
fn honest_frames_become_events() {
    let seen = describe(&mut server(), &sampler(), usize::MAX);

    let starts = [
        "Request { stream: StreamId(1)",
        "1: [104, 101, 108, 108, 111, 112, 97, 100, 100, 101, 100]",
        "Request { stream: StreamId(3)",
        "Request { stream: StreamId(5)",
        "End { stream: StreamId(5)",
        "3: [7, 7, 7",
        "1: [108, 97, 115, 116",
        "End { stream: StreamId(1)",
        "Pong { payload: [97,",
        "Reset { stream: StreamId(3), code: ErrorCode(8), cause: Peer }",
        "Request { stream: StreamId(7)",
        "End { stream: StreamId(7)",
        "GoAway { last_stream: 0, code: ErrorCode(0) }",
    ];
    for (line, start) in seen.iter().zip(starts) {
        assert!(line.starts_with(start), "{line} is not {start}");
    }
    assert_eq!(seen.len(), starts.len());
}

proptest! {
    /// Also for frames that make no sense: the same events up to the same error.
    #[test]
    fn nonsense_gives_the_same_events(
        frames in prop::collection::vec(
            (0_u8..12, any::<u8>(), 0_u32..6, prop::collection::vec(any::<u8>(), 0..30)), 0..30,
        ),
        size in 1_usize..60,
    ) {
        let input = frames
            .into_iter()
            .fold(Frames::client().connect(1, "a:1"), |all, (kind, flags, stream, payload)| {
                all.frame(kind, flags, stream, &payload)
            })
            .into_bytes();
        let (mut whole, mut cut) = (server(), server());

        let expected = describe(&mut whole, &input, input.len());

        prop_assert_eq!(describe(&mut cut, &input, size), expected);
        prop_assert_eq!(cut.control(), whole.control());
    }
}

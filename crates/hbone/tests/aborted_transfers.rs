//! Credit of streams that never finish must come back (issue 3): without it a tunnel hangs after
//! some hundred aborted downloads, long after the cause.

mod pipe;

use ambimesh_hbone::{ErrorCode, Event, Settings, StreamId};
use pipe::{End, carry, pattern};

/// Who gives up on a transfer, and when.
#[derive(Clone, Copy, Debug)]
enum Abort {
    /// The sender, with DATA under way.
    Sender,
    /// The receiver, holding DATA it never consumed.
    Receiver,
    /// The receiver, inside a DATA frame of which a part has come.
    ReceiverInsideFrame,
    /// The receiver, before anything has come.
    ReceiverBlind,
    /// Both at once.
    Both,
}

const ABORTS: [Abort; 5] = [
    Abort::Sender,
    Abort::Receiver,
    Abort::ReceiverInsideFrame,
    Abort::ReceiverBlind,
    Abort::Both,
];

const SENT: usize = 3 << 19;

/// Opens a stream and has it accepted.
fn connect(client: &mut End, server: &mut End) -> StreamId {
    let id = client.open();
    carry(client, server, usize::MAX, |server, event| {
        if let Event::Request { stream, .. } = event {
            server.accept(stream);
        }
    });
    carry(server, client, usize::MAX, |_, _| {});
    id
}

/// Sends a piece and gives it up the given way, then lets everything arrive.
fn abort(from: &mut End, to: &mut End, stream: StreamId, how: Abort) {
    let sent = from.write_all(stream, 0, SENT);
    assert_eq!(
        sent, SENT,
        "credit was lost before {how:?} of stream {stream}"
    );
    let seen_first = match how {
        Abort::Receiver => usize::MAX,
        Abort::ReceiverInsideFrame => SENT / 2,
        Abort::Sender | Abort::ReceiverBlind | Abort::Both => 0,
    };
    carry(from, to, seen_first, |_, _| {});
    if !matches!(how, Abort::Sender) {
        to.connection.reset(stream, ErrorCode::CANCEL);
    }
    if matches!(how, Abort::Sender | Abort::Both) {
        from.connection.reset(stream, ErrorCode::CANCEL);
    }
    carry(from, to, usize::MAX, |_, _| {});
    carry(to, from, usize::MAX, |_, _| {});
    assert!(!from.connection.has_stream(stream) && !to.connection.has_stream(stream));
}

/// Sends `total` bytes through a stream, consuming at once, and checks every byte.
fn transfer(from: &mut End, to: &mut End, stream: StreamId, total: usize) {
    let (mut sent, mut received) = (0, 0);
    while received < total {
        sent += from.write_all(stream, sent, total - sent);
        let moved = carry(from, to, usize::MAX, |to, event| {
            if let Event::Data { stream, bytes } = event {
                let expected = (received..).map(|at| pattern(stream, at));
                assert!(bytes.iter().copied().eq(expected.take(bytes.len())));
                received += bytes.len();
                to.connection.consumed(stream, bytes.len());
            }
        });
        assert!(moved > 0, "stuck after {received} of {total} bytes");
        carry(to, from, usize::MAX, |_, _| {});
    }
}

fn run(is_upload: bool) {
    let mut client = End::client(narrow(Settings::client()));
    let mut server = End::server(narrow(Settings::server()));

    for round in 0..300 {
        let stream = connect(&mut client, &mut server);
        let how = ABORTS[round % ABORTS.len()];
        if is_upload {
            abort(&mut client, &mut server, stream, how);
        } else {
            abort(&mut server, &mut client, stream, how);
        }
    }

    let stream = connect(&mut client, &mut server);
    let (from, to) = if is_upload {
        (&mut client, &mut server)
    } else {
        (&mut server, &mut client)
    };
    transfer(from, to, stream, 48 << 20);
}

/// 300 downloads aborted in every way leave a tunnel that carries 48 MiB.
#[test]
fn aborted_downloads_return_their_credit() {
    run(false);
}

/// The same for uploads.
#[test]
fn aborted_uploads_return_their_credit() {
    run(true);
}

/// Windows that lost credit uses up: four full streams fill the tunnel's.
fn narrow(settings: Settings) -> Settings {
    Settings {
        connection_window: 16 << 20,
        ..settings.with_stream_window(4 << 20)
    }
}

/// Bytes that were under way to a stream that is gone are credited and reach nobody.
#[test]
fn data_of_forgotten_streams_returns_its_credit() {
    let mut client = End::client(narrow(Settings::client()));
    let mut server = End::server(narrow(Settings::server()));
    for _ in 0..5 {
        let doomed = connect(&mut client, &mut server);
        server.connection.reset(doomed, ErrorCode::CANCEL);

        // The client has not read the reset yet and uses all the credit of the stream it has.
        client.write_all(doomed, 0, usize::MAX);
        carry(&mut client, &mut server, usize::MAX, |_, event| {
            panic!("{event:?}")
        });
        carry(&mut server, &mut client, usize::MAX, |_, _| {});
    }

    let stream = connect(&mut client, &mut server);
    transfer(&mut client, &mut server, stream, 20 << 20);
}

/// Payload that ended both ways but was not consumed yet stays charged: a peer cannot make us
/// hold more than the window by ending its streams.
#[test]
fn ended_streams_keep_their_charge_until_consumed() {
    let mut client = End::client(narrow(Settings::client()));
    let mut server = End::server(narrow(Settings::server()));
    let mut held = Vec::new();
    for _ in 0..4 {
        let stream = connect(&mut client, &mut server);
        server.write_all(stream, 0, usize::MAX);
        server.connection.end(stream);
        client.connection.end(stream);
        carry(&mut client, &mut server, usize::MAX, |_, _| {});
        carry(&mut server, &mut client, usize::MAX, |_, _| {});
        held.push(stream);
    }
    let stream = connect(&mut client, &mut server);
    assert_eq!(server.connection.sendable(stream), 0);
    assert_eq!(client.connection.open_streams(), 1);

    for id in held {
        client.connection.consumed(id, 4 << 20);
        assert!(!client.connection.has_stream(id));
    }
    carry(&mut client, &mut server, usize::MAX, |_, _| {});
    transfer(&mut server, &mut client, stream, 20 << 20);
}

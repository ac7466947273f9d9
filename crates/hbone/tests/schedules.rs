//! Two connections against each other under random schedules: whatever the order of calls and
//! the cutting of bytes, nothing is lost, no window is exceeded, and nothing gets stuck.

mod pipe;

use std::collections::BTreeMap;

use ambimesh_hbone::{ErrorCode, Event, ResetCause, Settings, StreamId};
use pipe::{End, carry, pattern};
use proptest::prelude::*;

/// One direction of one stream, as the model sees it.
#[derive(Default)]
struct Direction {
    written: usize,
    received: usize,
    consumed: usize,
    has_ended: bool,
    has_seen_end: bool,
}

#[derive(Default)]
struct Modelled {
    up: Direction,
    down: Direction,
    is_accepted: bool,
    was_reset: bool,
}

impl Modelled {
    fn direction(&mut self, is_up: bool) -> &mut Direction {
        if is_up { &mut self.up } else { &mut self.down }
    }
}

/// What happens next; numbers choose among the streams there are.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Accept(usize),
    Write {
        stream: usize,
        is_up: bool,
        most: usize,
    },
    End {
        stream: usize,
        is_up: bool,
    },
    Reset {
        stream: usize,
        by_client: bool,
    },
    Consume {
        stream: usize,
        is_up: bool,
        most: usize,
    },
    Carry {
        is_up: bool,
        most: usize,
    },
    Ping,
}

fn any_step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![1_usize..50, 1_usize..40_000];
    prop_oneof![
        2 => Just(Step::Open),
        4 => any::<usize>().prop_map(Step::Accept),
        8 => (any::<usize>(), any::<bool>(), size.clone())
            .prop_map(|(stream, is_up, most)| Step::Write { stream, is_up, most }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(stream, is_up)| Step::End { stream, is_up }),
        1 => (any::<usize>(), any::<bool>())
            .prop_map(|(stream, by_client)| Step::Reset { stream, by_client }),
        6 => (any::<usize>(), any::<bool>(), size.clone())
            .prop_map(|(stream, is_up, most)| Step::Consume { stream, is_up, most }),
        12 => (any::<bool>(), size).prop_map(|(is_up, most)| Step::Carry { is_up, most }),
        1 => Just(Step::Ping),
    ]
}

/// Small windows, so that the schedules run into them.
fn any_settings() -> impl Strategy<Value = Settings> {
    (1_u32..80_000, 65_535_u32..120_000, 1_u32..12).prop_map(|(stream, connection, streams)| {
        Settings {
            stream_window: stream,
            connection_window: connection,
            max_frame_size: 1 << 14,
            max_concurrent_streams: streams,
            ..Settings::server()
        }
    })
}

struct World {
    client: End,
    server: End,
    settings: [Settings; 2],
    streams: BTreeMap<StreamId, Modelled>,
}

impl World {
    fn new(client: Settings, server: Settings) -> Self {
        Self {
            client: End::client(client),
            server: End::server(server),
            settings: [client, server],
            streams: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let pick = |streams: &BTreeMap<StreamId, Modelled>, choice: usize| {
            let count = streams.len().max(1);
            streams.keys().rev().nth(choice % count.min(8)).copied()
        };
        match *step {
            Step::Open => self.open(),
            Step::Carry { is_up, most } => {
                self.carry(is_up, most);
            }
            Step::Ping => {
                self.client.connection.ping(*b"schedule");
                self.server.connection.ping(*b"schedule");
            }
            Step::Accept(choice) => {
                let Some(stream) = pick(&self.streams, choice) else {
                    return;
                };
                self.accept(stream);
            }
            Step::Write {
                stream,
                is_up,
                most,
            } => {
                let Some(stream) = pick(&self.streams, stream) else {
                    return;
                };
                self.write(stream, is_up, most);
            }
            Step::End { stream, is_up } => {
                let Some(stream) = pick(&self.streams, stream) else {
                    return;
                };
                self.end(stream, is_up);
            }
            Step::Reset { stream, by_client } => {
                let Some(stream) = pick(&self.streams, stream) else {
                    return;
                };
                let end = if by_client {
                    &mut self.client
                } else {
                    &mut self.server
                };
                if end.connection.has_stream(stream) {
                    end.connection.reset(stream, ErrorCode::CANCEL);
                    self.model(stream).was_reset = true;
                }
            }
            Step::Consume {
                stream,
                is_up,
                most,
            } => {
                let Some(stream) = pick(&self.streams, stream) else {
                    return;
                };
                self.consume(stream, is_up, most);
            }
        }
    }

    fn model(&mut self, stream: StreamId) -> &mut Modelled {
        self.streams.get_mut(&stream).expect("a modelled stream")
    }

    fn open(&mut self) {
        if let Ok(stream) = self.client.connection.open(&pipe::request()) {
            self.streams.insert(stream, Modelled::default());
        }
    }

    fn accept(&mut self, stream: StreamId) {
        let connection = &self.server.connection;
        if connection.has_stream(stream) && !connection.is_answered(stream) {
            self.server.accept(stream);
            self.model(stream).is_accepted = true;
        }
    }

    fn write(&mut self, stream: StreamId, is_up: bool, most: usize) -> usize {
        let offset = self.model(stream).direction(is_up).written;
        let end = if is_up {
            &mut self.client
        } else {
            &mut self.server
        };
        let written = end.write(stream, offset, most);
        self.model(stream).direction(is_up).written += written;
        written
    }

    fn end(&mut self, stream: StreamId, is_up: bool) {
        let end = if is_up {
            &mut self.client
        } else {
            &mut self.server
        };
        let was_ended = end.connection.has_ended(stream);
        end.connection.end(stream);
        let has_ended = !was_ended && end.connection.has_ended(stream);
        self.model(stream).direction(is_up).has_ended |= has_ended;
    }

    fn consume(&mut self, stream: StreamId, is_up: bool, most: usize) {
        let direction = self.model(stream).direction(is_up);
        let bytes = most.min(direction.received - direction.consumed);
        direction.consumed += bytes;
        let end = if is_up {
            &mut self.server
        } else {
            &mut self.client
        };
        end.connection.consumed(stream, bytes);
    }

    fn carry(&mut self, is_up: bool, most: usize) -> usize {
        let streams = &mut self.streams;
        let (from, to) = if is_up {
            (&mut self.client, &mut self.server)
        } else {
            (&mut self.server, &mut self.client)
        };
        let carried = carry(from, to, most, |_, event| match event {
            Event::Data { stream, bytes } => {
                let model = streams.get_mut(&stream).expect("a modelled stream");
                let direction = model.direction(is_up);
                assert!(!direction.has_seen_end);
                let expected = (direction.received..).map(|at| pattern(stream, at));
                assert!(bytes.iter().copied().eq(expected.take(bytes.len())));
                direction.received += bytes.len();
            }
            Event::End { stream } => {
                let direction = streams.get_mut(&stream).expect("modelled").direction(is_up);
                assert!(direction.has_ended && !direction.has_seen_end);
                direction.has_seen_end = true;
            }
            Event::Reset {
                stream,
                cause: ResetCause::Peer,
                ..
            } => {
                streams.get_mut(&stream).expect("modelled").was_reset = true;
            }
            Event::Refused { .. }
            | Event::Request { .. }
            | Event::Response { .. }
            | Event::Writable { .. }
            | Event::StreamLimit { .. }
            | Event::Pong { .. } => {}
            other => panic!("{other:?}"),
        });
        self.check_windows();
        carried
    }

    /// Neither end ever holds more than it announced.
    fn check_windows(&self) {
        for is_up in [true, false] {
            let settings = self.settings[usize::from(is_up)];
            let held: Vec<usize> = self
                .streams
                .values()
                .filter(|model| !model.was_reset)
                .map(|model| if is_up { &model.up } else { &model.down })
                .map(|direction| direction.received - direction.consumed)
                .collect();
            // Until the settings are confirmed, HTTP/2's own window holds.
            let window = settings.stream_window.max(65_535) as usize;
            assert!(held.iter().all(|&held| held <= window));
            assert!(held.iter().sum::<usize>() <= settings.connection_window as usize);
        }
    }

    /// Lets everything happen that still can: deliver, consume, accept.
    fn settle(&mut self) {
        let all: Vec<StreamId> = self.streams.keys().copied().collect();
        loop {
            let carried = self.carry(true, usize::MAX) + self.carry(false, usize::MAX);
            for &stream in &all {
                self.accept(stream);
                self.consume(stream, true, usize::MAX);
                self.consume(stream, false, usize::MAX);
            }
            if carried == 0 && self.client.pending() + self.server.pending() == 0 {
                return;
            }
        }
    }

    /// Brings every stream to its end with `more` bytes each way, and checks that all arrived.
    fn finish(&mut self, more: usize) {
        self.settle();
        let all: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in all {
            for is_up in [true, false] {
                if self.model(stream).was_reset || self.model(stream).direction(is_up).has_ended {
                    continue;
                }
                let mut left = more;
                while left > 0 {
                    let written = self.write(stream, is_up, left);
                    assert!(written > 0, "{stream} is stuck, {left} bytes left");
                    left -= written;
                    self.settle();
                }
                self.end(stream, is_up);
                self.settle();
            }
            let Modelled {
                up,
                down,
                was_reset,
                ..
            } = self.model(stream);
            for direction in [up, down] {
                let is_whole = direction.received == direction.written && direction.has_seen_end;
                assert!(*was_reset || is_whole, "{stream}");
            }
        }
        assert_eq!(self.client.connection.open_streams(), 0);
        assert_eq!(self.server.connection.open_streams(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    /// No schedule loses a byte, exceeds a window or leaves a stream stuck.
    #[test]
    fn no_schedule_loses_or_sticks(
        client in any_settings(),
        server in any_settings(),
        steps in prop::collection::vec(any_step(), 0..250),
    ) {
        let mut world = World::new(client, server);

        for step in steps {
            world.step(&step);
        }

        world.finish(100_000);
    }
}

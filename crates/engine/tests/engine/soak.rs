//! Many connections at once, of all sizes and paces, on several workers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ambimesh_engine::Settings;
use ambimesh_types::CloseReason;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::fakes::PATIENCE;
use crate::noise::{read_noise_slowly, send_noise};
use crate::rig::{Pod, Rig, Wish};

/// Connections open at once.
const AT_ONCE: usize = 24;

/// One connection: how much goes each way, and whose bytes it carries.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    up: usize,
    down: usize,
}

impl Plan {
    const BYTES: usize = 24;

    fn draw(random: &mut SmallRng) -> Self {
        // Most are small, a few fill every window on the way.
        let mut size = || {
            let most = [0, 100, 70_000, 400_000, 5 << 20][random.random_range(0..5)];
            random.random_range(0..=most)
        };
        let (up, down) = (size(), size());
        Self {
            seed: random.random_range(1..200),
            up,
            down,
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        let words = [self.seed, self.up as u64, self.down as u64];
        words.into_iter().flat_map(u64::to_be_bytes).collect()
    }

    fn read(mut stream: &TcpStream) -> Self {
        let mut bytes = [0; Self::BYTES];
        stream.read_exact(&mut bytes).unwrap();
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let size = |at| usize::try_from(word(at)).unwrap();
        Self {
            seed: word(0),
            up: size(8),
            down: size(16),
        }
    }
}

/// Sends noise and reads noise at once, pausing now and then.
fn exchange(stream: &TcpStream, plan: Plan, send: usize, expect: usize) {
    let mut random = SmallRng::seed_from_u64(plan.seed);
    thread::scope(|scope| {
        scope.spawn(|| send_noise(stream, plan.seed, send));
        let pause = || {
            if random.random_range(0..20) == 0 {
                thread::sleep(Duration::from_micros(random.random_range(0..5000)));
            }
        };
        let got = read_noise_slowly(stream, plan.seed, pause);
        assert_eq!(got, expect as u64, "{plan:?}");
    });
}

fn call(pod: &Pod, to: SocketAddr, plan: Plan) {
    let mut stream = pod.connect(to);
    stream.write_all(&plan.to_bytes()).unwrap();
    exchange(&stream, plan, plan.up, plan.down);
    // Both directions have ended; a connection that is left half open would be counted.
    let _ = stream.shutdown(Shutdown::Both);
}

fn answer(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let plan = Plan::read(stream);
    exchange(stream, plan, plan.down, plan.up);
}

/// Runs so many connections through two engines and accounts for every byte.
fn soak(settings: Settings, connections: usize, seed: u64) {
    let wish = Wish {
        settings,
        workers: 3,
        ..Wish::default()
    };
    let rig = Rig::with(&wish);
    let listener = rig.listen();
    let to = listener.local_addr().unwrap();
    let mut random = SmallRng::seed_from_u64(seed);
    let plans: Vec<Plan> = (0..connections).map(|_| Plan::draw(&mut random)).collect();

    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener, connections));
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    call(&rig.client, to, *plan);
                }
            });
        }
    });

    let up: usize = plans.iter().map(|plan| plan.up + Plan::BYTES).sum();
    let down: usize = plans.iter().map(|plan| plan.down).sum();
    for pod in [&rig.client, &rig.server] {
        let reports = pod
            .reports
            .wait_until(|reports| reports.closed.len() == connections);
        let ends = reports.closed.iter().map(|(_, end)| end);
        let received: u64 = ends.clone().map(|end| end.transferred.received).sum();
        let sent: u64 = ends.clone().map(|end| end.transferred.sent).sum();
        assert_eq!((received, sent), (up as u64, down as u64), "seed {seed}");
        assert!(
            ends.clone().all(|end| end.reason == CloseReason::Finished),
            "seed {seed}: {reports}"
        );
    }
}

fn serve(listener: &TcpListener, connections: usize) {
    thread::scope(|scope| {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            scope.spawn(move || answer(&stream));
        }
    });
}

/// How many connections a soak has: more by hand (`SOAK_CONNECTIONS=5000`).
#[expect(clippy::disallowed_methods, reason = "a test has no other edge")]
fn connections() -> usize {
    let asked = std::env::var("SOAK_CONNECTIONS").ok();
    asked.map_or(200, |count| count.parse().unwrap())
}

/// With the usual windows, every byte of every connection arrives.
#[test]
fn every_byte_arrives_with_usual_windows() {
    soak(Settings::default(), connections(), 1);
}

/// With the smallest windows, where streams wait for each other all the time, it does too.
#[test]
fn every_byte_arrives_with_the_smallest_windows() {
    let mut settings = Settings::default();
    for side in [&mut settings.client, &mut settings.server] {
        side.stream_window = 65_535;
        side.connection_window = 65_535;
        side.max_frame_size = 16_384;
    }
    soak(settings, connections(), 2);
}

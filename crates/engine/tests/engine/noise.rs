//! Bytes that show when one is lost, doubled or moved.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// Writes so many bytes in pieces of many sizes, and ends.
pub fn send_noise(mut stream: &TcpStream, seed: u64, bytes: usize) {
    let mut at = 0;
    for size in (1..=70_001).step_by(10_000).cycle() {
        let size = size.min(bytes - at);
        let chunk: Vec<u8> = (at..at + size).map(|at| noise(seed, at as u64)).collect();
        stream.write_all(&chunk).unwrap();
        at += size;
        if at == bytes {
            break;
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads to the end, and returns how many bytes came; each must be what was sent in its place.
pub fn read_noise(stream: &TcpStream, seed: u64) -> u64 {
    read_noise_slowly(stream, seed, || {})
}

/// The same, with a pause before each read.
pub fn read_noise_slowly(mut stream: &TcpStream, seed: u64, mut pause: impl FnMut()) -> u64 {
    let mut buffer = vec![0; 100_000];
    let mut at = 0;
    loop {
        pause();
        let length = stream.read(&mut buffer).unwrap();
        if length == 0 {
            return at;
        }
        for byte in &buffer[..length] {
            assert_eq!(*byte, noise(seed, at), "byte {at}");
            at += 1;
        }
    }
}

fn noise(seed: u64, at: u64) -> u8 {
    let mixed = (at ^ (seed << 56)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u8::try_from(mixed >> 56).unwrap()
}

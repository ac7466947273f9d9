//! Another proxy in the server's pod, which does exactly what a test says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use ambimesh_engine::{Command, SvidStatus};
use ambimesh_testkit::hostile::{Frames, PREFACE, fields, flag, kind};
use ambimesh_tls::{Handshake, Session, Step, sealed_len};
use socket2::SockRef;

use crate::fakes::PATIENCE;
use crate::rig::Rig;

const FRAME_HEADER: usize = 9;

/// The accepting end of one tunnel.
pub struct Peer {
    socket: TcpStream,
    session: Session,
    /// Opened, and not a whole frame yet.
    plain: Vec<u8>,
    pongs: usize,
    /// Streams that were asked for, and how much DATA each has brought.
    pub streams: BTreeMap<u32, usize>,
}

/// Takes the place of the server's node proxy.
pub fn replace_server(rig: &Rig) -> TcpListener {
    let uid = "server".into();
    let server = &rig.server;
    server.engine.send(Command::RemoveWorkload { uid }).unwrap();
    server.wait_for_engine();
    server.release();
    server.inside(|| TcpListener::bind((server.ip, 15008)).unwrap())
}

impl Peer {
    /// Accepts a tunnel and its TLS, and says nothing in HTTP/2. `buffer`: what the kernel may
    /// hold for us, so that not reading is noticed.
    pub fn accept(rig: &Rig, listener: &TcpListener, buffer: Option<usize>) -> Self {
        if let Some(bytes) = buffer {
            SockRef::from(listener).set_recv_buffer_size(bytes).unwrap();
        }
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let SvidStatus::Ready(svid) = rig.server.certificates.sign(&rig.server.identity()) else {
            panic!("no certificate");
        };
        let mut handshake = Handshake::server(svid.server_config()).unwrap();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let length = socket.read(&mut buffer).unwrap();
            let mut flight = Vec::new();
            let step = handshake.advance(&buffer[..length], &mut flight).unwrap();
            socket.write_all(&flight).unwrap();
            if step == Step::Done {
                break;
            }
        }
        let session = handshake.finish().unwrap();
        let mut peer = Self {
            socket,
            session,
            plain: Vec::new(),
            pongs: 0,
            streams: BTreeMap::new(),
        };
        let unread = peer.session.unread().to_vec();
        peer.open(unread);
        peer.read_until(|peer| peer.plain.len() >= PREFACE.len());
        assert_eq!(peer.plain.drain(..PREFACE.len()).as_slice(), PREFACE);
        peer
    }

    /// Seals and writes frames.
    pub fn send(&mut self, frames: Frames) {
        let plain = frames.into_bytes();
        let mut sealed = vec![0; sealed_len(plain.len())];
        let length = self.session.seal(&plain, &mut sealed).unwrap();
        self.socket.write_all(&sealed[..length]).unwrap();
    }

    /// Waits for so many CONNECTs.
    pub fn wait_for_streams(&mut self, count: usize) {
        self.read_until(|peer| peer.take_frames().streams.len() == count);
    }

    /// Waits until so much DATA has come in all; more is an error, also a little later.
    pub fn wait_for_data(&mut self, bytes: usize) {
        self.read_until(|peer| peer.take_frames().total() >= bytes);
        // What the far end does on its own is done before it answers.
        let pongs = self.pongs;
        self.send(Frames::new().ping(false, *b"are you?"));
        self.read_until(|peer| peer.take_frames().pongs > pongs);
        assert_eq!(self.total(), bytes, "{:?}", self.streams);
    }

    /// Answers every CONNECT, behind other frames in the same write.
    pub fn answer_all(&mut self, first: Frames) {
        let answer = fields(&[(":status", "200")]);
        let ids = self.streams.keys();
        self.send(ids.fold(first, |frames, id| frames.headers(*id, &answer)));
    }

    fn total(&self) -> usize {
        self.streams.values().sum()
    }

    fn read_until(&mut self, done: impl Fn(&mut Self) -> bool) {
        let mut buffer = vec![0; 256 << 10];
        while !done(self) {
            let length = self.socket.read(&mut buffer).expect("the far end goes on");
            assert_ne!(length, 0, "the tunnel was closed");
            let mut received = self.session.unread().to_vec();
            received.extend_from_slice(&buffer[..length]);
            self.open(received);
        }
    }

    fn open(&mut self, mut received: Vec<u8>) {
        let mut reply = Vec::new();
        let opened = self
            .session
            .open(&mut received, &mut self.plain, &mut reply);
        assert!(!opened.unwrap(), "the session was closed");
    }

    /// Takes note of every whole frame.
    fn take_frames(&mut self) -> &Self {
        let mut at = 0;
        while let Some(header) = self.plain.get(at..at + FRAME_HEADER) {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            if self.plain.len() < at + FRAME_HEADER + length {
                break;
            }
            match header[3] {
                kind::HEADERS => drop(self.streams.insert(stream, 0)),
                kind::DATA => *self.streams.get_mut(&stream).unwrap() += length,
                kind::PING => self.pongs += usize::from(header[4] & flag::ACK),
                kind::RST_STREAM | kind::GOAWAY => panic!("frame {} on {stream}", header[3]),
                _ => {}
            }
            at += FRAME_HEADER + length;
        }
        self.plain.drain(..at);
        self
    }
}

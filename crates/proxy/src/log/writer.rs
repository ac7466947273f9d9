//! The writer thread: the only one that waits for standard output.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Lines that wait for the writer. 10,000 lines are about 4 MB and some hundred milliseconds of a
/// busy proxy.
const QUEUED_LINES: usize = 10_000;

/// Lines written by one system call at most.
const LINES_PER_WRITE: usize = 64;

/// The bounded queue of lines.
#[derive(Clone)]
pub struct LineQueue {
    lines: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

impl LineQueue {
    /// A queue of at most `capacity` lines and its reading end.
    #[must_use]
    pub fn bounded(capacity: usize) -> (Self, Receiver<Vec<u8>>) {
        let (lines, receiver) = sync_channel(capacity);
        (
            Self {
                lines,
                lost: Arc::default(),
            },
            receiver,
        )
    }

    /// Hands a whole line over; if there is no room, counts it as lost.
    pub fn push(&self, line: Vec<u8>) {
        if self.lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The thread that writes lines until every [`LineQueue`] is gone or it is told to stop.
pub struct LogWriter {
    thread: JoinHandle<()>,
    queue: LineQueue,
}

/// Tells the writer to write what is queued and end: a line is never empty.
const END: Vec<u8> = Vec::new();

impl LogWriter {
    /// Starts writing to `sink`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<(Self, LineQueue)> {
        let (queue, receiver) = LineQueue::bounded(QUEUED_LINES);
        let lost = Arc::clone(&queue.lost);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&receiver, sink, &lost))?;
        Ok((
            Self {
                thread,
                queue: queue.clone(),
            },
            queue,
        ))
    }

    /// Writes what is queued and ends the thread. Blocking: until the sink has taken everything.
    pub fn finish(self) {
        // `send` waits for room, unlike `push`: the end must arrive.
        if self.queue.lines.send(END).is_ok() {
            // A writer that panicked has nothing more to say, and nobody to say it to.
            let _ = self.thread.join();
        }
    }
}

fn write_all(lines: &Receiver<Vec<u8>>, mut sink: impl Write, lost: &AtomicU64) {
    let mut batch = Vec::new();
    let mut reported = 0;
    while let Ok(first) = lines.recv() {
        let mut ends = first.is_empty();
        batch.clear();
        batch.extend_from_slice(&first);
        for line in lines.try_iter().take(LINES_PER_WRITE - 1) {
            ends |= line.is_empty();
            batch.extend_from_slice(&line);
        }
        let now_lost = lost.load(Ordering::Relaxed);
        if now_lost > reported {
            let text = format!(
                "log: {} lines lost, the reader of this log is too slow\n",
                now_lost - reported
            );
            batch.extend_from_slice(text.as_bytes());
            reported = now_lost;
        }
        // A closed standard output ends nothing: the mesh goes on without its log.
        let _ = sink.write_all(&batch).and_then(|()| sink.flush());
        if ends {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Everything queued before the end is written, in order.
    #[test]
    fn finishing_writes_what_is_queued() {
        let sink = Sink::default();
        let (writer, queue) = LogWriter::start(sink.clone()).unwrap();
        let mut expected = String::new();
        for n in 0..200 {
            let line = format!("line {n}\n");
            expected.push_str(&line);
            queue.push(line.into_bytes());
        }

        writer.finish();

        assert_eq!(
            String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(),
            expected
        );
    }

    /// A full queue loses lines without waiting, and says how many.
    #[test]
    fn a_full_queue_counts_what_it_loses() {
        let (queue, receiver) = LineQueue::bounded(1);
        for line in ["first\n", "second\n", "third\n"] {
            queue.push(line.into());
        }
        let lost = Arc::clone(&queue.lost);
        drop(queue);
        let sink = Sink::default();

        write_all(&receiver, sink.clone(), &lost);

        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            "first\nlog: 2 lines lost, the reader of this log is too slow\n"
        );
    }
}

//! One log for events and connections, in Istio's format, to standard output.
//!
//! A line is formatted by the thread that has something to say and handed to one writer thread
//! through a bounded queue. A full queue loses lines, never waits: a reader of standard output that
//! stalls must not stall the data path. What was lost is counted and said.

mod filter;
mod format;
mod time;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

pub use filter::{Filter, FilterError, Level};
pub use time::Timestamp;
pub use writer::{LineQueue, LogWriter};

/// Text, or one JSON object, a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Tabs between time, level, target and message; then `name=value`.
    Text,
    /// One object a line.
    Json,
}

/// The value of a field.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Quoted in text.
    Text(&'a str),
    /// Bare in text, a string in JSON: addresses.
    Bare(&'a dyn fmt::Display),
    /// Bare in text, a number in JSON.
    Number(u64),
}

/// One thing to log. `message` is a constant sentence; facts are fields.
pub struct Record<'a> {
    /// How important it is.
    pub level: Level,
    /// Which part of the proxy speaks.
    pub target: &'static str,
    /// What happened.
    pub message: &'static str,
    /// Facts, in this order.
    pub fields: &'a [(&'a str, Value<'a>)],
}

/// The front of the log. Cheap to clone; every clone writes to the same queue.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    filter: ArcSwap<Filter>,
    initial: Filter,
    format: Format,
    lines: LineQueue,
}

impl Log {
    /// A log that writes to `lines` what `filter` lets pass.
    #[must_use]
    pub fn new(lines: LineQueue, filter: Filter, format: Format) -> Self {
        let shared = Shared {
            initial: filter.clone(),
            filter: ArcSwap::from_pointee(filter),
            format,
            lines,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Whether a record of this level and target would be written. Cheap.
    #[must_use]
    pub fn is_enabled(&self, level: Level, target: &str) -> bool {
        self.shared.filter.load().passes(level, target)
    }

    /// Writes one record, if the filter lets it pass and the queue has room.
    pub fn write(&self, record: &Record<'_>) {
        if self.is_enabled(record.level, record.target) {
            let now = Timestamp(SystemTime::now());
            self.shared
                .lines
                .push(format::line(self.shared.format, now, record));
        }
    }

    /// Something an operator acts on.
    pub fn info(&self, target: &'static str, message: &'static str, fields: &[(&str, Value<'_>)]) {
        self.write(&Record {
            level: Level::Info,
            target,
            message,
            fields,
        });
    }

    /// Something that went wrong and is being dealt with.
    pub fn warn(&self, target: &'static str, message: &'static str, fields: &[(&str, Value<'_>)]) {
        self.write(&Record {
            level: Level::Warn,
            target,
            message,
            fields,
        });
    }

    /// Something that went wrong.
    pub fn error(&self, target: &'static str, message: &'static str, fields: &[(&str, Value<'_>)]) {
        self.write(&Record {
            level: Level::Error,
            target,
            message,
            fields,
        });
    }

    /// Something for the one who debugs.
    pub fn debug(&self, target: &'static str, message: &'static str, fields: &[(&str, Value<'_>)]) {
        self.write(&Record {
            level: Level::Debug,
            target,
            message,
            fields,
        });
    }

    /// The filter in force.
    #[must_use]
    pub fn filter(&self) -> Filter {
        self.shared.filter.load().as_ref().clone()
    }

    /// The filter the process started with.
    #[must_use]
    pub fn initial_filter(&self) -> &Filter {
        &self.shared.initial
    }

    /// Replaces the filter, from the next record on.
    pub fn set_filter(&self, filter: Filter) {
        self.shared.filter.store(Arc::new(filter));
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Filter, Format, LineQueue, Log};
    use std::sync::mpsc::Receiver;

    /// A log whose lines stay in memory.
    pub(crate) fn captured(format: Format) -> (Log, Receiver<Vec<u8>>) {
        let (lines, receiver) = LineQueue::bounded(100);
        (
            Log::new(lines, "trace".parse::<Filter>().unwrap(), format),
            receiver,
        )
    }
}

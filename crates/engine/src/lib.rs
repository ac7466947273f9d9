//! The data path: workers, tunnels, streams and the sockets behind them.
//!
//! One worker thread per core runs a bare epoll loop and owns everything it touches: listeners of
//! each pod, tunnels, flows, timers. No lock is taken and nothing is allocated per frame; a flow
//! owns buffer memory only while its write is blocked. The rest of the node proxy talks to workers
//! by [`Command`]s, and they report through [`Telemetry`].
//!
//! Words: a *flow* is one application connection, whichever way it goes; a *tunnel* is one TLS and
//! HTTP/2 connection to another proxy and carries many flows.
//! Source: design D14, node-proxy specification §6-8.

mod accept;
mod buffers;
mod certificates;
mod change;
mod command;
mod connect;
mod engine;
mod flow;
mod headers;
mod inbound;
mod letter;
mod mailbox;
mod outbound;
mod passthrough;
mod pod;
mod poll;
mod pool;
mod report;
mod settings;
mod slots;
mod socket;
mod stream;
mod telemetry;
mod timer;
mod tunnel;
mod worker;

pub use certificates::{Certificates, SvidStatus};
pub use command::{AddWorkload, Command, CommandError, ListenerKind, PodInfo};
pub use engine::{Engine, Shared};
pub use settings::{Settings, Timeouts};
pub use telemetry::{ConnectionSummary, Direction, End, Facts, Series, Telemetry, Transferred};

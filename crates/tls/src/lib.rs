//! TLS of tunnels: configurations, SPIFFE verification, certificate requests, records.
//!
//! TLS 1.3 only, mutual, approved suites and groups only. A [`Svid`] is what the certificate
//! authority gave one workload identity; it makes and keeps the configurations of both roles.
//! [`Handshake`] and [`Session`] do no I/O: bytes in, bytes out. `seal` and `open` of a session
//! are the only two functions on the data path, so that an own record layer can replace what is
//! behind them.
//! Source: node-proxy specification §5, §6.1.

mod error;
mod identity;
mod provider;
mod request;
mod session;
mod svid;
mod verify;

pub use error::{SvidError, TlsError};
pub use provider::{KeyExchange, module_name};
pub use request::{CertificateRequest, RequestError};
pub use session::{Handshake, Session, Step, sealed_len};
pub use svid::{Certificate, Svid, SvidParts, Validity};
pub use verify::PeerRefused;

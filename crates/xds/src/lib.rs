//! Delta xDS and CA clients, and the conversion of wire messages into state.
//!
//! [`Session`] and [`convert`] do no I/O; [`DiscoveryClient`] and [`AuthorityClient`] are ordinary
//! tokio and never run on a data-path thread. Source: node-proxy specification §4, §5.2.

mod authority;
mod backoff;
mod client;
mod convert;
mod server;
mod session;
pub mod wire;

pub use authority::{AuthorityClient, AuthorityError};
pub use client::{DiscoveryClient, Observer, Termination};
pub use convert::{ADDRESS_TYPE, AUTHORIZATION_TYPE, ConvertError, convert};
pub use server::{Server, ServerError, TlsSource, TokenSource};
pub use session::{Received, Session, TYPES};

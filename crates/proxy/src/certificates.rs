//! Certificates of the identities we speak for: fetched, shared, renewed, kept to their last second.
//!
//! `schedule` decides (pure), `keeper` runs the fetches on the control runtime, [`CertificateCache`]
//! is what data-path workers ask, without ever waiting. Source: node-proxy specification §5.3,
//! design D8.

mod cache;
mod keeper;
mod renewal;
mod schedule;

pub use cache::{CertificateCache, View};
pub use keeper::{Issued, Issuer, Keeper};
pub use renewal::Renewal;
pub use schedule::Priority;

#[cfg(test)]
mod tests;

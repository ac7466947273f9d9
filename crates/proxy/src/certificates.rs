//! Certificates of the identities we speak for: fetched, shared, renewed, kept to their last second.
//!
//! `schedule` decides (pure), `keeper` runs the fetches on the control runtime, [`CertificateCache`]
//! is what data-path workers ask, without ever waiting. Source: node-proxy specification §5.3,
//! design D8.

mod authority;
mod cache;
mod keeper;
mod prefetch;
mod renewal;
mod schedule;

use ambimesh_engine::{Certificates, SvidStatus};
use ambimesh_tls::Svid;
use ambimesh_types::Identity;

pub(crate) use authority::Authority;
pub use cache::{CertificateCache, View};
pub use keeper::{Issued, Issuer, Keeper};
pub(crate) use prefetch::Prefetch;
pub use renewal::Renewal;
pub use schedule::Priority;

impl Certificates for CertificateCache<Svid> {
    fn svid(&self, identity: &Identity) -> SvidStatus {
        match self.certificate(identity) {
            View::Ready(svid) => SvidStatus::Ready(svid),
            View::Pending => SvidStatus::Pending,
            View::Failed(text) => SvidStatus::Failed(text),
        }
    }
}

#[cfg(test)]
mod tests;

//! Where workers get certificates from.

use std::sync::Arc;

use ambimesh_tls::Svid;
use ambimesh_types::Identity;

/// What is known about an identity's certificate right now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SvidStatus {
    /// Valid; use it.
    Ready(Arc<Svid>),
    /// Being fetched. A [`crate::Command::CertificatesChanged`] follows.
    Pending,
    /// The authority refused or cannot be reached, and no valid certificate is left.
    Failed(Arc<str>),
}

/// The node proxy's certificates, as workers see them.
pub trait Certificates: Send + Sync {
    /// The certificate of one identity; asking for an unknown one starts the fetch.
    ///
    /// Blocking: never for I/O.
    fn svid(&self, identity: &Identity) -> SvidStatus;
}

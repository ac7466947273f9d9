//! What can go wrong with certificates and with TLS.

use ambimesh_types::{CloseReason, Identity};

use crate::verify::PeerRefused;

/// Why a handshake or an open session failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer broke TLS, or its certificate is not valid.
    #[error("{0}")]
    Protocol(#[source] rustls::Error),
    /// The peer's certificate is valid but not one that we talk to.
    #[error("{0}")]
    Identity(#[source] PeerRefused),
    /// The peer did not agree to speak HTTP/2.
    #[error("peer did not negotiate h2")]
    NotHttp2,
    /// The peer sent more handshake than any peer needs.
    #[error("handshake of more than {limit} bytes")]
    HandshakeTooLarge {
        /// The bound that was passed.
        limit: usize,
    },
    /// Our own side is in a state that it cannot be in.
    #[error("tls session cannot {wanted} in this state")]
    State {
        /// What was to be done.
        wanted: &'static str,
    },
}

impl TlsError {
    /// The closed reason of the connection that this ends.
    #[must_use]
    pub fn reason(&self) -> CloseReason {
        match self {
            Self::Protocol(_) | Self::NotHttp2 | Self::HandshakeTooLarge { .. } => {
                CloseReason::TlsFailure
            }
            Self::Identity(_) => CloseReason::IdentityMismatch,
            Self::State { .. } => CloseReason::Internal,
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match PeerRefused::of(&error) {
            Some(refused) => Self::Identity(refused.clone()),
            None => Self::Protocol(error),
        }
    }
}

/// Why the authority's answer is no SVID.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// The answer had no certificate at all.
    #[error("certificate chain is empty")]
    Empty,
    /// The answer had a leaf only: nothing to trust others by.
    #[error("no root certificate present")]
    NoRoot,
    /// Something is not a certificate or key.
    #[error("certificate does not parse: {what}")]
    Unparsable {
        /// Which part, and what the parser said.
        what: String,
    },
    /// The leaf carries another identity than was asked for.
    #[error("certificate is for {found}, asked for {expected}")]
    WrongIdentity {
        /// What was asked for.
        expected: Identity,
        /// What came.
        found: String,
    },
    /// The certificates and the key do not make a configuration.
    #[error("certificate cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
    /// The configuration would use what FIPS 140-3 does not approve.
    #[error("tls configuration is not approved by fips 140-3")]
    NotApproved,
}

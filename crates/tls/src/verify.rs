//! Who may be at the other end: chains by webpki, identities by us.

use std::fmt;
use std::sync::Arc;

use ambimesh_types::Identity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::identity::identities_of;

/// A valid certificate of somebody we do not talk to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerRefused {
    /// None of the names that discovery announced for the destination.
    #[error(
        "identity verification error: peer did not present the expected identity ({}), got {}",
        list(expected),
        list(presented)
    )]
    Unexpected {
        /// What would have been accepted.
        expected: Arc<[Identity]>,
        /// What the certificate carries.
        presented: Vec<Identity>,
    },
    /// No name in our trust domain.
    #[error(
        "identity verification error: peer is not in trust domain {expected}, got {}",
        list(presented)
    )]
    OtherTrustDomain {
        /// Our own trust domain.
        expected: Box<str>,
        /// What the certificate carries.
        presented: Vec<Identity>,
    },
}

impl PeerRefused {
    /// Finds our refusal in what rustls reports.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
            _ => None,
        }
    }

    fn into_error(self) -> Error {
        CertificateError::Other(OtherError(Arc::new(self))).into()
    }
}

fn list(identities: &[Identity]) -> String {
    let texts: Vec<&str> = identities.iter().map(Identity::as_str).collect();
    if texts.is_empty() {
        "none".to_owned()
    } else {
        texts.join(", ")
    }
}

/// The client's check: a chain to our roots, and one name of the expected set.
pub(crate) struct ExpectIdentity {
    roots: Arc<RootCertStore>,
    expected: Arc<[Identity]>,
    provider: Arc<CryptoProvider>,
}

impl ExpectIdentity {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        expected: Arc<[Identity]>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            roots,
            expected,
            provider,
        }
    }
}

impl fmt::Debug for ExpectIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectIdentity")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ExpectIdentity {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        let presented = identities_of(end_entity);
        if presented
            .iter()
            .any(|identity| self.expected.contains(identity))
        {
            return Ok(ServerCertVerified::assertion());
        }
        let expected = Arc::clone(&self.expected);
        Err(PeerRefused::Unexpected {
            expected,
            presented,
        }
        .into_error())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The server's check: a chain to our roots, and a name in our own trust domain.
#[derive(Debug)]
pub(crate) struct RequireTrustDomain {
    chain: Arc<dyn ClientCertVerifier>,
    trust_domain: Box<str>,
}

impl RequireTrustDomain {
    pub(crate) fn new(chain: Arc<dyn ClientCertVerifier>, trust_domain: &str) -> Self {
        Self {
            chain,
            trust_domain: trust_domain.into(),
        }
    }
}

impl ClientCertVerifier for RequireTrustDomain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: a bundle of many roots would make every handshake longer, and clients have one
        // certificate to offer.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        let presented = identities_of(end_entity);
        if presented
            .iter()
            .any(|identity| identity.trust_domain() == &*self.trust_domain)
        {
            return Ok(verified);
        }
        let expected = self.trust_domain.clone();
        Err(PeerRefused::OtherTrustDomain {
            expected,
            presented,
        }
        .into_error())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

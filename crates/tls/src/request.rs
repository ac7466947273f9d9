//! Certificate signing requests.

use ambimesh_types::Identity;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A fresh P-256 key and the request that asks for its certificate.
///
/// The subject is empty and the only name a critical URI, the identity.
/// Source: node-proxy specification §5.2.
pub struct CertificateRequest {
    key: PrivateKeyDer<'static>,
    pem: String,
}

/// The module could not make a key or sign with it.
#[derive(Debug, thiserror::Error)]
#[error("certificate request: {0}")]
pub struct RequestError(#[source] rcgen::Error);

impl CertificateRequest {
    /// Makes key and request for one identity.
    ///
    /// # Errors
    /// The identity is not ASCII, or the cryptographic module fails.
    pub fn new(identity: &Identity) -> Result<Self, RequestError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(RequestError)?;
        let uri = identity.as_str().try_into().map_err(RequestError)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(uri)];
        let request = params.serialize_request(&key).map_err(RequestError)?;
        let pem = request.pem().map_err(RequestError)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Self { key, pem })
    }

    /// The request as the authority wants it.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key that belongs to the certificate to come.
    #[must_use]
    pub fn into_key(self) -> PrivateKeyDer<'static> {
        self.key
    }
}

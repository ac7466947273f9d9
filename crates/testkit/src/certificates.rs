//! A P-256 certificate authority that exists for the length of a test.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};

/// A root and its key.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_der: Vec<u8>,
    root_pem: String,
}

/// A certificate for one SPIFFE id, with its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate.
    pub certificate_der: Vec<u8>,
    /// The certificate as PEM.
    pub certificate_pem: String,
    /// The private key as PKCS#8.
    pub key_der: Vec<u8>,
    /// The private key as PKCS#8 PEM.
    pub key_pem: String,
}

impl Authority {
    /// A new root, valid for a few thousand years.
    ///
    /// # Panics
    /// Never: the parameters are constant and valid.
    #[must_use]
    pub fn new(organization: &str) -> Self {
        let key = new_key();
        let mut params = CertificateParams::default();
        params.distinguished_name = name(DnType::OrganizationName, organization);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).expect("constant parameters sign");
        Self {
            root_der: root.der().to_vec(),
            root_pem: root.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The root as DER.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// The root as PEM.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A leaf whose only name is the URI `spiffe_id`, for both ends of TLS, valid now.
    ///
    /// # Panics
    /// When `spiffe_id` is not ASCII.
    #[must_use]
    pub fn leaf(&self, spiffe_id: &str) -> Leaf {
        self.leaf_with(spiffe_id, |_| {})
    }

    /// A leaf that `change` has altered before it was signed: expired, another usage, more names.
    ///
    /// # Panics
    /// When `spiffe_id` is not ASCII, or rcgen refuses the altered parameters.
    #[must_use]
    pub fn leaf_with(&self, spiffe_id: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = new_key();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(
            spiffe_id.try_into().expect("a SPIFFE id is ASCII"),
        )];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("parameters sign");
        Leaf {
            certificate_der: certificate.der().to_vec(),
            certificate_pem: certificate.pem(),
            key_der: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }

    /// The certificate, in PEM, for a certificate request in PEM: what a CA answers.
    ///
    /// # Errors
    /// rcgen's, when the request is malformed or its signature wrong.
    pub fn sign_request(&self, request_pem: &str) -> Result<String, rcgen::Error> {
        let mut request = rcgen::CertificateSigningRequestParams::from_pem(request_pem)?;
        request.params.use_authority_key_identifier_extension = true;
        Ok(request.signed_by(&self.issuer)?.pem())
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("the system has random numbers")
}

fn name(kind: DnType, value: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(kind, value);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leaf names its SPIFFE id, and a certificate request gets the certificate it asks for.
    #[test]
    fn leaves_carry_their_identity() {
        let authority = Authority::new("cluster.local");
        let id = "spiffe://cluster.local/ns/demo/sa/web";
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("ASCII"))];
        let request = params.serialize_request(&new_key()).expect("a request");

        let leaf = authority.leaf(id);
        let signed = authority
            .sign_request(&request.pem().expect("PEM"))
            .expect("a certificate");

        assert!(
            leaf.certificate_der
                .windows(id.len())
                .any(|window| window == id.as_bytes())
        );
        assert!(signed.starts_with("-----BEGIN CERTIFICATE-----"));
    }
}

//! TLS towards the control plane: a server certificate for its name, no certificate of ours.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::config::RootSource;

/// Where distributions keep the machine's own roots.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The configuration of one connection; roots are read now.
pub(super) fn client_config(
    root: &RootSource,
    alternative_name: Option<&str>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(provider());
    let roots = Arc::new(roots(root)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| error.to_string())?;
    let alternative = alternative_name
        .map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no server name"))
        })
        .transpose()?;
    let verifier = EitherName {
        verifier,
        alternative,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    if cfg!(feature = "fips") && !config.fips() {
        return Err("the configuration is not one of the validated module".to_owned());
    }
    Ok(Arc::new(config))
}

/// Approved suites and groups only, as tunnels have them (design D12).
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![
            kx_group::SECP256R1,
            kx_group::SECP384R1,
            kx_group::X25519MLKEM768,
        ],
        ..default_provider()
    }
}

fn roots(source: &RootSource) -> Result<RootCertStore, String> {
    let (name, pem) = match source {
        RootSource::File(path) => {
            let name = path.display().to_string();
            let pem = std::fs::read(path).map_err(|error| format!("{name}: {error}"))?;
            (name, pem)
        }
        RootSource::System => {
            let found = SYSTEM_BUNDLES
                .iter()
                .find_map(|path| Some((path, std::fs::read(path).ok()?)));
            let (path, pem) = found.ok_or("this machine has no file of root certificates")?;
            ((*path).to_owned(), pem)
        }
        RootSource::Inline(pem) => ("the setting".to_owned(), pem.clone().into_bytes()),
    };
    let mut store = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    // One root that does not parse must not take the others with it.
    let (added, _) = store.add_parsable_certificates(certificates);
    if added == 0 {
        Err(format!("{name} holds no certificate"))
    } else {
        Ok(store)
    }
}

/// Accepts the name that was dialed, or one further name.
#[derive(Debug)]
struct EitherName {
    verifier: Arc<WebPkiServerVerifier>,
    alternative: Option<ServerName<'static>>,
}

impl ServerCertVerifier for EitherName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |name: &ServerName<'_>| {
            self.verifier
                .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        match (verify(server_name), &self.alternative) {
            (
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )),
                Some(alternative),
            ) => verify(alternative),
            (verified, _) => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roots that cannot be had are errors that name where they were looked for.
    #[test]
    fn missing_roots_are_named() {
        let missing = RootSource::File("/missing/root.pem".into());
        assert!(
            client_config(&missing, None)
                .unwrap_err()
                .starts_with("/missing/root.pem: ")
        );
        let empty = RootSource::Inline("-----BEGIN NOTHING-----".to_owned());
        assert_eq!(
            client_config(&empty, None).unwrap_err(),
            "the setting holds no certificate"
        );
    }
}

//! What the certificate authority gave one identity, and the configurations made of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ambimesh_types::Identity;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::SvidError;
use crate::identity::identities_of;
use crate::provider::{KeyExchange, provider};
use crate::verify::{ExpectIdentity, RequireTrustDomain};

/// The application protocol of tunnels.
pub(crate) const ALPN: &[u8] = b"h2";

/// Client configurations kept per SVID. A node talks to a few hundred service accounts; past the
/// bound the store starts over, which costs a few configurations and never memory.
const MAX_CLIENT_CONFIGS: usize = 1024;

/// What an SVID is made of.
#[derive(Debug)]
pub struct SvidParts<'a> {
    /// The identity that was asked for.
    pub identity: Identity,
    /// The authority's answer: leaf, intermediates, and as last element the root bundle; each
    /// element one or more PEM certificates.
    pub chain: &'a [String],
    /// The private key, PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// Which key exchanges to offer.
    pub key_exchange: KeyExchange,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First moment.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// The moment half-way through: when to renew (design D8, specification §5.3).
    #[must_use]
    pub fn half_life(&self) -> SystemTime {
        let lifetime = self
            .not_after
            .duration_since(self.not_before)
            .unwrap_or(Duration::ZERO);
        self.not_before + lifetime / 2
    }
}

/// One certificate, as `/config_dump` shows it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// Serial number in decimal.
    pub serial_number: String,
    /// From when until when it is valid.
    pub validity: Validity,
}

/// A workload's certificate chain, private key and trust bundle.
///
/// Immutable; a renewal makes a new one. Invariants: the leaf carries `identity`, and there is at
/// least one root.
pub struct Svid {
    identity: Identity,
    chain: Vec<Certificate>,
    roots: Vec<Certificate>,
    trust_bundle: Arc<RootCertStore>,
    key: PrivateKeyDer<'static>,
    key_exchange: KeyExchange,
    server: Arc<ServerConfig>,
    clients: Mutex<HashMap<Arc<[Identity]>, Arc<ClientConfig>>>,
}

impl Svid {
    /// Checks the authority's answer and makes the server's configuration of it.
    ///
    /// # Errors
    /// The answer is incomplete, is for somebody else, or does not fit the key. A root that does
    /// not parse is left out as long as another one does.
    pub fn new(parts: SvidParts<'_>) -> Result<Self, SvidError> {
        let (roots, leaf_and_intermediates) = parts.chain.split_last().ok_or(SvidError::Empty)?;
        if leaf_and_intermediates.is_empty() {
            return Err(SvidError::NoRoot);
        }
        let chain = leaf_and_intermediates
            .iter()
            .flat_map(|pem| certificates(pem))
            .collect::<Result<Vec<_>, _>>()?;
        let leaf = chain.first().ok_or(SvidError::Empty)?;
        check_identity(&leaf.der, &parts.identity)?;
        let roots: Vec<_> = certificates(roots)
            .into_iter()
            .filter_map(Result::ok)
            .collect();
        let mut trust_bundle = RootCertStore::empty();
        let (added, _) =
            trust_bundle.add_parsable_certificates(roots.iter().map(|c| c.der.clone()));
        if added == 0 {
            return Err(SvidError::NoRoot);
        }
        let trust_bundle = Arc::new(trust_bundle);
        let server = server_config(&parts, &chain, &trust_bundle)?;
        Ok(Self {
            identity: parts.identity,
            chain,
            roots,
            trust_bundle,
            key: parts.key,
            key_exchange: parts.key_exchange,
            server: Arc::new(server),
            clients: Mutex::default(),
        })
    }

    /// Who this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Leaf first, then intermediates.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The trust bundle.
    #[must_use]
    pub fn roots(&self) -> &[Certificate] {
        &self.roots
    }

    /// From when until when the whole chain is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        let start = self.chain.iter().map(|c| c.validity.not_before).max();
        let end = self.chain.iter().map(|c| c.validity.not_after).min();
        Validity {
            not_before: start.unwrap_or(SystemTime::UNIX_EPOCH),
            not_after: end.unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// How to accept: client certificates are mandatory and of our own trust domain.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// How to dial a peer that must prove one of `expected`; made once per set.
    ///
    /// Blocking: takes a lock that is never held across I/O.
    ///
    /// # Errors
    /// The configuration cannot be made; see [`SvidError`].
    pub fn client_config(
        &self,
        expected: &Arc<[Identity]>,
    ) -> Result<Arc<ClientConfig>, SvidError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = clients.get(expected) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.new_client_config(expected)?);
        if clients.len() >= MAX_CLIENT_CONFIGS {
            clients.clear();
        }
        clients.insert(Arc::clone(expected), Arc::clone(&config));
        Ok(config)
    }

    fn new_client_config(&self, expected: &Arc<[Identity]>) -> Result<ClientConfig, SvidError> {
        let provider = provider(self.key_exchange);
        let roots = Arc::clone(&self.trust_bundle);
        let verifier = ExpectIdentity::new(roots, Arc::clone(expected), Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(SvidError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(ders(&self.chain), self.key.clone_key())
            .map_err(SvidError::Unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        approved(config.fips()).map(|()| config)
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let validity = self.validity();
        f.debug_struct("Svid")
            .field("identity", &self.identity)
            .field("validity", &validity)
            .finish_non_exhaustive()
    }
}

fn server_config(
    parts: &SvidParts<'_>,
    chain: &[Certificate],
    trust_bundle: &Arc<RootCertStore>,
) -> Result<ServerConfig, SvidError> {
    let provider = provider(parts.key_exchange);
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::clone(trust_bundle),
        Arc::clone(&provider),
    )
    .build()
    .map_err(|error| SvidError::Unparsable {
        what: format!("trust bundle: {error}"),
    })?;
    let verifier = RequireTrustDomain::new(verifier, parts.identity.trust_domain());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(SvidError::Unusable)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(ders(chain), parts.key.clone_key())
        .map_err(SvidError::Unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    approved(config.fips()).map(|()| config)
}

fn approved(is_fips: bool) -> Result<(), SvidError> {
    if cfg!(feature = "fips") && !is_fips {
        Err(SvidError::NotApproved)
    } else {
        Ok(())
    }
}

fn ders(chain: &[Certificate]) -> Vec<CertificateDer<'static>> {
    chain
        .iter()
        .map(|certificate| certificate.der.clone())
        .collect()
}

fn check_identity(leaf: &CertificateDer<'_>, expected: &Identity) -> Result<(), SvidError> {
    let found = identities_of(leaf);
    if found.first() == Some(expected) {
        return Ok(());
    }
    let found = found
        .first()
        .map_or_else(|| "no identity".to_owned(), ToString::to_string);
    Err(SvidError::WrongIdentity {
        expected: expected.clone(),
        found,
    })
}

fn certificates(pem: &str) -> Vec<Result<Certificate, SvidError>> {
    let parsed = CertificateDer::pem_slice_iter(pem.as_bytes());
    parsed
        .map(|der| match der {
            Ok(der) => describe(der),
            Err(error) => Err(SvidError::Unparsable {
                what: error.to_string(),
            }),
        })
        .collect()
}

fn describe(der: CertificateDer<'static>) -> Result<Certificate, SvidError> {
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| SvidError::Unparsable {
        what: error.to_string(),
    })?;
    let validity = Validity {
        not_before: system_time(parsed.validity().not_before.timestamp()),
        not_after: system_time(parsed.validity().not_after.timestamp()),
    };
    let serial_number = parsed.tbs_certificate.serial.to_string();
    Ok(Certificate {
        der,
        serial_number,
        validity,
    })
}

fn system_time(unix_seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(unix_seconds.unsigned_abs());
    let moment = if unix_seconds >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

//! The cryptographic module, and what of it we use.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};

/// Which key exchanges a proxy offers, in its order of preference.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum KeyExchange {
    /// P-256 first, then P-384 and the post-quantum hybrid: the cheapest approved handshake.
    #[default]
    ClassicalFirst,
    /// X25519 with ML-KEM-768 only (`COMPLIANCE_POLICY=pqc`).
    PostQuantumOnly,
}

/// The module that runs, for `version` and `/config_dump`.
#[must_use]
pub fn module_name() -> &'static str {
    if cfg!(feature = "fips") {
        "aws-lc-fips"
    } else {
        "aws-lc"
    }
}

/// The provider for one choice of key exchange; made once.
pub(crate) fn provider(exchange: KeyExchange) -> Arc<CryptoProvider> {
    static CLASSICAL: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    static POST_QUANTUM: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let made = match exchange {
        KeyExchange::ClassicalFirst => &CLASSICAL,
        KeyExchange::PostQuantumOnly => &POST_QUANTUM,
    };
    Arc::clone(made.get_or_init(|| Arc::new(build(exchange))))
}

fn build(exchange: KeyExchange) -> CryptoProvider {
    let kx_groups = match exchange {
        KeyExchange::ClassicalFirst => {
            vec![
                kx_group::SECP256R1,
                kx_group::SECP384R1,
                kx_group::X25519MLKEM768,
            ]
        }
        KeyExchange::PostQuantumOnly => vec![kx_group::X25519MLKEM768],
    };
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
    ];
    CryptoProvider {
        cipher_suites,
        kx_groups,
        ..default_provider()
    }
}

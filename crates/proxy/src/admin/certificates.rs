//! Certificates as `/config_dump` shows them: never a key.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ambimesh_tls::{Certificate, Svid};
use ambimesh_types::Identity;
use serde::Serialize;

use crate::certificates::View;
use crate::log::Timestamp;

/// One identity.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentityDump {
    identity: String,
    state: String,
    cert_chain: Vec<CertificateDump>,
    root_certs: Vec<CertificateDump>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateDump {
    /// PEM, once more in base64.
    pem: String,
    serial_number: String,
    valid_from: String,
    expiration_time: String,
}

/// Every identity, sorted.
pub(super) fn dump(all: &BTreeMap<Identity, View<Svid>>) -> Vec<IdentityDump> {
    all.iter()
        .map(|(identity, view)| {
            let (state, svid) = match view {
                View::Ready(svid) => ("Available".to_owned(), Some(svid)),
                View::Pending => ("Initializing".to_owned(), None),
                View::Failed(error) => (format!("Unavailable: {error}"), None),
            };
            let certificates = |of: fn(&Svid) -> &[Certificate]| {
                svid.map(|svid| of(svid).iter().map(CertificateDump::new).collect())
                    .unwrap_or_default()
            };
            IdentityDump {
                identity: identity.to_string(),
                state,
                cert_chain: certificates(Svid::chain),
                root_certs: certificates(Svid::roots),
            }
        })
        .collect()
}

impl CertificateDump {
    fn new(certificate: &Certificate) -> Self {
        let validity = certificate.validity;
        Self {
            pem: base64(pem(&certificate.der).as_bytes()),
            serial_number: certificate.serial_number.clone(),
            valid_from: format!("{:.0}", Timestamp(validity.not_before)),
            expiration_time: format!("{:.0}", Timestamp(validity.not_after)),
        }
    }
}

fn pem(der: &[u8]) -> String {
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // 48 bytes make a line of 64 characters.
    for line in der.chunks(48) {
        let _ = writeln!(pem, "{}", base64(line));
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Standard alphabet, padded (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let part = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = part(0) << 16 | part(1) << 8 | part(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = ALPHABET[(group >> shift & 63) as usize];
            text.push(if at <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648 §10.
    #[test]
    fn base64_is_the_standard_one() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}

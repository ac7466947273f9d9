//! The SPIFFE identities that a certificate carries.

use ambimesh_types::Identity;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Every URI name of the certificate that is a workload identity, in its order.
///
/// Shape: empty for a certificate without such a name, and for bytes that are no certificate.
/// Source: node-proxy specification §5.1.
pub(crate) fn identities_of(certificate: &[u8]) -> Vec<Identity> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let identity = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => uri.parse().ok(),
        _ => None,
    };
    names
        .value
        .general_names
        .iter()
        .filter_map(identity)
        .collect()
}

//! Asking the certificate authority of the mesh.

use std::sync::Arc;
use std::time::SystemTime;

use ambimesh_tls::{CertificateRequest, KeyExchange, Svid, SvidParts};
use ambimesh_types::Identity;
use ambimesh_xds::AuthorityClient;

use super::{Issued, Issuer, Renewal};

/// The authority, and what to ask of it.
pub(crate) struct Authority {
    /// `None` where it is switched off: then nobody gets a certificate.
    pub(crate) client: Option<AuthorityClient>,
    /// Whether we ask for workloads of our node, not for ourselves.
    pub(crate) impersonates: bool,
    /// What our tunnels offer.
    pub(crate) key_exchange: KeyExchange,
}

impl Issuer for Authority {
    type Certificate = Svid;

    async fn issue(&self, identity: Identity) -> Result<Issued<Svid>, String> {
        let client = self
            .client
            .as_ref()
            .ok_or("no certificate authority is configured")?;
        let request = CertificateRequest::new(&identity).map_err(|error| error.to_string())?;
        let impersonated = self.impersonates.then_some(&identity);
        let chain = client
            .sign(request.pem(), impersonated)
            .await
            .map_err(|error| error.to_string())?;
        let parts = SvidParts {
            identity,
            chain: &chain,
            key: request.into_key(),
            key_exchange: self.key_exchange,
        };
        let svid = Svid::new(parts).map_err(|error| error.to_string())?;
        let validity = svid.validity();
        let renewal = Renewal::of(validity.not_before, validity.not_after, SystemTime::now());
        Ok(Issued {
            certificate: Arc::new(svid),
            renewal,
        })
    }
}

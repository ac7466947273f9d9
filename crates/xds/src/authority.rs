//! Asking the certificate authority. Source: node-proxy specification §5.2.

use std::collections::BTreeMap;
use std::time::Duration;

use ambimesh_types::Identity;
use http::uri::PathAndQuery;
use prost_types::{Struct, Value, value};
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::server::{Server, ServerError};
use crate::wire::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};

const METHOD: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A client of the authority.
#[derive(Clone, Debug)]
pub struct AuthorityClient {
    server: Server,
    lifetime: Duration,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The authority was not reached.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The authority said no.
    #[error("{}: {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    /// The authority did not answer in time.
    #[error("no answer within {} s", ANSWER_LIMIT.as_secs())]
    Silent,
}

impl AuthorityClient {
    /// Asks `server` for certificates that live for `lifetime`.
    #[must_use]
    pub fn new(server: Server, lifetime: Duration) -> Self {
        Self { server, lifetime }
    }

    /// Has a request signed. `impersonated`: for a workload of this node, not for ourselves.
    ///
    /// Shape: PEM texts, the leaf first, the bundle of roots last; not checked here.
    ///
    /// # Errors
    /// [`AuthorityError`]; trying again later is right for all of them.
    pub async fn sign(
        &self,
        request_pem: &str,
        impersonated: Option<&Identity>,
    ) -> Result<Vec<String>, AuthorityError> {
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.ask(request_pem, impersonated));
        answer.await.map_err(|_| AuthorityError::Silent)?
    }

    async fn ask(
        &self,
        request_pem: &str,
        impersonated: Option<&Identity>,
    ) -> Result<Vec<String>, AuthorityError> {
        let mut request = Request::new(IstioCertificateRequest {
            csr: request_pem.to_owned(),
            validity_duration: i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX),
            metadata: impersonated.map(impersonation),
        });
        self.server.authorize(request.metadata_mut())?;
        let refused = |status| AuthorityError::Refused(Box::new(status));
        let mut client = tonic::client::Grpc::new(self.server.connect().await?);
        client
            .ready()
            .await
            .map_err(|error| refused(tonic::Status::from_error(error.into())))?;
        let codec = ProstCodec::<IstioCertificateRequest, IstioCertificateResponse>::default();
        let answer = client
            .unary(request, PathAndQuery::from_static(METHOD), codec)
            .await;
        Ok(answer.map_err(refused)?.into_inner().cert_chain)
    }
}

fn impersonation(identity: &Identity) -> Struct {
    let text = Value {
        kind: Some(value::Kind::StringValue(identity.as_str().to_owned())),
    };
    Struct {
        fields: BTreeMap::from([("ImpersonatedIdentity".to_owned(), text)]),
    }
}

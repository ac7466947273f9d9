//! CONNECT requests and their answers.

use ambimesh_types::{Authority, AuthorityError};

use crate::HeaderList;

/// A CONNECT request. Source: RFC 9113 §8.5, specification §6.2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectRequest {
    /// Where to connect to.
    pub authority: Authority,
    /// Everything but pseudo-headers: baggage, forwarded, traceparent, …
    pub headers: HeaderList,
}

impl ConnectRequest {
    /// A request without headers.
    #[must_use]
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            headers: HeaderList::new(),
        }
    }
}

/// The answer to a CONNECT. Anything but a 2xx status is a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectResponse {
    /// The HTTP status, 200..=599.
    pub status: u16,
    /// Everything but pseudo-headers.
    pub headers: HeaderList,
}

impl ConnectResponse {
    /// An answer without headers.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: HeaderList::new(),
        }
    }

    /// Whether the stream is now a tunnel.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why a request is not a CONNECT that we could serve. The texts are the access log's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// Another method.
    #[error("expected method CONNECT, got {method}")]
    Method {
        /// What came instead.
        method: String,
    },
    /// No target, or one without host or port.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Malformed as RFC 9113 §8.2 and §8.3 define it.
    #[error("malformed request: {what}")]
    Malformed {
        /// What was wrong.
        what: &'static str,
    },
    /// More headers than we accept.
    #[error("header list is larger than {limit} bytes")]
    HeaderListTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl BadRequest {
    /// The status to refuse it with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::HeaderListTooLarge { .. } => 431,
            _ => 400,
        }
    }
}

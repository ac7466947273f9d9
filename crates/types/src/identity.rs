//! SPIFFE identities of workloads.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
///
/// Cheap to clone: one shared string, and where its parts lie in it.
/// Source: node-proxy specification §5.1.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Identity {
    text: Arc<str>,
    trust_domain_end: usize,
    namespace_end: usize,
}

/// Text that is not a workload's SPIFFE ID.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
pub struct IdentityError {
    text: String,
}

const SCHEME: &str = "spiffe://";
const NAMESPACE: &str = "/ns/";
const SERVICE_ACCOUNT: &str = "/sa/";

impl Identity {
    /// Puts an identity together from its parts.
    #[must_use]
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Self {
        let text = format!(
            "{SCHEME}{trust_domain}{NAMESPACE}{namespace}{SERVICE_ACCOUNT}{service_account}"
        );
        let trust_domain_end = SCHEME.len() + trust_domain.len();
        Self {
            text: text.into(),
            trust_domain_end,
            namespace_end: trust_domain_end + NAMESPACE.len() + namespace.len(),
        }
    }

    /// The whole SPIFFE ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The SPIFFE ID without its scheme, as policies write principals.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.text[SCHEME.len()..]
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.trust_domain_end]
    }

    /// The Kubernetes namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[self.trust_domain_end + NAMESPACE.len()..self.namespace_end]
    }

    /// The Kubernetes service account.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.text[self.namespace_end + SERVICE_ACCOUNT.len()..]
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let fail = || IdentityError {
            text: text.to_owned(),
        };
        let rest = text.strip_prefix(SCHEME).ok_or_else(fail)?;
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            [trust_domain, "ns", namespace, "sa", service_account] => {
                Ok(Self::new(trust_domain, namespace, service_account))
            }
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is put together from parts parses back to the same parts.
        #[test]
        fn parts_survive_parsing(td in "[a-z.]{0,20}", ns in "[a-z-]{0,20}", sa in "[a-z-]{0,20}") {
            let parsed: Identity = Identity::new(&td, &ns, &sa).as_str().parse().unwrap();

            prop_assert_eq!((parsed.trust_domain(), parsed.namespace(), parsed.service_account()), (&*td, &*ns, &*sa));
        }

        /// No text makes the parser panic.
        #[test]
        fn any_text_is_answered(text in ".{0,80}") {
            let _ = text.parse::<Identity>();
        }
    }

    /// Node-proxy specification §5.1: five segments, literal `ns` and `sa`, no trailing slash.
    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "spiffe://td",
            "spiffe://td/ns/a/sa/b/",
            "spiffe://td/ns/a/sb/b",
            "http://td/ns/a/sa/b",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }
}

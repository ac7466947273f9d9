//! Policies and the levels of their rules.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::decision::Facts;
use crate::matching::Match;

/// `<namespace>/<name>` of a policy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyKey {
    text: Arc<str>,
    namespace_end: usize,
}

/// Text that is no policy key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not of the form <namespace>/<name>")]
pub struct PolicyKeyError {
    text: String,
}

impl PolicyKey {
    /// Puts a key together.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            text: format!("{namespace}/{name}").into(),
            namespace_end: namespace.len(),
        }
    }

    /// The namespace that the policy is in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[..self.namespace_end]
    }

    /// The policy's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[self.namespace_end + 1..]
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for PolicyKey {
    type Err = PolicyKeyError;

    fn from_str(text: &str) -> Result<Self, PolicyKeyError> {
        match text.split_once('/') {
            Some((namespace, name)) if !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(PolicyKeyError {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whom a policy is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// Every workload.
    Global,
    /// Every workload of its namespace.
    Namespace,
    /// The workloads that list it.
    WorkloadSelector,
}

/// What a policy does with a connection that it matches.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Let it through; while one such policy applies, what none matches is refused.
    Allow,
    /// Refuse it, whatever else allows it.
    Deny,
}

/// Alternatives: one must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnyOf<T>(pub Vec<T>);

/// Conditions: all must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllOf<T>(pub Vec<T>);

/// One authorization policy.
///
/// Rules are alternatives; the clauses of a rule must all hold; the matches of a clause are
/// alternatives. Without rules nothing matches; a rule without clauses matches everything, and so
/// does a clause without matches. Source: node-proxy specification §9.3.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Its key.
    pub key: PolicyKey,
    /// Whom it is about.
    pub scope: Scope,
    /// What it does.
    pub action: Action,
    /// Only logged, never enforced.
    pub is_dry_run: bool,
    /// When it matches.
    pub rules: AnyOf<AllOf<AnyOf<Match>>>,
}

impl Policy {
    /// Whether the policy matches a connection.
    #[must_use]
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.rules.0.iter().any(|rule| {
            rule.0
                .iter()
                .all(|clause| clause.0.is_empty() || clause.0.iter().any(|m| m.holds(facts)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys have exactly two parts and a name.
    #[test]
    fn malformed_keys_are_refused() {
        for text in ["", "name", "ns/", "a/b/c"] {
            assert!(text.parse::<PolicyKey>().is_err(), "{text}");
        }
        let key: PolicyKey = "ns/name".parse().unwrap();
        assert_eq!((key.namespace(), key.name()), ("ns", "name"));
    }
}

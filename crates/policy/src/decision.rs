//! The verdict of all policies that apply to a workload.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ambimesh_types::{Identity, SourceAddr};

use crate::policy::{Action, Policy, PolicyKey};

/// What a decision looks at: nothing of it comes from what a peer claims.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who called, proven by TLS; `None` for plaintext.
    pub identity: Option<&'a Identity>,
    /// From where, as the socket says.
    pub source: SourceAddr,
    /// The application's socket that the connection would go to.
    pub destination: SocketAddr,
}

/// The policies that apply to one workload. Equal sets decide equally.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySet {
    deny: Vec<Arc<Policy>>,
    allow: Vec<Arc<Policy>>,
    /// Listed by the workload, and not known here.
    missing: Option<PolicyKey>,
}

/// A verdict, with the policy that made it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// No policy allows anything in particular, and none denies this.
    AllowedByDefault,
    /// This policy allows it.
    AllowedBy(PolicyKey),
    /// This policy denies it.
    DeniedBy(PolicyKey),
    /// There are policies that allow, and none of them allows this.
    NotAllowed,
    /// The workload names a policy that discovery has not sent: what it says cannot be known.
    PolicyMissing(PolicyKey),
}

/// What a policy that is only tried out would do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DryRun<'a> {
    /// It would deny the connection.
    Denies(&'a PolicyKey),
    /// It would allow the connection.
    Allows(&'a PolicyKey),
    /// If those that allow were enforced, none of all would allow the connection.
    NotAllowed,
}

impl Decision {
    /// Whether the connection may go on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::AllowedByDefault | Self::AllowedBy(_))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowedByDefault => f.write_str("allowed: no allow policy applies"),
            Self::AllowedBy(key) => write!(f, "allowed by: {key}"),
            Self::DeniedBy(key) => write!(f, "explicitly denied by: {key}"),
            Self::NotAllowed => f.write_str("allow policies exist, but none allowed"),
            Self::PolicyMissing(key) => write!(f, "policy is not known yet: {key}"),
        }
    }
}

impl PolicySet {
    /// Collects the policies of a workload. `missing` is a key that the workload lists and nobody
    /// has sent; with one, everything is refused that the others do not deny anyway: guessing
    /// would be failing open.
    pub fn new(
        policies: impl IntoIterator<Item = Arc<Policy>>,
        missing: Option<PolicyKey>,
    ) -> Self {
        let (deny, allow) = policies
            .into_iter()
            .partition(|policy| policy.action == Action::Deny);
        Self {
            deny,
            allow,
            missing,
        }
    }

    /// Decides about one connection. Denials come first. Source: specification §9.2.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        if let Some(policy) = enforced(&self.deny).find(|policy| policy.matches(facts)) {
            return Decision::DeniedBy(policy.key.clone());
        }
        if let Some(key) = &self.missing {
            return Decision::PolicyMissing(key.clone());
        }
        let mut allows = enforced(&self.allow).peekable();
        if allows.peek().is_none() {
            return Decision::AllowedByDefault;
        }
        allows
            .find(|policy| policy.matches(facts))
            .map_or(Decision::NotAllowed, |policy| {
                Decision::AllowedBy(policy.key.clone())
            })
    }

    /// What the policies that are only tried out would do about one connection: for the log.
    /// Source: specification §9.2, 1 and 3.
    #[must_use]
    pub fn dry_run(&self, facts: &Facts<'_>) -> Vec<DryRun<'_>> {
        let denials = tried(&self.deny).filter(|policy| policy.matches(facts));
        let permissions = tried(&self.allow).filter(|policy| policy.matches(facts));
        let mut findings: Vec<_> = denials
            .map(|policy| DryRun::Denies(&policy.key))
            .chain(permissions.map(|policy| DryRun::Allows(&policy.key)))
            .collect();
        let is_allowed = self.allow.iter().any(|policy| policy.matches(facts));
        if tried(&self.allow).next().is_some() && !is_allowed {
            findings.push(DryRun::NotAllowed);
        }
        findings
    }

    /// Whether nothing applies, so that every connection is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow.is_empty() && self.missing.is_none()
    }
}

fn tried(policies: &[Arc<Policy>]) -> impl Iterator<Item = &Policy> {
    policies
        .iter()
        .map(AsRef::as_ref)
        .filter(|policy| policy.is_dry_run)
}

fn enforced(policies: &[Arc<Policy>]) -> impl Iterator<Item = &Policy> {
    policies
        .iter()
        .map(AsRef::as_ref)
        .filter(|policy| !policy.is_dry_run)
}

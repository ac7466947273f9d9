//! One match of a policy: kinds that must all hold, each with alternatives and exclusions.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::decision::Facts;

/// How a text is compared: byte by byte, case matters.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum StringMatch {
    /// Equal.
    Exact(Box<str>),
    /// Starts with.
    Prefix(Box<str>),
    /// Ends with.
    Suffix(Box<str>),
    /// Anything but the empty text.
    Presence,
}

impl StringMatch {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => text == &**wanted,
            Self::Prefix(wanted) => text.starts_with(&**wanted),
            Self::Suffix(wanted) => text.ends_with(&**wanted),
            Self::Presence => !text.is_empty(),
        }
    }
}

/// A service account, whatever its trust domain.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServiceAccountMatch {
    /// The namespace it is in.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// A port of the destination.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PortMatch(pub u16);

/// Alternatives of one kind, and what excludes: one of `any_of` (or none given) and none of
/// `none_of`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sides<T> {
    /// One of these must match; empty asks for nothing.
    pub any_of: Vec<T>,
    /// None of these may match.
    pub none_of: Vec<T>,
}

impl<T> Default for Sides<T> {
    fn default() -> Self {
        Self {
            any_of: Vec::new(),
            none_of: Vec::new(),
        }
    }
}

impl<T> Sides<T> {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.none_of.is_empty()
    }

    fn holds(&self, matches: impl Fn(&T) -> bool) -> bool {
        (self.any_of.is_empty() || self.any_of.iter().any(&matches))
            && !self.none_of.iter().any(&matches)
    }
}

/// Conditions on one connection; all kinds must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Match {
    /// Namespace of the caller's identity; the empty text without one.
    pub namespaces: Sides<StringMatch>,
    /// The caller's identity without its scheme; no alternative matches without one.
    pub principals: Sides<StringMatch>,
    /// Service account of the caller; never matches without an identity.
    pub service_accounts: Sides<ServiceAccountMatch>,
    /// Address of the caller's socket.
    pub source_ips: Sides<IpNet>,
    /// Address of the application.
    pub destination_ips: Sides<IpNet>,
    /// Port of the application.
    pub destination_ports: Sides<PortMatch>,
}

impl Match {
    /// Whether it holds for a connection. One that asks for nothing never does.
    #[must_use]
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        !self.is_empty()
            && self.holds_for_identity(facts)
            && holds_for_address(&self.source_ips, facts.source.ip())
            && holds_for_address(&self.destination_ips, facts.destination.ip())
            && self
                .destination_ports
                .holds(|port| port.0 == facts.destination.port())
    }

    fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.principals.is_empty()
            && self.service_accounts.is_empty()
            && self.source_ips.is_empty()
            && self.destination_ips.is_empty()
            && self.destination_ports.is_empty()
    }

    fn holds_for_identity(&self, facts: &Facts<'_>) -> bool {
        let identity = facts.identity;
        let namespace = identity.map_or("", |id| id.namespace());
        self.namespaces.holds(|wanted| wanted.matches(namespace))
            && self
                .principals
                .holds(|wanted| identity.is_some_and(|id| wanted.matches(id.principal())))
            && self.service_accounts.holds(|wanted| {
                identity.is_some_and(|id| {
                    id.namespace() == &*wanted.namespace && id.service_account() == &*wanted.name
                })
            })
    }
}

fn holds_for_address(ranges: &Sides<IpNet>, address: IpAddr) -> bool {
    ranges.holds(|range| range.contains(&address))
}

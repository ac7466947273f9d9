//! Policies.

use ambimesh_policy::{
    Action, AllOf, AnyOf, Match, Policy, PolicyKey, PortMatch, Scope, ServiceAccountMatch, Sides,
    StringMatch,
};
use ipnet::IpNet;

use super::{ConvertError, ip, port, unsupported};
use crate::wire::istio::security as wire;

pub(super) fn policy(message: wire::Authorization) -> Result<Policy, ConvertError> {
    if message.name.is_empty() {
        return Err(ConvertError::Missing("name"));
    }
    let scope = scope(message.scope)?;
    let action = match wire::Action::try_from(message.action) {
        Ok(wire::Action::Allow) => Action::Allow,
        Ok(wire::Action::Deny) => Action::Deny,
        Err(_) => return unsupported("action", message.action),
    };
    let rule = |rule: wire::Rule| {
        all(rule.clauses, |clause| {
            all(clause.matches, matching).map(AnyOf)
        })
    };
    Ok(Policy {
        key: PolicyKey::new(&message.namespace, &message.name),
        scope,
        action,
        is_dry_run: message.dry_run,
        rules: AnyOf(all(message.rules, |r| rule(r).map(AllOf))?),
    })
}

/// The same policy with rules that let nothing through that any rules could stop: a denial of
/// everything, or a permission of nothing.
pub(super) fn strictest(message: &wire::Authorization) -> Option<Policy> {
    let is_allow = wire::Action::try_from(message.action) == Ok(wire::Action::Allow);
    let everything = AllOf(vec![]);
    Some(Policy {
        key: PolicyKey::new(&message.namespace, &message.name),
        scope: scope(message.scope).ok()?,
        action: if is_allow {
            Action::Allow
        } else {
            Action::Deny
        },
        is_dry_run: message.dry_run,
        rules: AnyOf(if is_allow { vec![] } else { vec![everything] }),
    })
}

fn scope(value: i32) -> Result<Scope, ConvertError> {
    match wire::Scope::try_from(value) {
        Ok(wire::Scope::Global) => Ok(Scope::Global),
        Ok(wire::Scope::Namespace) => Ok(Scope::Namespace),
        Ok(wire::Scope::WorkloadSelector) => Ok(Scope::WorkloadSelector),
        Err(_) => unsupported("scope", value),
    }
}

fn matching(message: wire::Match) -> Result<Match, ConvertError> {
    Ok(Match {
        namespaces: sides(message.namespaces, message.not_namespaces, text)?,
        principals: sides(message.principals, message.not_principals, text)?,
        service_accounts: sides(
            message.service_accounts,
            message.not_service_accounts,
            service_account,
        )?,
        source_ips: sides(message.source_ips, message.not_source_ips, |r| range(&r))?,
        destination_ips: sides(message.destination_ips, message.not_destination_ips, |r| {
            range(&r)
        })?,
        destination_ports: sides(
            message.destination_ports,
            message.not_destination_ports,
            |number| port(number).map(PortMatch),
        )?,
    })
}

fn text(message: wire::StringMatch) -> Result<StringMatch, ConvertError> {
    use wire::string_match::MatchType;

    let filled = |text: String| {
        if text.is_empty() {
            Err(ConvertError::EmptyStringMatch)
        } else {
            Ok(text.into())
        }
    };
    match message.match_type {
        Some(MatchType::Exact(text)) => Ok(StringMatch::Exact(text.into())),
        Some(MatchType::Prefix(text)) => filled(text).map(StringMatch::Prefix),
        Some(MatchType::Suffix(text)) => filled(text).map(StringMatch::Suffix),
        Some(MatchType::Presence(())) => Ok(StringMatch::Presence),
        None => Err(ConvertError::EmptyStringMatch),
    }
}

fn service_account(
    message: wire::ServiceAccountMatch,
) -> Result<ServiceAccountMatch, ConvertError> {
    if message.service_account.is_empty() {
        return Err(ConvertError::Missing("service account"));
    }
    Ok(ServiceAccountMatch {
        namespace: message.namespace.into(),
        name: message.service_account.into(),
    })
}

fn range(message: &wire::Address) -> Result<IpNet, ConvertError> {
    let too_long = || ConvertError::PrefixLength(message.length);
    let length = u8::try_from(message.length).map_err(|_| too_long())?;
    IpNet::new(ip(&message.address)?, length)
        .map(|net| net.trunc())
        .map_err(|_| too_long())
}

fn sides<W, T>(
    any_of: Vec<W>,
    none_of: Vec<W>,
    convert: impl Fn(W) -> Result<T, ConvertError>,
) -> Result<Sides<T>, ConvertError> {
    Ok(Sides {
        any_of: all(any_of, &convert)?,
        none_of: all(none_of, &convert)?,
    })
}

fn all<W, T>(
    values: Vec<W>,
    convert: impl Fn(W) -> Result<T, ConvertError>,
) -> Result<Vec<T>, ConvertError> {
    values.into_iter().map(convert).collect()
}

//! Verdicts against an evaluator that reads the wire messages themselves, as §9 of the node-proxy
//! specification is written.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::net::IpAddr;
use std::sync::Arc;

use ambimesh_policy::{Facts, PolicySet};
use ambimesh_state::Update;
use ambimesh_types::{Identity, SourceAddr};
use ambimesh_xds::wire::istio::security::{
    Action, Address, Authorization, Clause, Match, Rule, ServiceAccountMatch, StringMatch,
    string_match::MatchType,
};
use ambimesh_xds::{AUTHORIZATION_TYPE, convert};
use proptest::prelude::*;
use prost::Message as _;

/// Evaluates messages without converting them.
mod naive {
    use super::*;

    /// The caller as the rules see it.
    pub struct Caller<'a> {
        pub identity: Option<&'a str>,
        pub ip: IpAddr,
        pub target_ip: IpAddr,
        pub target_port: u16,
    }

    impl Caller<'_> {
        fn part(&self, number: usize) -> String {
            let part = |id: &str| id.split('/').nth(number).unwrap().to_owned();
            self.identity.map(part).unwrap_or_default()
        }
    }

    pub fn is_allowed(policies: &[Authorization], caller: &Caller<'_>) -> bool {
        let enforced = || policies.iter().filter(|policy| !policy.dry_run);
        let of = |action| enforced().filter(move |policy| policy.action() == action);
        if of(Action::Deny).any(|policy| matches(policy, caller)) {
            return false;
        }
        of(Action::Allow).count() == 0 || of(Action::Allow).any(|policy| matches(policy, caller))
    }

    fn matches(policy: &Authorization, caller: &Caller<'_>) -> bool {
        for rule in &policy.rules {
            let mut holds = true;
            for clause in &rule.clauses {
                let any = clause.matches.iter().any(|m| match_holds(m, caller));
                holds = holds && (clause.matches.is_empty() || any);
            }
            if holds {
                return true;
            }
        }
        false
    }

    fn match_holds(m: &Match, caller: &Caller<'_>) -> bool {
        if *m == Match::default() {
            return false;
        }
        let namespace = |s: &StringMatch| text(s, &caller.part(4));
        let principal = |s: &StringMatch| caller.identity.is_some_and(|id| text(s, &id[9..]));
        let account = |a: &ServiceAccountMatch| {
            caller.identity.is_some()
                && caller.part(4) == a.namespace
                && caller.part(6) == a.service_account
        };
        let from = |range: &Address| contains(range, caller.ip);
        let to = |range: &Address| contains(range, caller.target_ip);
        let port = |port: &u32| *port == u32::from(caller.target_port);
        kind(&m.namespaces, &m.not_namespaces, namespace)
            && kind(&m.principals, &m.not_principals, principal)
            && kind(&m.service_accounts, &m.not_service_accounts, account)
            && kind(&m.source_ips, &m.not_source_ips, from)
            && kind(&m.destination_ips, &m.not_destination_ips, to)
            && kind(&m.destination_ports, &m.not_destination_ports, port)
    }

    fn kind<T>(any_of: &[T], none_of: &[T], hit: impl Fn(&T) -> bool) -> bool {
        (any_of.is_empty() || any_of.iter().any(&hit)) && !none_of.iter().any(&hit)
    }

    fn text(m: &StringMatch, text: &str) -> bool {
        match m.match_type.as_ref().unwrap() {
            MatchType::Exact(wanted) => wanted == text,
            MatchType::Prefix(wanted) => text.starts_with(wanted.as_str()),
            MatchType::Suffix(wanted) => text.ends_with(wanted.as_str()),
            MatchType::Presence(()) => !text.is_empty(),
        }
    }

    /// Compares bit by bit.
    fn contains(range: &Address, ip: IpAddr) -> bool {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let bit = |bytes: &[u8], n: u32| (bytes[n as usize / 8] >> (7 - n % 8)) & 1;
        range.address.len() == octets.len()
            && (0..range.length).all(|n| bit(&range.address, n) == bit(&octets, n))
    }
}

fn list<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(of, 0..2)
}

fn any_text() -> impl Strategy<Value = StringMatch> {
    let word = prop::sample::select(vec!["demo", "td/ns/demo/sa/web", "td", "web", "td/ns/d"]);
    (word, 0..4u8).prop_map(|(word, kind)| StringMatch {
        match_type: Some(match kind {
            0 => MatchType::Exact(word.into()),
            1 => MatchType::Prefix(word.into()),
            2 => MatchType::Suffix(word.into()),
            _ => MatchType::Presence(()),
        }),
    })
}

fn any_range() -> impl Strategy<Value = Address> {
    prop_oneof![
        (
            prop::sample::select(vec![[10u8, 0, 0, 1], [10, 0, 1, 7]]),
            0..=32u32
        )
            .prop_map(|(ip, length)| Address {
                address: ip.to_vec(),
                length
            }),
        (any::<bool>(), 0..=128u32).prop_map(|(last, length)| {
            let mut ip = vec![0xfd; 16];
            ip[15] = u8::from(last);
            Address {
                address: ip,
                length,
            }
        }),
    ]
}

fn any_account() -> impl Strategy<Value = ServiceAccountMatch> {
    let names = || prop::sample::select(vec!["demo", "web"]);
    (names(), names()).prop_map(|(namespace, name)| ServiceAccountMatch {
        namespace: namespace.into(),
        service_account: name.into(),
    })
}

prop_compose! {
    fn any_match()(
        (namespaces, not_namespaces) in (list(any_text()), list(any_text())),
        (principals, not_principals) in (list(any_text()), list(any_text())),
        (source_ips, not_source_ips) in (list(any_range()), list(any_range())),
        (destination_ips, not_destination_ips) in (list(any_range()), list(any_range())),
        (destination_ports, not_destination_ports) in (list(80..82u32), list(80..82u32)),
        (service_accounts, not_service_accounts) in (list(any_account()), list(any_account())),
        kinds in any::<u8>(),
    ) -> Match {
        // Mostly few kinds: with all of them nothing would ever match.
        fn keep<T>(is_kept: bool, list: Vec<T>) -> Vec<T> { if is_kept { list } else { vec![] } }
        let has = |bit: u8| kinds & (1 << bit) != 0;
        Match {
            namespaces: keep(has(0), namespaces), not_namespaces: keep(has(1), not_namespaces),
            principals: keep(has(0) == has(2), principals), not_principals: keep(has(2), not_principals),
            source_ips: keep(has(3) == has(4), source_ips), not_source_ips: keep(has(3), not_source_ips),
            destination_ips: keep(has(4) == has(5), destination_ips), not_destination_ips: keep(has(4), not_destination_ips),
            destination_ports: keep(has(5), destination_ports), not_destination_ports: keep(has(6), not_destination_ports),
            service_accounts: keep(has(6) == has(7), service_accounts), not_service_accounts: keep(has(7), not_service_accounts),
        }
    }
}

prop_compose! {
    fn any_policy()(
        rules in prop::collection::vec(prop::collection::vec(prop::collection::vec(any_match(), 0..3), 0..3), 0..3),
        is_deny in any::<bool>(), dry_run in prop::bool::weighted(0.2), name in "[a-z]{4}",
    ) -> Authorization {
        let clause = |matches| Clause { matches };
        let rule = |clauses: Vec<Vec<Match>>| Rule { clauses: clauses.into_iter().map(clause).collect() };
        Authorization {
            name,
            namespace: "demo".into(),
            action: if is_deny { Action::Deny } else { Action::Allow }.into(),
            rules: rules.into_iter().map(rule).collect(),
            dry_run,
            ..Authorization::default()
        }
    }
}

fn converted(policies: &[Authorization]) -> PolicySet {
    let convert =
        |message: &Authorization| match convert(AUTHORIZATION_TYPE, &message.encode_to_vec()) {
            Ok(Update::Policy(policy)) => Arc::clone(&policy),
            other => panic!("{other:?}"),
        };
    PolicySet::new(policies.iter().map(convert), None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Conversion and matcher together decide as the messages say.
    #[test]
    fn verdict_equals_the_messages(
        policies in prop::collection::vec(any_policy(), 0..4),
        caller in prop::sample::select(vec![None, Some(("td", "demo", "web")), Some(("td", "web", "demo"))]),
        ips in prop::sample::select(vec![("10.0.0.1", "10.0.1.7"), ("10.9.9.9", "10.0.0.1"), ("fdfd::1", "fdfd::2")]),
        port in 80..83u16,
    ) {
        let identity = caller.map(|(domain, ns, sa)| Identity::new(domain, ns, sa));
        let (ip, target_ip): (IpAddr, IpAddr) = (ips.0.parse().unwrap(), ips.1.parse().unwrap());
        let facts = Facts {
            identity: identity.as_ref(),
            source: SourceAddr::new((ip, 4000).into()),
            destination: (target_ip, port).into(),
        };
        let naive = naive::Caller {
            identity: identity.as_ref().map(Identity::as_str),
            ip,
            target_ip,
            target_port: port,
        };

        let decision = converted(&policies).decide(&facts);

        prop_assert_eq!(decision.is_allowed(), naive::is_allowed(&policies, &naive), "{}", decision);
    }
}

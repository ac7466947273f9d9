//! Verdicts against a table and against an evaluator that was written apart.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Arc;

use ambimesh_policy::{
    Action, AllOf, AnyOf, Decision, DryRun, Facts, Match, Policy, PolicyKey, PolicySet, PortMatch,
    Scope, ServiceAccountMatch, Sides, StringMatch,
};
use ambimesh_types::{Identity, SourceAddr};
use proptest::prelude::*;

fn policy(action: Action, rules: Vec<AllOf<AnyOf<Match>>>) -> Arc<Policy> {
    Arc::new(Policy {
        key: PolicyKey::new(
            "ns",
            if action == Action::Deny {
                "deny"
            } else {
                "allow"
            },
        ),
        scope: Scope::Namespace,
        action,
        is_dry_run: false,
        rules: AnyOf(rules),
    })
}

fn facts(identity: Option<&Identity>) -> Facts<'_> {
    Facts {
        identity,
        source: SourceAddr::new("198.18.1.10:4000".parse().unwrap()),
        destination: "198.18.2.10:8080".parse().unwrap(),
    }
}

fn one(m: Match) -> Vec<AllOf<AnyOf<Match>>> {
    vec![AllOf(vec![AnyOf(vec![m])])]
}

fn principals(any_of: Vec<StringMatch>, none_of: Vec<StringMatch>) -> Match {
    Match {
        principals: Sides { any_of, none_of },
        ..Match::default()
    }
}

/// Specification §9.3: what an empty list means at each level.
#[test]
fn emptiness_means_another_thing_at_each_level() {
    let facts = facts(None);
    let matches = |rules| policy(Action::Allow, rules).matches(&facts);

    assert!(!matches(vec![]), "a policy without rules never matches");
    assert!(
        matches(vec![AllOf(vec![])]),
        "a rule without clauses matches everything"
    );
    assert!(
        matches(vec![AllOf(vec![AnyOf(vec![])])]),
        "a clause without matches holds"
    );
    assert!(
        !matches(one(Match::default())),
        "a match that asks for nothing never holds"
    );
}

/// Specification §9.3: a plaintext caller has no principal, and the empty namespace.
#[test]
fn plaintext_caller_has_no_identity() {
    let present = StringMatch::Presence;
    let namespaces = |m: StringMatch| Match {
        namespaces: Sides {
            any_of: vec![m],
            none_of: vec![],
        },
        ..Match::default()
    };
    let holds = |m: Match| m.holds(&facts(None));

    assert!(!holds(principals(vec![present.clone()], vec![])));
    assert!(
        holds(principals(vec![], vec![present.clone()])),
        "STRICT: not any principal"
    );
    assert!(holds(namespaces(StringMatch::Exact("".into()))));
    assert!(!holds(namespaces(present)));
}

/// Specification §9.2: denials first; without an allow policy everything else is allowed.
#[test]
fn verdicts_follow_the_order_of_the_specification() {
    let client = Identity::new("cluster.local", "demo", "client");
    let everyone = || vec![AllOf(vec![])];
    let client_only = || {
        one(principals(
            vec![StringMatch::Exact("cluster.local/ns/demo/sa/client".into())],
            vec![],
        ))
    };
    let deny = policy(Action::Deny, client_only());
    let allow = policy(Action::Allow, everyone());
    let decide = |set: Vec<Arc<Policy>>, id| PolicySet::new(set, None).decide(&facts(id));

    assert_eq!(decide(vec![], None), Decision::AllowedByDefault);
    assert_eq!(
        decide(vec![allow.clone(), deny.clone()], Some(&client)),
        Decision::DeniedBy(deny.key.clone())
    );
    assert_eq!(
        decide(vec![allow.clone(), deny], None),
        Decision::AllowedBy(allow.key.clone())
    );
    assert_eq!(
        decide(vec![policy(Action::Allow, vec![])], Some(&client)),
        Decision::NotAllowed
    );
    assert_eq!(
        decide(vec![policy(Action::Allow, client_only())], Some(&client)),
        Decision::AllowedBy(PolicyKey::new("ns", "allow"))
    );
}

/// A policy that a workload lists and nobody has sent refuses, and says so.
#[test]
fn unknown_policy_refuses() {
    let key = PolicyKey::new("ns", "late");
    let set = PolicySet::new([], Some(key.clone()));

    let decision = set.decide(&facts(None));

    assert_eq!(decision, Decision::PolicyMissing(key));
    assert!(!decision.is_allowed());
}

/// A dry run is reported and changes nothing.
#[test]
fn dry_run_is_never_enforced() {
    let tried = |action, rules| {
        let mut policy = (*policy(action, rules)).clone();
        policy.is_dry_run = true;
        Arc::new(policy)
    };
    let everything = || vec![AllOf(vec![])];
    let key = |name| PolicyKey::new("ns", name);
    let findings = |policies: Vec<Arc<Policy>>, expected: &[DryRun<'_>]| {
        let set = PolicySet::new(policies, None);
        assert!(set.decide(&facts(None)).is_allowed());
        assert_eq!(set.dry_run(&facts(None)), expected);
    };

    let deny = tried(Action::Deny, everything());
    findings(vec![deny], &[DryRun::Denies(&key("deny"))]);
    findings(vec![tried(Action::Deny, vec![])], &[]);
    let allow = tried(Action::Allow, everything());
    findings(vec![allow], &[DryRun::Allows(&key("allow"))]);
    let nothing = tried(Action::Allow, vec![]);
    findings(vec![nothing.clone()], &[DryRun::NotAllowed]);
    findings(vec![nothing, policy(Action::Allow, everything())], &[]);
}

fn sides<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Sides<T>> {
    (
        prop::collection::vec(value.clone(), 0..2),
        prop::collection::vec(value, 0..2),
    )
        .prop_map(|(any_of, none_of)| Sides { any_of, none_of })
}

fn text() -> impl Strategy<Value = StringMatch> + Clone {
    let word = prop::sample::select(vec!["", "demo", "td/ns/demo/sa/client", "td", "client"]);
    (word, 0..4u8).prop_map(|(w, kind)| match kind {
        0 => StringMatch::Exact(w.into()),
        1 => StringMatch::Prefix(w.into()),
        2 => StringMatch::Suffix(w.into()),
        _ => StringMatch::Presence,
    })
}

fn any_match() -> impl Strategy<Value = Match> {
    let account =
        prop::sample::select(vec![("demo", "client"), ("other", "client")]).prop_map(|(ns, sa)| {
            ServiceAccountMatch {
                namespace: ns.into(),
                name: sa.into(),
            }
        });
    let range = prop::sample::select(vec!["198.18.1.0/24", "198.18.2.10/32", "0.0.0.0/0", "::/0"])
        .prop_map(|text| text.parse().unwrap());
    let port = prop::sample::select(vec![80u16, 8080]).prop_map(PortMatch);
    (
        sides(text()),
        sides(text()),
        sides(account),
        sides(range.clone()),
        sides(range),
        sides(port),
    )
        .prop_map(
            |(
                namespaces,
                principals,
                service_accounts,
                source_ips,
                destination_ips,
                destination_ports,
            )| {
                Match {
                    namespaces,
                    principals,
                    service_accounts,
                    source_ips,
                    destination_ips,
                    destination_ports,
                }
            },
        )
}

fn any_policy() -> impl Strategy<Value = Arc<Policy>> {
    let clause = prop::collection::vec(any_match(), 0..3).prop_map(AnyOf);
    let rule = prop::collection::vec(clause, 0..3).prop_map(AllOf);
    (any::<bool>(), prop::collection::vec(rule, 0..3))
        .prop_map(|(deny, rules)| policy(if deny { Action::Deny } else { Action::Allow }, rules))
}

/// An evaluator that counts instead of searching, over texts instead of parts.
mod reference {
    use super::*;

    fn text_matches(m: &StringMatch, text: &str) -> bool {
        match m {
            StringMatch::Exact(w) => text.as_bytes() == w.as_bytes(),
            StringMatch::Prefix(w) => text.len() >= w.len() && text[..w.len()] == **w,
            StringMatch::Suffix(w) => text.len() >= w.len() && text[text.len() - w.len()..] == **w,
            StringMatch::Presence => !text.is_empty(),
        }
    }

    fn kind<T>(s: &Sides<T>, hit: impl Fn(&T) -> bool) -> (bool, bool) {
        let wanted = s.any_of.iter().filter(|v| hit(v)).count();
        let unwanted = s.none_of.iter().filter(|v| hit(v)).count();
        let asked = s.any_of.len() + s.none_of.len() > 0;
        (asked, (s.any_of.is_empty() || wanted > 0) && unwanted == 0)
    }

    fn match_holds(m: &Match, f: &Facts<'_>) -> bool {
        let id = f.identity.map(|i| i.as_str().to_owned());
        let part = |n: usize| {
            id.as_ref()
                .map_or(String::new(), |i| i.split('/').nth(n).unwrap().to_owned())
        };
        let kinds = [
            kind(&m.namespaces, |s| text_matches(s, &part(4))),
            kind(&m.principals, |s| {
                id.as_ref().is_some_and(|i| text_matches(s, &i[9..]))
            }),
            kind(&m.service_accounts, |a| {
                id.is_some() && part(4) == *a.namespace && part(6) == *a.name
            }),
            kind(&m.source_ips, |n| n.contains(&f.source.ip())),
            kind(&m.destination_ips, |n| n.contains(&f.destination.ip())),
            kind(&m.destination_ports, |p| p.0 == f.destination.port()),
        ];
        kinds.iter().any(|(asked, _)| *asked) && kinds.iter().all(|(_, holds)| *holds)
    }

    pub fn allowed(policies: &[Arc<Policy>], f: &Facts<'_>) -> bool {
        let hit = |p: &Policy| {
            p.rules
                .0
                .iter()
                .filter(|r| {
                    r.0.iter()
                        .filter(|c| !c.0.is_empty() && !c.0.iter().any(|m| match_holds(m, f)))
                        .count()
                        == 0
                })
                .count()
                > 0
        };
        let (deny, allow): (Vec<_>, Vec<_>) =
            policies.iter().partition(|p| p.action == Action::Deny);
        !deny.iter().any(|p| hit(p)) && (allow.is_empty() || allow.iter().any(|p| hit(p)))
    }
}

proptest! {
    /// The matcher and an evaluator written apart agree on every connection.
    #[test]
    fn verdict_equals_the_reference(
        policies in prop::collection::vec(any_policy(), 0..4),
        caller in prop::sample::select(vec![None, Some(("td", "demo", "client")), Some(("td", "other", "web"))]),
    ) {
        let identity = caller.map(|(td, ns, sa)| Identity::new(td, ns, sa));
        let facts = facts(identity.as_ref());

        let decision = PolicySet::new(policies.clone(), None).decide(&facts);

        prop_assert_eq!(decision.is_allowed(), reference::allowed(&policies, &facts));
    }
}

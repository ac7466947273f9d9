//! L4 authorization: match a connection against compiled policies. No I/O, no clock.
//!
//! The levels of a policy are types, so that nobody has to remember which list means "any" and
//! which "all". Source: node-proxy specification §9.

mod decision;
mod matching;
mod policy;

pub use decision::{Decision, DryRun, Facts, PolicySet};
pub use matching::{Match, PortMatch, ServiceAccountMatch, Sides, StringMatch};
pub use policy::{Action, AllOf, AnyOf, Policy, PolicyKey, PolicyKeyError, Scope};
